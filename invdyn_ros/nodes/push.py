"""Push node: a scripted hand that pushes the tool of a simulated arm now and then."""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from geometry_msgs.msg import WrenchStamped
from pydantic import Field
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState

from invdyn_ros.config import Validated
from invdyn_ros.graph.topics import DESIRED_JOINT_STATE, PUSH
from invdyn_ros.nodes.messages import latest_qos, to_seconds
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.nodes.wrench import force_to_message
from invdyn_ros.robots.robot import load_robot

PERIOD = 0.018  # [s] between two messages at least
REST = 5.0  # [s] before each push
# direction along the axes of the base, and duration [s]: at last the hand leans on the table
PUSHES = (
    ((0.0, 1.0, 0.0), 1.0),
    ((0.0, -1.0, 0.0), 1.0),
    ((0.0, 0.0, 1.0), 0.5),
    ((-1.0, 0.0, 0.0), 0.5),
    ((1.0, 0.0, 0.0), 0.5),
    ((0.0, 0.0, -1.0), 4.0),
)


@dataclass(frozen=True)
class PushNodeConfig(Validated):
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of one.
        push: force of the hand [N].
    """

    arm: str = "ur5"
    push: Annotated[float, Field(ge=0, le=500)] = 20.0


class PushNode(DiagnosticNode):
    """Publish the forces of a hand once the arm floats: rest, push, rest, push another way."""

    def __init__(self) -> None:
        super().__init__("push")
        self.config = load_parameters(self, PushNodeConfig)
        robot = load_robot(self.config.arm)
        names = load_parameters(self, NamesConfig)
        self.names = RobotNames.of(robot, names, self.get_namespace())
        self.start: float | None = None  # stamp at which the arm began to float [s]
        self.next_stamp = -math.inf  # of a message [s]
        self.publisher = self.create_publisher(WrenchStamped, PUSH, QoSProfile(depth=10))
        self.subscription = self.create_subscription(
            JointState, DESIRED_JOINT_STATE, self.on_desired, latest_qos(False)
        )

    def on_desired(self, message: JointState) -> None:
        """Publish the force of this moment of a floating arm, if there is one."""
        stamp = to_seconds(message.header.stamp)
        if self.start is None or stamp < self.start:
            self.start, self.next_stamp = stamp, stamp
        if stamp < self.next_stamp:
            return
        self.next_stamp = stamp + PERIOD
        elapsed = (stamp - self.start) % sum(REST + duration for _, duration in PUSHES)
        for direction, duration in PUSHES:
            if REST <= elapsed < REST + duration:
                force = self.config.push * np.array(direction)
                self.publisher.publish(force_to_message(force, self.names, message.header.stamp))
            elapsed -= REST + duration


def main() -> None:
    """Run the node."""
    run(PushNode)


if __name__ == "__main__":
    main()
