"""A server of the live window that answers its commands, for tests."""

import http.client
import time
from concurrent.futures import Future

from invdyn_ros.evaluation.live.access import SUBPROTOCOL
from invdyn_ros.evaluation.live.live_page import render_live_page
from invdyn_ros.evaluation.live.live_state import LiveState
from invdyn_ros.evaluation.live.server import CommandResult, LiveServer
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
