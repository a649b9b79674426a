"""Joint states out, commands in: the time between them, of `inverse_dynamics` and of an echo."""

import json
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, Header
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.safety_limits import State, Target
from invdyn_ros.nodes.echo import ECHO_COMMANDS, ECHO_JOINTS
from invdyn_ros.nodes.messages import COMMAND_TOPICS, command_stamp, target_to_message, to_stamp
from invdyn_ros.nodes.runner import NodeFinished, Spin, load_parameters, run
from invdyn_ros.robots.robot import load_robot

SWING, OMEGA = 0.1, 1.5  # the motion: amplitude [rad], angular frequency [rad/s]
TARGET_RATE = 30.0  # [Hz], as from a camera
PATIENCE = 60.0  # [s] until both must have answered once
LINGER = 0.2  # [s] after the last joint state, for answers on their way


@dataclass(frozen=True)
class LatencyProbeConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm.
        unit: unit of the commands.
        seconds: how long to measure, both sides together [s].
        turn_seconds: how long to talk to one side before the other [s].
        out: JSON file for what was measured.
    """

    arm: str = "ur5"
    unit: str = "N m"
    seconds: float = 20.0
    turn_seconds: float = 2.0
    out: str = "latency.json"

    def __post_init__(self) -> None:
        if self.unit not in COMMAND_TOPICS:
            raise ValueError(f"no topic for '{self.unit}'; units are {list(COMMAND_TOPICS)}")


@dataclass
class Side:
    """One of the two that answer.

    Attributes:
        joints: where its joint states go.
        sent: when each joint state that has no answer yet was sent, by stamp [ns].
        count: joint states sent.
        latencies: time to the first answer of each that has one [ms].
    """

    joints: Publisher
    sent: dict[int, int] = field(default_factory=dict)
    count: int = 0
    latencies: list[float] = field(default_factory=list)


class LatencyProbeNode(Node):
    """Swing an arm that is not there, at its rate, and time the answers."""

    def __init__(self) -> None:
        super().__init__("latency_probe")
        self.config = config = load_parameters(self, LatencyProbeConfig)
        self.robot = load_robot(config.arm)
        qos = QoSProfile(depth=10)
        self.targets = self.create_publisher(JointTrajectory, "/joint_target", qos)
        topics = {
            "inverse_dynamics": ("/joint_states", COMMAND_TOPICS[config.unit]),
            "echo": (ECHO_JOINTS, ECHO_COMMANDS),
        }
        self.sides: dict[str, Side] = {}
        for name, (joints, commands) in topics.items():
            side = Side(self.create_publisher(JointState, joints, qos))
            self.sides[name] = side
            self.create_subscription(
                Float64MultiArray, commands, partial(self.on_command, side), qos
            )
        self.targeted = -np.inf

    def step(self, spin: Spin) -> None:
        """Do the whole measurement."""
        self.await_both(spin)
        for side in self.sides.values():
            side.sent.clear()
            side.latencies.clear()
            side.count = 0
        blocks = max(2, round(self.config.seconds / self.config.turn_seconds))
        names = list(self.sides)
        for number in range(blocks):
            self.talk(spin, names[number % 2], self.config.seconds / blocks)
        self.listen(spin, LINGER)
        result = {n: {"sent": s.count, "latency_ms": s.latencies} for n, s in self.sides.items()}
        Path(self.config.out).write_text(json.dumps(result), encoding="utf-8")
        raise NodeFinished

    def await_both(self, spin: Spin) -> None:
        """Talk to both until both answer: discovery and first calls are not measured."""
        end = time.monotonic() + PATIENCE
        while silent := [n for n, side in self.sides.items() if len(side.latencies) < 10]:
            if time.monotonic() > end:
                raise ValueError(f"no answer from {', '.join(silent)} within {PATIENCE:g} s")
            for name in silent:
                self.talk(spin, name, 0.2)

    def talk(self, spin: Spin, name: str, seconds: float) -> None:
        """Send joint states to one side at the arm's rate."""
        side, period = self.sides[name], 1 / self.robot.rate
        due = time.monotonic()
        end = due + seconds
        while due < end:
            stamp = time.time_ns()
            state = self.motion(stamp * 1e-9)
            message = JointState(
                header=Header(stamp=to_stamp(stamp)),
                name=list(self.robot.joint_names),
                position=state.q.tolist(),
                velocity=state.qd.tolist(),
            )
            side.sent[stamp] = time.perf_counter_ns()
            side.count += 1
            side.joints.publish(message)
            # a late tick is not made up for: a burst would measure its own queue
            due = max(due + period, time.monotonic())
            if name != "echo" and stamp * 1e-9 - self.targeted >= 1 / TARGET_RATE:
                self.listen(spin, (due - time.monotonic()) / 2)  # cameras keep no step with arms
                self.aim(time.time_ns())
            self.listen(spin, due - time.monotonic())

    def listen(self, spin: Spin, seconds: float) -> None:
        """Take answers for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            spin(left)

    def motion(self, seconds: float) -> State:
        """Where the arm is, in a swing about home."""
        phase, n = OMEGA * (seconds % 3600), self.robot.n
        q = self.robot.home + SWING * np.sin(phase)
        qd = np.full(n, SWING * OMEGA * np.cos(phase))
        return State(q, qd, np.full(n, -SWING * OMEGA**2 * np.sin(phase)))

    def aim(self, stamp: int) -> None:
        """Send the target that a camera would: the motion one frame ahead."""
        self.targeted = stamp * 1e-9
        target = Target(
            self.targeted, self.motion(self.targeted + 1 / TARGET_RATE), 1 / TARGET_RATE
        )
        self.targets.publish(target_to_message(target, self.robot.joint_names, to_stamp(stamp)))

    def on_command(self, side: Side, message: Float64MultiArray) -> None:
        """Note the first answer to a joint state."""
        now = time.perf_counter_ns()
        sent = side.sent.pop(command_stamp(message) or 0, None)
        if sent is not None:
            side.latencies.append((now - sent) / 1e6)


def main() -> None:
    """Run the node."""
    run(LatencyProbeNode)


if __name__ == "__main__":
    main()
