"""The live window: who may come in, what its page shows, and that a stop gets through."""

import asyncio
import http.client
import io
import json
import socket
import sys
import time
from concurrent.futures import Future

import aiohttp
import numpy as np
import PIL.Image
import pytest
from browser import WIDTHS, check_accessible, open_page, requested_addresses

from invdyn_ros.evaluation.live import server as server_module
from invdyn_ros.evaluation.live.access import SECURITY_HEADERS, SUBPROTOCOL
from invdyn_ros.evaluation.live.arm_monitor import ArmMonitor
from invdyn_ros.evaluation.live.live_image import (
    BlockAxes,
    encode_small_jpeg,
    live_image_message,
    project_axes,
)
from invdyn_ros.evaluation.live.live_page import has_network, render_live_page, render_network_page
from invdyn_ros.evaluation.live.live_state import LiveState
from invdyn_ros.evaluation.live.server import MAX_UNCONFIRMED, CommandResult, LiveServer
from invdyn_ros.models.checkpoint import save
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import build
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.robots.obstacles import Box, Obstacles
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

ROBOT = load_robot("dofbot")
WALL = Box("wall", (0.05, 0.5, 0.5), (-0.3, 0.0, 0.25))
OBSTACLES = Obstacles(boxes=(WALL,))
REFUSAL = "refused: the arm moves <b>&</b>"
COMMANDS = ("stop", "engage", "disengage", "record", "end_recording")
ORANGE, GREY = (255, 150, 40), (90, 90, 90)  # RGB
TIMEOUT = 10.0  # [s]


def answered(success, message):
    future = Future()
    future.set_result(CommandResult(success, message))
    return future


