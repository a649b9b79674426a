"""Publisher of the plans of an arm as trajectories, for a controller that interpolates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builtin_interfaces.msg import Duration
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from invdyn_ros.control.motion_profile import Plan
from invdyn_ros.control.trajectory_output import TrajectoryOutput, Waypoints
from invdyn_ros.nodes.messages import to_stamp
from invdyn_ros.typing import Array

if TYPE_CHECKING:
    from rclpy.node import Node


class TrajectoryPublisher:
    """Publishes each new plan of an arm, and repeats it while it lasts."""

    def __init__(
        self, node: Node, topic: str, joint_names: tuple[str, ...], velocity: Array
    ) -> None:
        """Create the publisher.

        Args:
            node: publishes.
            topic: of the controller.
            joint_names: names of the joints.
            velocity: (n,) their velocity limits [rad/s].
        """
        self._joint_names, self._output = joint_names, TrajectoryOutput(velocity)
        self._publisher = node.create_publisher(JointTrajectory, topic, 10)

    def reset(self) -> None:
        """Forget what the controller has, before the arm is driven again."""
        self._output.reset()

    def publish(self, plan: Plan, stamp: int) -> None:
        """Publish the plan at a time [ns], if the controller does not have it."""
        waypoints = self._output.update(plan, 1e-9 * stamp)
        if waypoints is not None:
            self._publisher.publish(waypoints_to_message(waypoints, self._joint_names, stamp))


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
