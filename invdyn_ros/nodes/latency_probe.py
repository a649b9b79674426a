"""Latency probe node: measures the time from joint states to commands, beside an echo node."""

import json
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveFloat
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.config import Validated
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.graph.topics import (
    COMMANDS,
    ECHO_COMMANDS,
    ECHO_JOINTS,
    JOINT_STATES,
    JOINT_TARGET,
)
from invdyn_ros.nodes.messages import command_stamp, target_to_message, to_stamp
from invdyn_ros.nodes.node_loop import Spin
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.nodes.runner import NodeFinished, load_parameters, run
from invdyn_ros.robots.robot import load_robot

AMPLITUDE, ANGULAR_FREQUENCY = 0.1, 1.5  # of the motion [rad], [rad/s]
TARGET_RATE = 30.0  # [Hz], as from a camera
STARTUP_TIMEOUT = 60.0  # [s] until both nodes must have responded
WARMUP_RESPONSES = 10  # of each node before the measurement
DRAIN_TIME = 0.2  # [s] after the last joint state, for late commands


@dataclass(frozen=True)
class LatencyProbeNodeConfig(Validated):
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of an arm of a user.
        unit: unit of the commands.
        seconds: duration of the measurement of both nodes [s].
        turn_seconds: duration of a turn, in which one of the two nodes is measured [s].
        out: JSON file to write.
    """

    arm: str = "ur5"
    unit: Literal["N m", "rad"] = "N m"
    seconds: PositiveFloat = 20.0
    turn_seconds: PositiveFloat = 2.0
    out: str = "latency.json"


@dataclass
class MeasuredNode:
    """Connection to one of the two measured nodes.

    Attributes:
        joints: publisher of its joint states.
        send_times: send time [ns] of each joint state without a command yet, by its stamp [ns].
        num_sent: number of joint states sent.
        latencies: time to the first command for each joint state [ms].
    """

    joint_state_publisher: Publisher
    send_times: dict[int, int] = field(default_factory=dict)
    num_sent: int = 0
    latencies: list[float] = field(default_factory=list)


class LatencyProbeNode(Node):
    """Publish a sinusoidal motion at the rate of the arm and measure the time to each command."""

    def __init__(self) -> None:
        super().__init__("latency_probe")
        self.config = config = load_parameters(self, LatencyProbeNodeConfig)
        self.robot = load_robot(config.arm)
        qos = QoSProfile(depth=10)
        self.target_publisher = self.create_publisher(JointTrajectory, JOINT_TARGET, qos)
        topics = {
            "inverse_dynamics": (JOINT_STATES, COMMANDS[config.unit]),
            "echo": (ECHO_JOINTS, ECHO_COMMANDS),
        }
        self.measured_nodes: dict[str, MeasuredNode] = {}
        for name, (joints, commands) in topics.items():
            node = MeasuredNode(self.create_publisher(JointState, joints, qos))
            self.measured_nodes[name] = node
            self.create_subscription(
                Float64MultiArray, commands, partial(self.on_command, node), qos
            )
        self.last_target_time = -np.inf

    def step(self, spin: Spin) -> None:
        """Perform the measurement."""
        self.wait_for_responses(spin)
        for node in self.measured_nodes.values():
            node.send_times.clear()
            node.latencies.clear()
            node.num_sent = 0
        num_turns = max(2, round(self.config.seconds / self.config.turn_seconds))
        names = list(self.measured_nodes)
        for i in range(num_turns):
            self.send_joint_states(spin, names[i % 2], self.config.seconds / num_turns)
        self.spin_for(spin, DRAIN_TIME)
        result = {
            name: {"sent": node.num_sent, "latency_ms": node.latencies}
            for name, node in self.measured_nodes.items()
        }
        Path(self.config.out).write_text(json.dumps(result), encoding="utf-8")
        raise NodeFinished

    def wait_for_responses(self, spin: Spin) -> None:
        """Send joint states until both nodes respond, to exclude discovery and first calls."""
        end = time.monotonic() + STARTUP_TIMEOUT
        while missing := [
            n for n, node in self.measured_nodes.items() if len(node.latencies) < WARMUP_RESPONSES
        ]:
            if time.monotonic() > end:
                raise ValueError(
                    f"no command from {', '.join(missing)} within {STARTUP_TIMEOUT:g} s"
                )
            for name in missing:
                self.send_joint_states(spin, name, 0.2)

    def send_joint_states(self, spin: Spin, name: str, seconds: float) -> None:
        """Send joint states to one node at the rate of the arm.

        While the echo node is measured, `inverse_dynamics` gets joint states, too, half a period
        later: without them it would stop the arm.

        Args:
            spin: function that processes messages for a time [s].
            name: name of the node.
            seconds: duration [s].
        """
        period = 1 / self.robot.rate
        due = time.monotonic()
        end = due + seconds
        while due < end:
            self.send_joint_state(name, is_measured=True)
            # a late tick is not caught up: a burst would measure its own queue
            due = max(due + period, time.monotonic())
            # cameras are not synchronous with arms
            self.spin_for(spin, (due - time.monotonic()) / 2)
            if name == "echo":
                self.send_joint_state("inverse_dynamics", is_measured=False)
            if time.time() - self.last_target_time >= 1 / TARGET_RATE:
                self.send_target(time.time_ns())
            self.spin_for(spin, due - time.monotonic())

    def send_joint_state(self, name: str, is_measured: bool) -> None:
        """Send the joint state of now.

        Args:
            name: name of the node.
            is_measured: whether the time to its command counts.
        """
        node, stamp = self.measured_nodes[name], time.time_ns()
        state = self.motion(stamp * 1e-9)
        message = JointState(
            header=RobotNames.of(self.robot).header(to_stamp(stamp)),
            name=list(self.robot.joint_names),
            position=state.q.tolist(),
            velocity=state.qd.tolist(),
        )
        if is_measured:
            node.send_times[stamp] = time.perf_counter_ns()
            node.num_sent += 1
        node.joint_state_publisher.publish(message)

    def spin_for(self, spin: Spin, seconds: float) -> None:
        """Process commands for a time [s]."""
        end = time.monotonic() + seconds
        while (remaining := end - time.monotonic()) > 0:
            spin(remaining)

    def motion(self, seconds: float) -> State:
        """Return the state of a sinusoidal motion about home."""
        phase, n = ANGULAR_FREQUENCY * (seconds % 3600), self.robot.n
        q = self.robot.home + AMPLITUDE * np.sin(phase)
        qd = np.full(n, AMPLITUDE * ANGULAR_FREQUENCY * np.cos(phase))
        return State(q, qd, np.full(n, -AMPLITUDE * ANGULAR_FREQUENCY**2 * np.sin(phase)))

    def send_target(self, stamp: int) -> None:
        """Publish the motion one camera frame ahead, as a target from a camera would be."""
        self.last_target_time = stamp * 1e-9
        target = Target(
            self.last_target_time,
            self.motion(self.last_target_time + 1 / TARGET_RATE),
            1 / TARGET_RATE,
        )
        self.target_publisher.publish(
            target_to_message(target, RobotNames.of(self.robot), to_stamp(stamp))
        )

    def on_command(self, node: MeasuredNode, message: Float64MultiArray) -> None:
        """Store the latency of the first command for a joint state."""
        now = time.perf_counter_ns()
        sent = node.send_times.pop(command_stamp(message) or 0, None)
        if sent is not None:
            node.latencies.append((now - sent) / 1e6)


def main() -> None:
    """Run the node."""
    run(LatencyProbeNode)


if __name__ == "__main__":
    main()