class Window:
    """A server with its page, whose commands are listed, and the state that it shows."""

    def __init__(self):
        self.called = []
        self.live = LiveState()
        self.page = render_live_page(
            ROBOT, OBSTACLES, load_scene("dofbot"), graph="teleop", side="left", target="sim"
        )
        self.server = LiveServer(
            {"/": lambda: self.page}, {name: self.command(name) for name in COMMANDS}
        )

    def command(self, name):
        def start():
            self.called.append(name)
            if name == "record":
                self.live.recording = "/recordings/new"
            if name == "end_recording":
                self.live.recording = None
            return answered(name != "engage", REFUSAL if name == "engage" else f"done: {name}")

        return start

    def publish(self, level=0, message="ok", **values):
        """Show a state of the controller and values of `LiveState`."""
        for name, value in values.items():
            setattr(self.live, name, value)
        self.live.add_status("inverse_dynamics", level, message, time.monotonic())
        self.server.publish(self.live.to_dict(time.monotonic()))

    def request(self, method, path, **headers):
        """Return status, headers and text of the answer to a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=TIMEOUT)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        if response.status == 101:
            connection.close()
            return 101, dict(response.headers), ""
        text = response.read().decode()
        connection.close()
        return response.status, dict(response.headers), text

    def ask(self, kind, key, **headers):
        """Ask for the page, for a stop or for the WebSocket, as their own page would."""
        if kind == "page":
            return self.request("GET", f"/?key={key}" if key else "/", **headers)
        if kind == "command":
            bearer = {"Authorization": f"Bearer {key}"} if key else {}
            return self.request("POST", "/command/stop", **bearer, **headers)
        offered = f"{SUBPROTOCOL}, key.{key}" if key else SUBPROTOCOL
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        upgrade |= {"Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
        return self.request("GET", "/live", **upgrade, Sec_WebSocket_Protocol=offered, **headers)


def test_title_of_a_page_tells_two_arms_apart():
    page = render_live_page(
        ROBOT, OBSTACLES, None, graph="teleop", side="left", target="sim", namespace="cell/left"
    )
    assert "<title>Live: teleop, dofbot, cell/left</title>" in page


@pytest.fixture(scope="module")
def shared_window():
    window = Window()
    yield window
    window.server.close()


@pytest.fixture
def window(shared_window):
    shared_window.called.clear()
    return shared_window


@pytest.fixture
def key(window):
    return window.server.access.key


KINDS = {"page": 200, "command": 200, "socket": 101}
LOCAL = [
    "127.0.0.1:{port}",
    "localhost:{port}",
    "127.0.0.1:8080",
    "LOCALHOST:8080",
    "[::1]:{port}",
]
FOREIGN_HOSTS = [
    "evil.example:{port}",
    "127.0.0.1.evil.example:{port}",
    "10.0.0.1:{port}",
    "",
    "0",
]
FOREIGN_ORIGINS = ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:{port}"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_who_has_the_key_gets_in(window, key, kind):
    port = window.server.port
    for host in LOCAL:  # also behind a forwarded port
        host = host.format(port=port)
        status, headers, _ = window.ask(kind, key, Host=host, Origin=f"http://{host}")
        assert status == KINDS[kind]
    assert window.ask(kind, key)[0] == KINDS[kind]  # a program sends no Origin
    window.called.clear()
    refused = [{"Host": host.format(port=port)} for host in FOREIGN_HOSTS]
    refused += [{"Origin": origin.format(port=port)} for origin in FOREIGN_ORIGINS]
    attempts = [(key, headers) for headers in refused]
    attempts += [(wrong, {}) for wrong in ("", "wrong", key[:-1], key + "x", key.swapcase())]
    for attempt, headers in attempts:
        status, headers, text = window.ask(kind, attempt, **headers)
        assert status == 403, (attempt, headers)
        assert key not in text and headers.items() >= SECURITY_HEADERS.items()
    assert not window.called


def test_nothing_changes_without_the_header_of_a_script(window, key):
    """Neither an address nor a form of a foreign page can send the key, if it had it."""
    form = {"Content_Type": "application/x-www-form-urlencoded", "Content_Length": "0"}
    for method, path in (
        ("GET", f"/command/stop?key={key}"),
        ("POST", f"/command/stop?key={key}"),
    ):
        assert window.request(method, path, **form)[0] == 403
    bearer = {"Authorization": f"Bearer {key}"}
    for name in COMMANDS:
        assert window.request("GET", f"/command/{name}", **bearer)[0] == 405
    assert window.request("POST", f"/?key={key}")[0] == 403
    assert window.request("POST", "/command/other", **bearer)[0] == 404
    assert window.request("GET", "/other", **bearer)[0] == 404
    assert not window.called


def test_the_key_leaves_no_trace(window, key):
    _, headers, text = window.ask("page", key)
    assert key not in text and "Set-Cookie" not in headers
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    other = LiveServer({}, {})
    assert other.access.key != key and len(key) >= 32
    other.close()


def test_the_server_is_on_this_machine_only(window):
    assert window.server._socket.getsockname() == ("127.0.0.1", window.server.port)
    with pytest.raises(ValueError, match=f"view_port is {window.server.port}.*give another one"):
        LiveServer({}, {}, window.server.port)
    if sys.platform.startswith("linux"):  # all of 127.x.x.x is this machine
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", window.server.port))


def test_a_stop_waits_for_nothing_else(monkeypatch):
    """Other commands have no answer, no state arrives and a page confirms nothing."""
    stopped, hung = [], Future()

    def stop():
        stopped.append(time.monotonic())
        return answered(True, "stopped")

    monkeypatch.setattr(server_module, "COMMAND_TIMEOUT", 0.5)
    server = LiveServer({}, {"stop": stop, "engage": lambda: hung, "record": lambda: 1 / 0})

    async def use():
        headers = {"Authorization": f"Bearer {server.access.key}"}
        address = f"http://127.0.0.1:{server.port}"
        protocols = (SUBPROTOCOL, f"key.{server.access.key}")
        async with aiohttp.ClientSession(headers=headers) as session:

            async def send(name):
                async with session.post(f"{address}/command/{name}") as response:
                    return await response.json()

            async with session.ws_connect(f"{address}/live", protocols=protocols):
                engage = asyncio.create_task(send("engage"))
                await asyncio.sleep(0)
                start = time.monotonic()
                assert (await send("stop")) == {"success": True, "message": "stopped"}
                assert stopped[0] - start < 0.5 and not engage.done()
                result = await engage
                assert not result["success"] and "emergency stop" in result["message"]
                assert "failed: division" in (await send("record"))["message"]

    asyncio.run(use())
    server.close()


def test_a_slow_page_gets_the_newest_message_not_all(window):
    server = window.server

    async def watch():
        protocols = (SUBPROTOCOL, f"key.{server.access.key}")
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{server.port}/live", protocols=protocols) as ws,
        ):
            while not server.is_watched:
                await asyncio.sleep(0.01)
            received = []
            for number in range(20):
                server.publish({"number": number})
                if len(received) < MAX_UNCONFIRMED:
                    received.append((await ws.receive_json())["number"])
            await ws.send_str("shown")
            return received, (await ws.receive_json())["number"]

    received, newest = asyncio.run(watch())
    assert received == [*range(MAX_UNCONFIRMED)] and newest == 19
    deadline = time.monotonic() + TIMEOUT
    while server.is_watched and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not server.is_watched and not server.needs_image


@pytest.mark.parametrize(
    ("level", "message", "expected"),
    [
        (0, "ok", ("engaged", "")),
        (1, "target is stale", ("holding", "target is stale")),
        (1, "stopped", ("disengaged", "stopped")),
        (1, "not engaged", ("disengaged", "not engaged")),
        (2, "overspeed", ("fault", "overspeed")),
    ],
)
def test_engagement_is_that_of_fresh_diagnostics(level, message, expected):
    live = LiveState()
    assert live.engagement(0.0)[0] == "unknown"
    live.add_status("inverse_dynamics", level, message, 10.0)
    assert live.engagement(11.0) == expected
    assert live.engagement(20.0)[0] == "unknown"


def test_rates_and_latencies_are_measured():
    live = LiveState()
    live.to_dict(0.0)
    for _ in range(50):
        live.count("/joint_states")
    for seconds in (0.01, 0.03, 1.7e9, -1.0):  # simulated stamps are no latencies
        live.add_latency(seconds)
    values = live.to_dict(2.0)
    assert values["rates"] == {"/joint_states": 25.0}
    assert values["latency"]["last"] == 30 and values["latency"]["p50"] == pytest.approx(20)
    assert live.to_dict(3.5)["rates"] == {"/joint_states": 0.0}
    live.q = np.array([np.nan, 1.0])
    json.dumps(live.to_dict(4.0), allow_nan=False)


def test_distances_are_to_the_nearest_obstacle_and_link():
    near = Box("near", (0.02, 0.02, 0.02), tuple(ROBOT.forward_kinematics(ROBOT.home)[:3, 3]))
    monitor = ArmMonitor(ROBOT, Obstacles(boxes=(near,)))
    clearances = monitor.clearances(ROBOT.home)
    assert clearances["obstacles"]["distance"] < 0 and "near" in clearances["obstacles"]["pair"]
    assert not set(clearances["itself"]["pair"]) & {"near", "table"}
    qd, dt = np.linspace(0.1, 0.5, ROBOT.n), 1e-6
    moved = ROBOT.forward_kinematics(ROBOT.home + dt * qd) - ROBOT.forward_kinematics(ROBOT.home)
    speed = np.linalg.norm(moved[:3, 3]) / dt
    assert monitor.tool_speed(ROBOT.home, qd) == pytest.approx(speed, rel=1e-3)


def test_block_axes_are_projected_as_the_camera_does():
    camera = load_scene("dofbot").camera
    T_base_block = np.eye(4)
    T_base_block[:3, 3] = load_scene("dofbot").goal
    T = np.linalg.inv(camera.T_base_camera) @ T_base_block
    intrinsics = CameraIntrinsics(camera.intrinsics(), width=camera.width, height=camera.height)
    points = project_axes(T, 0.04, intrinsics)
    tips = T_base_block[:3, 3] + np.vstack([np.zeros(3), 0.9 * 0.04 * np.eye(3)])
    assert points * camera.height == pytest.approx(camera.project(tips), abs=1e-3)
    T[2, 3] = -1.0
    assert project_axes(T, 0.04, intrinsics) is None


# ---- the page ----


def text(browser, element):
    return browser.execute_script(
        "return document.getElementById(arguments[0]).innerText", element
    )


def wait_for(browser, script, *arguments):
    """Wait until a script returns a true value, and return it."""
    deadline = time.monotonic() + TIMEOUT
    while not (value := browser.execute_script(f"return {script}", *arguments)):
        assert time.monotonic() < deadline, script
    return value


def show(browser, window, **values):
    """Publish a state and wait until the page has drawn it."""
    stamp = window.live.stamp + 0.1
    window.publish(stamp=stamp, **values)
    wait_for(browser, "lastState && Math.abs(lastState.stamp - arguments[0]) < 1e-6", stamp)


def click(browser, window, name, expected):
    browser.find_element("id", name).click()
    wait_for(browser, "byId('answer').innerText.includes(arguments[0])", expected)


def landmarks():
    """Return landmarks with the followed arm along a line, and the rest out of sight."""
    points = np.zeros((33, 3))
    points[[11, 13, 15]] = [[0.2, 0.5, 1], [0.5, 0.5, 1], [0.8, 0.5, 1]]
    return points


@pytest.fixture(scope="module")
def open_window(browser, shared_window):
    """The page, opened by the address that is printed, with a first state and image."""
    browser.get("about:blank")
    open_page(browser, shared_window.server.address)
    wait_for(browser, "connection.socket.readyState === 1")
    q = ROBOT.home
    show(browser, shared_window, q=q, desired=q + 0.1, qd=np.zeros(ROBOT.n))
    return browser


def test_network_page_gets_the_motion_of_the_arm(browser, tmp_path):
    folder = tmp_path / "mlp"
    meta = ModelMetadata("mlp", "dofbot", ROBOT.joint_names, "rad", ROBOT.rate, 0.0, "", {})
    save(build(meta), meta, folder)
    assert has_network(str(folder)) and not has_network(str(tmp_path))
    pages = {"/network": lambda: render_network_page(str(folder)), "/": lambda: 1 / 0}
    server = LiveServer(pages, {})
    live = LiveState()
    live.set_desired(1.0, ROBOT.home, np.zeros(ROBOT.n))
    live.set_desired(1.1, ROBOT.home, np.full(ROBOT.n, 0.2))
    open_page(browser, server.address.replace("/?", "/network?"))
    wait_for(browser, "liveConnection.socket.readyState === 1")
    server.publish(live.to_dict(0.0))
    expected = [*ROBOT.home, *[0.2] * ROBOT.n, *[2.0] * ROBOT.n]
    wait_for(browser, "Math.abs(networkPage.state.inputs[arguments[0]] - 0.2) < 1e-9", ROBOT.n)
    assert browser.execute_script("return networkPage.state.inputs") == pytest.approx(expected)
    assert browser.find_element("id", "live-status").text.startswith("Live")
    server.close()
    wait_for(browser, "document.getElementById('live-status').innerText.startsWith('Conn')")


def test_page_shows_the_measured_state(open_window, window):
    browser = open_window
    q = np.array([0.1, -0.2, 0.3, -0.4, ROBOT.upper[4] - 0.01])
    show(browser, window, level=1, message="blocked by <wall>", q=q, desired=q - 0.1)
    assert text(browser, "state") == "Holding blocked by <wall>"
    rows = [row.split("\t") for row in text(browser, "joints").split("\n") if "joint" in row]
    for i, (name, measured, desired, limit, *_) in enumerate(rows):
        assert name == ROBOT.joint_names[i]
        assert float(measured) == pytest.approx(np.degrees(q[i]), abs=0.06)
        assert float(desired) == pytest.approx(np.degrees(q[i] - 0.1), abs=0.06)
        distance = np.degrees(min(q[i] - ROBOT.lower[i], ROBOT.upper[i] - q[i]))
        assert float(limit.removesuffix(" near")) == pytest.approx(distance, abs=0.06)
        assert limit.endswith("near") == (distance < 5)
    assert "inverse_dynamics\twarning\tblocked by <wall>" in text(browser, "nodes")
    show(browser, window, level=2, message="overspeed", desired=None)
    assert text(browser, "state") == "Fault overspeed"
    assert "inverse_dynamics\terror\toverspeed" in text(browser, "nodes")


def test_arm_is_drawn_where_its_kinematics_put_it(open_window, window):
    q = np.array([0.3, -0.5, 0.7, -0.9, 1.1])
    show(open_window, window, q=q)
    poses = open_window.execute_script(
        "return framePoses(pageData.frames, [...armScene.state.q, 0, 0])"
    )
    joint = ROBOT.joint_names[-1]
    T = np.array(poses[ROBOT.n - 1]).reshape(4, 4).T
    from invdyn_ros.robots.urdf import load_urdf

    link = load_urdf(ROBOT.urdf).joints[joint].child
    assert pytest.approx(ROBOT.forward_kinematics(q, link), abs=1e-6) == T
    image = element_image(open_window, "arm")
    colors = np.unique(image.reshape(-1, 3) // 16, axis=0)
    assert len(colors) > 20, "the arm is not drawn"


def element_image(browser, element):
    png = browser.find_element("id", element).screenshot_as_png
    return np.array(PIL.Image.open(io.BytesIO(png)).convert("RGB"))


def test_mouse_and_keys_turn_the_view(open_window):
    browser = open_window
    canvas = browser.find_element("id", "arm")
    before = browser.execute_script("return {...armScene.camera}")
    canvas.send_keys("\ue014\ue013+")  # right, up
    turned = browser.execute_script("return {...armScene.camera}")
    assert turned["yaw"] > before["yaw"] and turned["pitch"] > before["pitch"]
    assert turned["distance"] < before["distance"]
    browser.find_element("id", "reset-view").click()
    assert browser.execute_script("return {...armScene.camera}") == before
    from selenium.webdriver import ActionChains

    ActionChains(browser).drag_and_drop_by_offset(canvas, 40, 0).perform()
    assert browser.execute_script("return armScene.camera.yaw") != before["yaw"]
    canvas.send_keys("0")
    assert browser.execute_script("return {...armScene.camera}") == before


def test_image_has_skeleton_and_block_axes(open_window, window):
    browser = open_window
    image = np.full((480, 480, 3), GREY, np.uint8)
    axes = BlockAxes(3, np.array([[0.5, 0.8], [0.6, 0.8], [0.4, 0.8], [0.5, 0.7]]))
    count = browser.execute_script("return cameraView.frameCount")
    window.server.publish_image(
        live_image_message(encode_small_jpeg(image), 1.0, landmarks(), [axes])
    )
    wait_for(browser, "cameraView.frameCount > arguments[0]", count)
    pixel = (
        "[...cameraView.context.getImageData(arguments[0], arguments[1], 1, 1).data].slice(0, 3)"
    )

    def color_at(u, v):
        place = round(480 * u), round(480 * v)
        return np.array(browser.execute_script(f"return [...{pixel}]", *place)[:3])

    assert color_at(0.35, 0.5) == pytest.approx(ORANGE, abs=12)  # the upper arm
    assert color_at(0.65, 0.5) == pytest.approx(ORANGE, abs=12)  # the forearm
    assert color_at(0.35, 0.3) == pytest.approx(GREY, abs=8)
    red, green, _ = color_at(0.55, 0.8)  # x
    assert red > 2 * green


def test_buttons_send_their_commands_and_show_the_answer(open_window, window):
    browser = open_window
    show(browser, window, level=1, message="not engaged")
    assert text(browser, "state") == "Not engaged not engaged"
    click(browser, window, "engage", REFUSAL)
    assert browser.find_element("id", "answer").get_attribute("class") == "bad"
    show(browser, window)
    assert text(browser, "state") == "Engaged"
    assert not browser.find_element("id", "engage").is_enabled()
    click(browser, window, "disengage", "done: disengage")
    click(browser, window, "stop", "done: stop")
    click(browser, window, "record", "done: record")
    show(browser, window)
    assert text(browser, "record") == "End recording"
    assert text(browser, "recording") == "/recordings/new"
    click(browser, window, "record", "done: end_recording")
    show(browser, window)
    assert text(browser, "record") == "Record"
    assert window.called == ["engage", "disengage", "stop", "record", "end_recording"]


def test_escape_and_space_stop_from_anywhere(open_window, window):
    browser = open_window
    show(browser, window, level=1, message="not engaged")
    for element in ("engage", "record", "arm", "curve-joint"):
        for number, stop_key in enumerate(("\ue00c", " ")):
            window.called.clear()
            browser.find_element("id", element).send_keys(stop_key)
            wait_for(browser, "byId('answer').innerText.includes('done: stop')")
            assert window.called == ["stop"], (element, number)


def test_curve_is_of_the_chosen_joint(open_window, window):
    browser = open_window
    wait_for(browser, "document.querySelector('#curve svg') !== null")
    browser.find_element("css selector", "#curve-joint option[value='2']").click()
    label = f"{ROBOT.joint_names[2]} [deg]"
    assert label in browser.find_element("id", "curve").get_attribute("textContent")


@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_accessible(open_window, window, width):
    open_window.set_window_size(width, 900)
    show(open_window, window, level=1, message="target is stale")
    check_accessible(open_window)


def test_page_asks_for_nothing_from_elsewhere(open_window, window):
    errors = [entry for entry in open_window.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors
    own = f"http://127.0.0.1:{window.server.port}/"
    assert all(address.startswith(own) for address in requested_addresses(open_window))
    assert open_window.current_url == own  # without the key


def test_page_may_be_loaded_anew(open_window, window):
    open_window.refresh()
    wait_for(open_window, "typeof connection === 'object' && connection.socket.readyState === 1")
    show(open_window, window)
    assert open_window.current_url.endswith("/")
    open_window.get_log("browser")  # the refusal of the address without its key


def test_loss_of_data_and_of_the_server_is_shown_at_once(open_window, window):
    """Nothing fails open: no arm can be engaged, and a stop says that it did not get through."""
    browser = open_window
    show(browser, window)
    wait_for(browser, "byId('state').dataset.state === 'silent'")
    assert text(browser, "state").startswith("No data")
    window.server.close()
    wait_for(browser, "byId('state').dataset.state === 'lost'")
    assert text(browser, "state").startswith("Connection lost")
    red = browser.execute_script("return getComputedStyle(byId('state')).backgroundColor")
    assert red == "rgb(179, 38, 30)"
    assert not browser.find_element("id", "engage").is_enabled()
    assert browser.find_element("id", "stop").is_enabled()
    click(browser, window, "stop", "stop: the server does not answer")
    check_accessible(browser)
    browser.get("about:blank")
