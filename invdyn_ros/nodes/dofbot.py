"""DofBot driver node: executes joint and gripper commands and publishes measured positions."""

import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, NonNegativeInt
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from invdyn_ros.arms.dofbot_bus import DofbotBus, I2CBus, open_bus
from invdyn_ros.arms.dofbot_driver import DofbotDriver, Reading
from invdyn_ros.config import RECONFIGURABLE, Validated
from invdyn_ros.graph.topics import COMMANDS, GRIPPER_COMMAND, JOINT_STATES
from invdyn_ros.nodes.joint_states import joints_to_message
from invdyn_ros.nodes.messages import (
    ForeignMessage,
    message_to_command,
    to_stamp,
)
from invdyn_ros.nodes.node_loop import Spin
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.robots.robot import load_robot

MAX_ENDING_TIME = 0.7  # [s] after a signal in which the arm comes to rest
COMMAND_PAUSE = 0.1  # [s] without a command after which it has


@dataclass(frozen=True)
class DofbotNodeConfig(Validated):
    """Parameters of the node.

    Attributes:
        bus: number of the I2C bus.
        reads_per_tick: servos read in each period of 20 ms; more than 4 do not fit.
        release: switch the servo torque off when the node ends; the arm falls.
    """

    bus: NonNegativeInt = 1
    reads_per_tick: Annotated[int, Field(ge=1, le=6)] = 3
    release: bool = field(default=False, metadata=RECONFIGURABLE)


class DofbotNode(DiagnosticNode):
    """Write commands at 50 Hz, read the servos in between and publish complete readings.

    Only positions are published: the servos measure neither velocity nor effort.
    """

    hardware_id = "dofbot"

    def __init__(self, bus: I2CBus | None = None) -> None:
        super().__init__("dofbot")
        self.config = load_parameters(self, DofbotNodeConfig, self.reconfigure)
        self.robot = load_robot("dofbot")
        self.names = RobotNames.of(
            self.robot, load_parameters(self, NamesConfig), self.get_namespace()
        )
        board = DofbotBus(open_bus(self.config.bus) if bus is None else bus)
        self.driver = DofbotDriver(board, self.robot, self.config.reads_per_tick)
        self.due = time.monotonic()
        self.command_time = -math.inf  # [s] of the last command
        qos = QoSProfile(depth=10)
        self.joint_state_publisher = self.create_publisher(JointState, JOINT_STATES, qos)
        topic = COMMANDS[self.robot.action_unit]
        self.create_subscription(Float64MultiArray, topic, self.on_command, qos)
        self.create_subscription(Float64MultiArray, GRIPPER_COMMAND, self.on_gripper_command, qos)

    def reconfigure(self, config: DofbotNodeConfig) -> None:
        """Change whether the servos are released at the end."""
        self.config = config

    def end(self, spin: Spin) -> None:
        """Go on while the controller still brakes, so that the arm does not stop with a jerk."""
        deadline = time.monotonic() + MAX_ENDING_TIME
        while time.monotonic() < min(deadline, self.command_time + COMMAND_PAUSE):
            self.step(spin)

    def close(self) -> None:
        """Switch the torque off if configured."""
        driver = getattr(self, "driver", None)
        if driver is not None:
            with suppress(OSError):  # the board may be disconnected
                driver.close(self.config.release)

    def step(self, spin: Spin) -> None:
        """Perform one tick, then process commands until the next is due."""
        reading = self.driver.tick()
        if reading is not None:
            self.publish(reading)
        self.hold(self.driver.problem)
        # do not catch up a late tick: two writes at once would double the speed
        self.due = max(self.due + self.driver.period, time.monotonic())
        while (remaining := self.due - time.monotonic()) > 0:
            spin(remaining)
        for _ in range(4):  # messages that have arrived meanwhile
            spin(0)

    def publish(self, reading: Reading) -> None:
        """Publish a reading with the time of its measurement."""
        age = time.monotonic() - reading.time
        stamp = to_stamp(max(self.get_clock().now().nanoseconds - round(1e9 * age), 0))
        self.joint_state_publisher.publish(
            joints_to_message(self.names, stamp, reading.q, reading.opening)
        )
        self.diagnostic_values["reading duration [ms]"] = f"{1e3 * reading.duration:.1f}"
        self.diagnostic_values["incomplete readings"] = str(self.driver.incomplete_readings)

    def on_command(self, message: Float64MultiArray) -> None:
        """Set the desired joint positions [rad]."""
        q = message_to_command(message, self.robot.n)
        self.command_time = time.monotonic()
        try:
            self.driver.command(q)
        except ValueError as error:
            raise ForeignMessage(f"invalid command: {error}") from error

    def on_gripper_command(self, message: Float64MultiArray) -> None:
        """Set the desired opening of the gripper [m]."""
        opening = float(message_to_command(message, 1)[0])
        try:
            self.driver.command_gripper(opening)
        except ValueError as error:
            raise ForeignMessage(f"invalid command: {error}") from error


def main() -> None:
    """Run the node."""
    run(DofbotNode)


if __name__ == "__main__":
    main()
