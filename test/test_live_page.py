"""The page of the live window in a browser: what it shows, and its buttons."""

import io
import time

import numpy as np
import PIL.Image
import pytest
from browser import WIDTHS, check_accessible, open_page, requested_addresses
from live_window_rig import GREY, ORANGE, REFUSAL, ROBOT, TIMEOUT, Window

from invdyn_ros.evaluation.live.live_image import (
    BlockAxes,
    encode_small_jpeg,
    live_image_message,
)
from invdyn_ros.evaluation.live.live_page import has_network, render_network_page
from invdyn_ros.evaluation.live.live_state import LiveState
from invdyn_ros.evaluation.live.server import LiveServer
from invdyn_ros.models.checkpoint import save
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import build


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
