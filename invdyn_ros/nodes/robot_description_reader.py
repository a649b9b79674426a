"""Node that prints the URDF that the driver of an arm publishes, and ends."""

import time

from rclpy.node import Node
from std_msgs.msg import String

from invdyn_ros.graph.topics import ROBOT_DESCRIPTION
from invdyn_ros.nodes.controller_states import LATCHED
from invdyn_ros.nodes.node_loop import Spin
from invdyn_ros.nodes.runner import NodeFinished, run

TIMEOUT = 10.0  # [s]


class RobotDescriptionReaderNode(Node):
    """Print the first `robot_description`."""

    def __init__(self) -> None:
        super().__init__("robot_description_reader")
        self.text = ""
        self.deadline = time.monotonic() + TIMEOUT
        self.create_subscription(String, ROBOT_DESCRIPTION, self.on_description, LATCHED)

    def on_description(self, message: String) -> None:
        """Keep the description."""
        self.text = message.data

    def step(self, spin: Spin) -> None:
        """Wait for the description.

        Raises:
            NodeFinished: it is printed.
            ValueError: nobody publishes one.
        """
        spin(0.2)
        if self.text:
            print(self.text, flush=True)
            raise NodeFinished
        if time.monotonic() > self.deadline:
            topic = self.resolve_topic_name(ROBOT_DESCRIPTION)
            raise ValueError(
                f"nobody published {topic} within {TIMEOUT:g} s; start the driver of the arm "
                "first, or give urdf:=FILE.urdf"
            )


def main() -> None:
    """Run the node."""
    run(RobotDescriptionReaderNode)


if __name__ == "__main__":
    main()
