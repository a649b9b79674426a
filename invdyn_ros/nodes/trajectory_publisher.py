"""Publisher of the plans of an arm as trajectories, for a controller that interpolates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Duration
from rclpy.task import Future
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from invdyn_ros.control.motion_profile import Plan
from invdyn_ros.control.trajectory_output import TrajectoryOutput, Waypoints
from invdyn_ros.nodes.interface_types import interface_type, package_to_install
from invdyn_ros.nodes.messages import to_stamp
from invdyn_ros.robots.driver import CommandInterface
from invdyn_ros.typing import Array

if TYPE_CHECKING:
    from rclpy.node import Node


ACTION_TYPE = "control_msgs/action/FollowJointTrajectory"


class TrajectoryPublisher:
    """Publishes each new plan of an arm, and repeats it while it lasts."""

    def __init__(
        self,
        node: Node,
        interface: CommandInterface,
        joint_names: tuple[str, ...],
        velocity: Array,
    ) -> None:
        """Create the publisher.

        Args:
            node: publishes.
            interface: topic or action of the controller.
            joint_names: names of the joints.
            velocity: (n,) their velocity limits [rad/s].

        Raises:
            ValueError: the messages of the action are not installed.
        """
        self._joint_names = joint_names
        # whether a goal arrived is known, and a repeated one would replace the first
        self._output = TrajectoryOutput(velocity, repeats=not interface.takes_goals)
        self._send: Callable[[JointTrajectory], None]
        if interface.takes_goals:
            self._send = GoalSender(node, interface.topic)
        else:
            self._send = node.create_publisher(JointTrajectory, interface.topic, 10).publish

    def reset(self) -> None:
        """Forget what the controller has, before the arm is driven again."""
        self._output.reset()

    def publish(self, plan: Plan, stamp: int) -> None:
        """Publish the plan at a time [ns], if the controller does not have it."""
        waypoints = self._output.update(plan, 1e-9 * stamp)
        if waypoints is not None:
            self._send(waypoints_to_message(waypoints, self._joint_names, stamp))


class GoalSender:
    """Sends trajectories as goals of an action; each one replaces the goal before."""

    def __init__(self, node: Node, name: str) -> None:
        """Create the client of an action.

        Args:
            node: sends the goals.
            name: name of the action.

        Raises:
            ValueError: its messages are not installed.
        """
        kind = interface_type(ACTION_TYPE)
        if kind is None:
            raise ValueError(
                f"takes_goals of {name} needs control_msgs; install "
                f"{package_to_install('control_msgs')}, or give the topic of the controller with "
                "takes_trajectories"
            )
        from rclpy.action import ActionClient

        self._goal, self._client, self._name = kind.Goal, ActionClient(node, kind, name), name
        self._logger, self._is_refusal_known = node.get_logger(), False

    def __call__(self, message: JointTrajectory) -> None:
        """Send a trajectory; an arm that does not follow it is noticed by its joint states."""
        if self._client.server_is_ready():
            future = self._client.send_goal_async(self._goal(trajectory=message))
            future.add_done_callback(self._on_response)

    def _on_response(self, future: Future) -> None:
        """Say once that goals are refused."""
        handle = future.result()
        if handle is not None and not handle.accepted and not self._is_refusal_known:
            self._is_refusal_known = True
            self._logger.warning(f"{self._name} refused a trajectory; its log may say why")


def waypoints_to_message(
    waypoints: Waypoints, joint_names: tuple[str, ...], stamp: int
) -> JointTrajectory:
    """Return the message of a trajectory.

    Args:
        waypoints: the trajectory.
        joint_names: names of the joints.
        stamp: time of its first point [ns].
    """
    message = JointTrajectory(joint_names=list(joint_names))
    message.header.stamp = to_stamp(stamp)
    for time, *columns in zip(*waypoints[1:], strict=True):
        positions, velocities, accelerations = (column.tolist() for column in columns)
        sec, nanosec = divmod(round(time * 1e9), 10**9)
        message.points.append(
            JointTrajectoryPoint(
                positions=positions,
                velocities=velocities,
                accelerations=accelerations,
                time_from_start=Duration(sec=sec, nanosec=nanosec),
            )
        )
    return message
