"""Gripper node: passes the opening on to the driver of a gripper, and its position back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from invdyn_ros.graph.topics import GRIPPER_COMMAND, JOINT_STATES
from invdyn_ros.nodes.interface_types import interface_type, package_to_install
from invdyn_ros.nodes.joint_states import positions_by_name
from invdyn_ros.nodes.messages import message_to_command
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.robots.driver import GripperInterface, load_driver
from invdyn_ros.robots.robot import load_robot

MIN_CHANGE = 0.001  # [m] of the opening that is worth a new command
REPORT_PERIOD = 0.02  # [s] of the opening of a gripper that measures none
SET_DIGITAL_OUT = 1  # function of ur_msgs/SetIO
TYPES = {
    "gripper_command": "control_msgs/action/GripperCommand",
    "parallel_gripper_command": "control_msgs/action/ParallelGripperCommand",
    "topic": "std_msgs/msg/Float64MultiArray",
    "digital_output": "ur_msgs/srv/SetIO",
}


@dataclass(frozen=True)
class GripperNodeConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of an arm of a user.
        driver: YAML file of its driver.
    """

    arm: str = "ur5e"
    driver: str = ""


class GripperNode(DiagnosticNode):
    """Command a gripper, and publish its fingers among the joint states."""

    def __init__(self) -> None:
        super().__init__("gripper")
        config = load_parameters(self, GripperNodeConfig)
        robot = load_robot(config.arm)
        driver = load_driver(config.driver, robot)
        if driver.gripper is None or robot.gripper is None:
            raise ValueError(f"{config.driver} describes no gripper")
        self.interface: GripperInterface = driver.gripper
        self.gripper = robot.gripper
        names = load_parameters(self, NamesConfig)
        self.names = RobotNames.of(robot, names, self.get_namespace())
        self.commanded: float | None = None  # [m] that the driver has been told
        self.send = self.create_sender()
        qos = QoSProfile(depth=10)
        self.publisher = self.create_publisher(JointState, JOINT_STATES, qos)
        self.create_subscription(Float64MultiArray, GRIPPER_COMMAND, self.on_command, qos)
        if self.interface.joint:
            self.create_subscription(JointState, driver.joint_states, self.on_joint_state, qos)
        else:
            self.create_timer(REPORT_PERIOD, self.on_timer)

    def create_sender(self) -> Callable[[float], str | None]:
        """Return the function that sends an opening [m]; it returns why it could not."""
        interface, name = self.interface, TYPES[self.interface.kind]
        kind = interface_type(name)
        if kind is None:
            package = name.split("/")[0]
            reason = (
                f"the gripper is not commanded: {package} is not installed; install "
                f"{package_to_install(package)}, or listen to {GRIPPER_COMMAND}"
            )
            return lambda _: reason
        if interface.kind == "topic":
            publisher = self.create_publisher(kind, interface.name, 10)
            return lambda opening: publisher.publish(kind(data=[self.position(opening)]))
        if interface.kind == "digital_output":
            client = self.create_client(kind, interface.name)
            return lambda opening: self.call(client, self.output_request(kind, opening))
        from rclpy.action import ActionClient

        action = ActionClient(self, kind, interface.name)
        return lambda opening: self.send_goal(action, self.goal(kind, opening))

    def position(self, opening: float) -> float:
        """Return the position of the gripper's joint [rad or m] for an opening [m]."""
        return self.interface.position(opening, self.gripper.max_opening)

    def goal(self, kind: Any, opening: float) -> Any:
        """Return the goal of an action for an opening [m]."""
        goal, effort = kind.Goal(), self.interface.max_effort
        if self.interface.kind == "gripper_command":
            goal.command.position, goal.command.max_effort = self.position(opening), effort
        else:
            goal.command = JointState(
                name=[self.interface.joint],
                position=[self.position(opening)],
                effort=[effort] if effort else [],
            )
        return goal

    def output_request(self, kind: Any, opening: float) -> Any:
        """Return the request that sets the digital output for an opening [m]."""
        closed = opening < self.gripper.max_opening / 2
        return kind.Request(fun=SET_DIGITAL_OUT, pin=self.interface.pin, state=float(closed))

    def call(self, client: Any, request: Any) -> str | None:
        """Call a service; return why it could not be called."""
        if not client.service_is_ready():
            return f"the gripper is not commanded: nobody offers {self.interface.name}"
        client.call_async(request)
        return None

    def send_goal(self, client: Any, goal: Any) -> str | None:
        """Send the goal of an action, which replaces the last; return why it could not be sent."""
        if not client.server_is_ready():
            return f"the gripper is not commanded: nobody offers {self.interface.name}"
        client.send_goal_async(goal)
        return None

    def on_command(self, message: Float64MultiArray) -> None:
        """Pass an opening [m] on if it is new."""
        opening = float(message_to_command(message, 1)[0])
        if self.commanded is not None and abs(opening - self.commanded) < MIN_CHANGE:
            return
        problem = self.send(opening)
        self.hold(problem)
        if problem is None:
            self.commanded = opening

    def on_joint_state(self, message: JointState) -> None:
        """Publish the fingers at the measured position of the gripper's joint."""
        if self.interface.joint in message.name:
            (position,) = positions_by_name(message, (self.interface.joint,))
            opening = self.interface.opening(float(position), self.gripper.max_opening)
            self.publish(opening, message.header.stamp)

    def on_timer(self) -> None:
        """Publish the fingers as commanded; at first they are open."""
        opening = self.gripper.max_opening if self.commanded is None else self.commanded
        self.publish(opening, self.get_clock().now().to_msg())

    def publish(self, opening: float, stamp: Any) -> None:
        """Publish the fingers.

        Args:
            opening: distance of the finger pads [m].
            stamp: time of the measurement.
        """
        names = self.names.finger_names
        self.publisher.publish(
            JointState(
                header=self.names.header(stamp),
                name=list(names),
                position=self.names.finger_positions(opening),
            )
        )


def main() -> None:
    """Run the node."""
    run(GripperNode)


if __name__ == "__main__":
    main()
