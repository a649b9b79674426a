"""The live window: who may come in, what it measures, and that a stop gets through."""

import asyncio
import json
import socket
import sys
import time
from concurrent.futures import Future

import aiohttp
import numpy as np
import pytest
from live_window_rig import COMMANDS, OBSTACLES, ROBOT, TIMEOUT, Window, answered

from invdyn_ros.evaluation.live import server as server_module
from invdyn_ros.evaluation.live.access import SECURITY_HEADERS, SUBPROTOCOL
from invdyn_ros.evaluation.live.arm_monitor import ArmMonitor
from invdyn_ros.evaluation.live.live_image import (
    project_axes,
)
from invdyn_ros.evaluation.live.live_page import render_live_page
from invdyn_ros.evaluation.live.live_state import LiveState
from invdyn_ros.evaluation.live.server import MAX_UNCONFIRMED, LiveServer
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.robots.obstacles import Box, Obstacles
from invdyn_ros.robots.registry import load_scene


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


def test_title_of_a_page_tells_two_arms_apart():
    page = render_live_page(
        ROBOT, OBSTACLES, None, graph="teleop", side="left", target="sim", namespace="cell/left"
    )
    assert "<title>Live: teleop, dofbot, cell/left</title>" in page


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
