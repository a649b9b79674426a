"""What the nodes of a running graph say about themselves, and how fast the arm answers."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from invdyn_ros.graph.topics import DIAGNOSTICS, JOINT_STATES
from invdyn_ros.nodes.graph_client import TIMEOUT, GraphClient

LEVELS = {b"\0": "ok", b"\1": "warning", b"\2": "error", b"\3": "waiting"}  # DiagnosticStatus
LISTENING = 2.5  # [s]; nodes publish their diagnostics once a second


class GraphStatus(NamedTuple):
    """State of a graph.

    Attributes:
        nodes: level and message of each node, by its name.
        joint_rate: joint states per second [Hz]; 0: none arrived.
        joint_age: median age of a joint state on arrival [s]; NaN: none arrived.
    """

    nodes: dict[str, tuple[str, str]]
    joint_rate: float
    joint_age: float

    @property
    def is_faulty(self) -> bool:
        """Whether a node has stopped its task until somebody intervenes, or the arm is silent."""
        return not self.joint_rate or any(level == "error" for level, _ in self.nodes.values())


def read_graph_status(client: GraphClient) -> GraphStatus:
    """Listen to a graph for some seconds.

    Raises:
        ValueError: nobody is there.
    """
    from diagnostic_msgs.msg import DiagnosticArray  # slow to import
    from sensor_msgs.msg import JointState

    from invdyn_ros.nodes.statuses import own_statuses

    nodes: dict[str, tuple[str, str]] = {}
    arrivals: list[float] = []
    ages: list[float] = []

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in own_statuses(message, client.namespace):
            nodes[status.name] = LEVELS[status.level], status.message

    def on_joint_state(message: JointState) -> None:
        arrivals.append(time.monotonic())
        stamp = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
        ages.append(time.time() - stamp)

    client.node.create_subscription(DiagnosticArray, DIAGNOSTICS, on_diagnostics, 50)
    client.node.create_subscription(JointState, client.name(JOINT_STATES), on_joint_state, 50)
    start = time.monotonic()
    while not (nodes or arrivals) and time.monotonic() - start < TIMEOUT:
        client.spin_once(0.2)
    if not (nodes or arrivals):
        raise client.no_answer(JOINT_STATES)
    client.spin(LISTENING)
    duration = arrivals[-1] - arrivals[0] if len(arrivals) > 1 else 0.0
    rate = (len(arrivals) - 1) / duration if duration else 0.0
    return GraphStatus(nodes, rate, float(np.median(ages)) if ages else float("nan"))
