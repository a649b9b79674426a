"""Publisher of the commands of one arm, with the desired state that they track."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState, TimeReference
from std_msgs.msg import Float64MultiArray

from invdyn_ros.control.command import Command
from invdyn_ros.control.controller import ArmController
from invdyn_ros.graph.topics import TIMING
from invdyn_ros.nodes.joint_states import arm_to_message
from invdyn_ros.nodes.messages import command_to_message, to_stamp
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.nodes.trajectory_publisher import TrajectoryPublisher
from invdyn_ros.robots.driver import CommandInterface
from invdyn_ros.typing import Array

if TYPE_CHECKING:
    from rclpy.node import Node

QOS = QoSProfile(depth=10)


class CommandPublisher:
    """Publishes each command of an arm as its driver takes it."""

    def __init__(
        self,
        node: Node,
        controller: ArmController,
        names: RobotNames,
        topic: str,
        interface: CommandInterface | None,
    ) -> None:
        """Create the publishers.

        Args:
            node: publishes.
            controller: computes the commands.
            names: names of the joints.
            topic: topic of the commands.
            interface: how the driver takes commands; None without a driver.
        """
        self._node, self._controller, self._names = node, controller, names
        self._interface = interface
        # a controller of torques keeps the last one; a simulated arm has a watchdog
        self._keeps_torques = interface is not None and controller.unit == "N m"
        self._last_torque_stands = False
        self._trajectories: TrajectoryPublisher | None = None
        if interface is not None and interface.takes_plans:
            velocity = controller.robot.velocity
            self._trajectories = TrajectoryPublisher(node, interface, names.joint_names, velocity)
        else:
            self._commands = node.create_publisher(Float64MultiArray, topic, QOS)
        self._desired = node.create_publisher(JointState, "~/desired_joint_state", QOS)
        self._timing = node.create_publisher(TimeReference, TIMING, QOS)

    def reset(self) -> None:
        """Forget what a controller of trajectories has, before the arm is driven again."""
        if self._trajectories is not None:
            self._trajectories.reset()

    def publish(self, command: Command, stamp: int, target_stamp: int | None) -> None:
        """Publish a command with an action, its latency and the desired state that it tracks.

        Args:
            command: output of the controller.
            stamp: time of the joint state that the command is for [ns].
            target_stamp: stamp of the newest target [ns], None before the first.
        """
        if command.action is None or command.desired is None:
            return
        self._send(command.action, stamp)
        if command.target_stamp is not None:
            self._timing.publish(
                TimeReference(
                    header=self._names.header(to_stamp(target_stamp or 0)),
                    time_ref=self._node.get_clock().now().to_msg(),
                    source="command",
                )
            )
        if self._desired.get_subscription_count():
            q, qd, _ = command.desired
            message = arm_to_message(self._names, to_stamp(stamp), q, qd, command.action)
            self._desired.publish(message)

    def end(self, stamp: int) -> None:
        """Let an arm that gets no more torques hold itself against gravity.

        Args:
            stamp: time of the newest joint state [ns].
        """
        if not self._last_torque_stands:
            return
        robot, measured = self._controller.robot, self._controller.monitor.measured
        q, still = robot.home if measured is None else measured.q, np.zeros(robot.n)
        self._send(robot.inverse_dynamics(q, still, still), stamp)
        self._last_torque_stands = False

    def publish_none(self, stamp: int) -> None:
        """Answer a simulator in lockstep that there is no command for a joint state.

        Args:
            stamp: time of the joint state [ns].
        """
        self._commands.publish(command_to_message(np.empty(0), stamp))

    def _send(self, action: Array, stamp: int) -> None:
        """Send an action (n,) to the arm, or the plan to a controller of trajectories."""
        controller = self._controller
        if self._trajectories is not None:
            if controller.plan is not None:
                self._trajectories.publish(controller.plan, stamp)
            return
        if self._interface is not None:
            measured = controller.monitor.measured
            q = controller.robot.home if measured is None else measured.q
            action = self._interface.command(controller.robot, action, q)
        self._commands.publish(command_to_message(action, stamp))
        self._last_torque_stands = self._keeps_torques
