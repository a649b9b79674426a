"""Echo node: publishes a zero command for each joint state, the baseline of latency."""

from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from invdyn_ros.graph.topics import ECHO_COMMANDS, ECHO_JOINTS
from invdyn_ros.nodes.messages import command_to_message, to_nanoseconds
from invdyn_ros.nodes.runner import load_parameters, run
from invdyn_ros.robots.robot import load_robot


@dataclass(frozen=True)
class EchoNodeConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of one, which determines the size of a command.
    """

    arm: str = "ur5"


class EchoNode(Node):
    """Exchange the same messages as the node `inverse_dynamics`, without any computation."""

    def __init__(self) -> None:
        super().__init__("echo")
        config = load_parameters(self, EchoNodeConfig)
        self.command = np.zeros(load_robot(config.arm).n)
        qos = QoSProfile(depth=10)
        self.command_publisher = self.create_publisher(Float64MultiArray, ECHO_COMMANDS, qos)
        self.create_subscription(JointState, ECHO_JOINTS, self.on_joint_state, qos)

    def on_joint_state(self, message: JointState) -> None:
        """Publish a command for a joint state."""
        stamp = to_nanoseconds(message.header.stamp)
        self.command_publisher.publish(command_to_message(self.command, stamp))


def main() -> None:
    """Run the node."""
    run(EchoNode)


if __name__ == "__main__":
    main()
