"""View node: serves the live window, a web page that shows a graph and can stop its arm."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from pydantic import Field
from rclpy.client import Client
from sensor_msgs.msg import (
    CameraInfo,
    Image,
    JointState,
    PointCloud2,
    TimeReference,
)
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from invdyn_ros.config import Validated
from invdyn_ros.evaluation.live.arm_monitor import ArmMonitor
from invdyn_ros.evaluation.live.live_page import has_network, render_live_page, render_network_page
from invdyn_ros.evaluation.live.live_state import LiveState, to_list
from invdyn_ros.evaluation.live.server import CommandResult, LiveServer
from invdyn_ros.graph.topics import (
    CAMERA_INFO,
    DESIRED_JOINT_STATE,
    DIAGNOSTICS,
    ENGAGE,
    IMAGE,
    JOINT_STATES,
    LANDMARKS,
    MARKERS,
    OBJECTS,
    STOP,
    TIMING,
)
from invdyn_ros.nodes.messages import ForeignMessage, joint_states_qos, latest_qos
from invdyn_ros.nodes.node_loop import Spin
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.run_topics import BAG_TOPICS, run_topics
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.nodes.view_recorder import Recorder
from invdyn_ros.nodes.view_topics import ViewTopics
from invdyn_ros.robots.obstacles import load_obstacles
from invdyn_ros.robots.registry import load_arm_obstacles, load_scene
from invdyn_ros.robots.robot import load_robot

PERIOD = 0.05  # [s] between states that are sent
IMAGE_PERIOD = 0.1  # [s] between images that are sent
CLEARANCE_PERIOD = 0.2  # [s] between computations of distances
NICENESS = 10  # the nodes that move the arm come first


@dataclass(frozen=True)
class ViewNodeConfig(Validated):
    """Parameters of the node.

    Attributes:
        graph: name of the graph.
        arm: name of the arm, or FILE.yaml of an arm of a user.
        target: whether the arm is simulated or real.
        side: arm of the person that is followed, for the graph teleop.
        scene: whether teleop has a table with simulated blocks.
        obstacles: YAML file of the obstacles around the arm; empty: those of the arm's entry.
        checkpoint: folder of the model, whose network /network shows if it is one of plain layers.
        blocks: file of the blocks; empty: the block of the arm's entry.
        view_port: TCP port of the page on 127.0.0.1; 0: any that is free.
    """

    graph: Literal["teleop", "grasp_sim", "gravity_compensation", "play_motion"] = "teleop"
    arm: str = "ur5"
    target: Literal["sim", "real"] = "sim"
    side: Literal["left", "right"] = "left"
    scene: bool = False
    obstacles: str = ""
    checkpoint: str = ""
    blocks: str = ""
    view_port: Annotated[int, Field(ge=0, le=65535)] = 0


class ViewNode(DiagnosticNode):
    """Show a graph on a web page, and pass its commands on.

    It subscribes to the commands of the arm only while it records them.
    """

    def __init__(self) -> None:
        super().__init__("view")
        self.config = config = load_parameters(self, ViewNodeConfig)
        self.robot = load_robot(config.arm)
        grasping = config.graph == "grasp_sim" or config.scene
        scene = load_scene(config.arm, config.blocks) if grasping else None
        file = config.obstacles
        obstacles = load_obstacles(file) if file else load_arm_obstacles(config.arm)
        self.live = LiveState()
        names = RobotNames.of(self.robot, load_parameters(self, NamesConfig), self.get_namespace())
        self.converter = ViewTopics(names, scene, self.live)
        self.monitor = ArmMonitor(self.robot, obstacles)
        self.recorder = Recorder(self, {**run_topics(config.graph, scene), **BAG_TOPICS})
        self.page_subscriptions: list[Any] = []  # subscriptions that exist while a page is open
        self.clearances: dict[str, Any] = {}
        self.next_update = self.next_image = self.next_clearance = 0.0
        self.engage_client = self.create_client(SetBool, ENGAGE)
        self.stop_client = self.create_client(Trigger, STOP)
        self.create_subscription(DiagnosticArray, DIAGNOSTICS, self.converter.on_diagnostics, 50)
        page = render_live_page(
            self.robot,
            obstacles,
            scene,
            graph=config.graph,
            side=config.side if config.graph == "teleop" else "",
            target=config.target,
            network=has_network(config.checkpoint),
            namespace=self.get_namespace().strip("/"),
        )
        self.server = self._make_server(page)
        port = self.server.port
        print(f"view: {self.server.address}", flush=True)
        print(
            f"view from elsewhere: ssh -N -L {port}:127.0.0.1:{port} {socket.gethostname()}, then "
            "open the same address there",
            flush=True,
        )
        # of this thread; the server's thread, which passes a stop on, keeps its priority
        os.nice(NICENESS)

    def _make_server(self, page: str) -> LiveServer:
        """Start the server of the page and of its commands."""
        network = partial(render_network_page, self.config.checkpoint)
        commands = {
            "stop": lambda: call(self.stop_client, Trigger.Request()),
            "engage": lambda: call(self.engage_client, SetBool.Request(data=True)),
            "disengage": lambda: call(self.engage_client, SetBool.Request(data=False)),
            "record": lambda: self.recorder.request(True),
            "end_recording": lambda: self.recorder.request(False),
        }
        pages: dict[str, Callable[[], str]] = {"/": lambda: page, "/network": network}
        return LiveServer(pages, commands, self.config.view_port)

    def step(self, spin: Spin) -> None:
        """Handle messages until the next update."""
        while (remaining := self.next_update - time.monotonic()) > 0:
            spin(remaining)
        self.next_update = time.monotonic() + PERIOD
        self.recorder.handle_requests()
        self.live.recording = self.recorder.path
        if self.server.is_watched != bool(self.page_subscriptions):
            self.watch(self.server.is_watched)
        if self.page_subscriptions:
            try:
                self.update(time.monotonic())
            except ForeignMessage as error:
                self.ignore("the live window", str(error))
        spin(0)

    def watch(self, is_watched: bool) -> None:
        """Subscribe to what a page shows while one is open."""
        for subscription in self.page_subscriptions:
            self.destroy_subscription(subscription)
        self.page_subscriptions = []
        if not is_watched:
            return
        self.recorder.prepare()
        c = self.converter
        topics: list[tuple[str, Any, Callable[[Any], None], bool]] = [
            (JOINT_STATES, JointState, partial(c.store, JOINT_STATES), True),
            (DESIRED_JOINT_STATE, JointState, partial(c.store, DESIRED_JOINT_STATE), True),
            (IMAGE, Image, c.store_image, True),
            (TIMING, TimeReference, c.on_timing, False),
        ]
        if self.config.graph == "teleop":
            topics.append((LANDMARKS, PointCloud2, c.on_landmarks, False))
        elif self.config.graph == "grasp_sim":
            topics += [
                (MARKERS, MarkerArray, c.on_markers, False),
                (CAMERA_INFO, CameraInfo, c.on_camera_info, False),
            ]
        if self.config.graph == "grasp_sim" or self.config.scene:
            topics.append((OBJECTS, PoseArray, partial(c.store, OBJECTS), True))
        special, usual = {JOINT_STATES: joint_states_qos(False)}, latest_qos(False)
        self.page_subscriptions = [
            self.create_subscription(kind, topic, callback, special.get(topic, usual), raw=raw)
            for topic, kind, callback, raw in topics
        ]

    def update(self, now: float) -> None:
        """Send the state and the image to the pages at a time [s]."""
        self.converter.update_state()
        state, q = self.live.to_dict(now), self.live.q
        if q is not None and to_list(q) and now >= self.next_clearance:
            self.next_clearance = now + CLEARANCE_PERIOD
            self.clearances = self.monitor.clearances(q)
        qd = self.live.qd
        speed = self.monitor.tool_speed(q, qd) if q is not None and qd.size else None
        self.server.publish({**state, "clearances": self.clearances, "tool_speed": speed})
        if now >= self.next_image and self.server.needs_image:
            image = self.converter.take_image()
            if image is not None:
                self.next_image = now + IMAGE_PERIOD
                self.server.publish_image(image)

    def close(self) -> None:
        """End the server and the recording."""
        self.server.close()
        try:
            self.recorder.close()
        except OSError as error:
            self.get_logger().error(f"the recording is lost: {error}")


def call(client: Client, request: Any) -> Future[CommandResult]:
    """Call a service of the controller from any thread, without waiting for its answer."""
    result: Future[CommandResult] = Future()

    def on_response(future: Any) -> None:
        if result.set_running_or_notify_cancel():
            response = future.result()
            result.set_result(CommandResult(bool(response.success), str(response.message)))

    # not only when the service is ready: what is sent in vain does no harm
    client.call_async(request).add_done_callback(on_response)
    return result


def main() -> None:
    """Run the node."""
    run(ViewNode)


if __name__ == "__main__":
    main()
