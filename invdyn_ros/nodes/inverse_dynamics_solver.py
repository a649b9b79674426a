"""Node that answers motions with the torques of a model, for programs of others."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from rclpy.qos import QoSProfile
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from invdyn_ros.data.action_units import is_torque
from invdyn_ros.models.gravity import in_unit
from invdyn_ros.models.runtime import load_runtime, predict_motion
from invdyn_ros.nodes.messages import ForeignMessage
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.robots.robot import load_robot, package_file
from invdyn_ros.typing import Array

MAX_POINTS = 10_000  # of a request
MAX_VALUE = 1e6  # of a position [rad], velocity [rad/s] or acceleration [rad/s2]


@dataclass(frozen=True)
class InverseDynamicsSolverNodeConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of an arm of a user.
        checkpoint: folder or .onnx file of a model of torques; empty: the shipped one of the arm.
        unit: N m, or N m without gravity, of the answers.
    """

    arm: str = "ur5"
    checkpoint: str = ""
    unit: Literal["N m", "N m without gravity"] = "N m"


class InverseDynamicsSolverNode(DiagnosticNode):
    """Answer each message on `~/compute` with one on `~/computed`, its points with efforts."""

    def __init__(self) -> None:
        super().__init__("inverse_dynamics_solver")
        config = load_parameters(self, InverseDynamicsSolverNodeConfig)
        robot = load_robot(config.arm)
        self.names = RobotNames.of(robot, load_parameters(self, NamesConfig)).joint_names
        path = config.checkpoint or package_file(f"config/checkpoints/{config.arm}")
        model = load_runtime(path, "cpu", robot)
        if not is_torque(model.meta.action_unit):
            raise ValueError(
                f"checkpoint {path} has actions in '{model.meta.action_unit}'; the node answers "
                "with torques: give a model of them with checkpoint:=FOLDER"
            )
        self.model = in_unit(model, model.meta, config.unit)
        self.publisher = self.create_publisher(
            JointTrajectory, "~/computed", QoSProfile(depth=100)
        )
        self.create_subscription(
            JointTrajectory, "~/compute", self.on_request, QoSProfile(depth=100)
        )

    def on_request(self, message: JointTrajectory) -> None:
        """Answer a motion with the same motion and its torques."""
        motion, time = message_to_motion(message, self.names)
        if (np.diff(time) <= 0).any():  # times are left out
            time = np.arange(len(time)) / self.model.meta.rate
        torque = predict_motion(self.model, motion, time)
        order = [self.names.index(name) for name in message.joint_names]
        for point, effort in zip(message.points, torque[:, order].tolist(), strict=True):
            point.effort = effort
        self.publisher.publish(message)


def message_to_motion(message: JointTrajectory, names: tuple[str, ...]) -> tuple[Array, Array]:
    """Return the motion (T, 3n) = [q, qd, qdd] and the times (T,) [s] of a trajectory.

    Velocities and accelerations that a point lacks are zero.

    Args:
        message: the trajectory.
        names: names of the joints in the order of the result.

    Raises:
        ForeignMessage: other joints, no points or too many, or an incomplete point.
    """
    joints, points = list(message.joint_names), message.points
    if sorted(joints) != sorted(names):
        raise ForeignMessage(f"the motion is of joints {joints}, the arm has {list(names)}")
    if not 0 < len(points) <= MAX_POINTS:
        raise ForeignMessage(f"the motion has {len(points)} points; 1 to {MAX_POINTS} are allowed")
    order = [joints.index(name) for name in names]
    try:
        motion = np.array([_row(point, len(names)) for point in points])
    except ValueError as error:
        raise ForeignMessage(f"a point has not one position for each joint: {error}") from error
    if not (np.abs(motion) < MAX_VALUE).all():  # also for NaN
        raise ForeignMessage("the motion has a value that is not finite or too large")
    starts = [point.time_from_start for point in points]
    time = np.array([start.sec + 1e-9 * start.nanosec for start in starts])
    return motion.reshape(-1, 3, len(names))[:, :, order].reshape(len(points), -1), time


def _row(point: JointTrajectoryPoint, num_joints: int) -> Array:
    """Return q, qd, qdd (3n,) of a point.

    Raises:
        ValueError: a column has another length.
    """
    zeros = [0.0] * num_joints
    columns = (point.positions, point.velocities or zeros, point.accelerations or zeros)
    if {len(column) for column in columns} != {num_joints}:
        raise ValueError(f"{[len(column) for column in columns]} values for {num_joints} joints")
    return np.concatenate(columns)


def main() -> None:
    """Run the node."""
    run(InverseDynamicsSolverNode)


if __name__ == "__main__":
    main()
