"""Startup probe node: prints when the first commands of a graph arrive."""

import time
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import TimeReference
from std_msgs.msg import Float64MultiArray

from invdyn_ros.graph.topics import COMMANDS, TIMING
from invdyn_ros.nodes.node_loop import Spin
from invdyn_ros.nodes.runner import NodeFinished, load_parameters, run


@dataclass(frozen=True)
class StartupProbeNodeConfig:
    """Parameters of the node.

    Attributes:
        unit: unit of the commands.
        seconds: time after which the node ends [s].
    """

    unit: str = "N m"
    seconds: float = 60.0


class StartupProbeNode(Node):
    """Print "EVENT TIME" [s] once for each of ready, command and image.

    They are: the node listens, the first command, the first command for a target from an image.
    """

    def __init__(self) -> None:
        super().__init__("startup_probe")
        config = load_parameters(self, StartupProbeNodeConfig)
        self.deadline = time.monotonic() + config.seconds
        self.noted: set[str] = set()
        qos = QoSProfile(depth=10)
        self.create_subscription(
            Float64MultiArray, COMMANDS[config.unit], lambda _: self.note("command"), qos
        )
        self.create_subscription(TimeReference, TIMING, self.on_timing, QoSProfile(depth=100))
        self.note("ready")

    def on_timing(self, message: TimeReference) -> None:
        """Note a command for a target."""
        if message.source == "command":
            self.note("image")

    def note(self, event: str) -> None:
        """Print an event and its time, once."""
        if event not in self.noted:
            self.noted.add(event)
            print(event, time.time(), flush=True)

    def step(self, spin: Spin) -> None:
        """Process messages until the time is over.

        Raises:
            NodeFinished: it is.
        """
        spin(0.2)
        if time.monotonic() > self.deadline:
            raise NodeFinished


def main() -> None:
    """Run the node."""
    run(StartupProbeNode)


if __name__ == "__main__":
    main()
