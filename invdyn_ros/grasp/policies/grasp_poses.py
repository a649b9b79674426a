"""Reachable tool poses for grasping a block."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.grasp.estimation.block_estimate import QUARTER_TURN
from invdyn_ros.robots.inverse_kinematics import PoseIKSolver
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array


class GraspPose(NamedTuple):
    """A reachable pose of the tool.

    Attributes:
        pose: (4, 4) pose of the tool in the base frame.
        q: (n,) joint positions that reach it [rad].
        yaw: yaw of the fingers [rad].
    """

    pose: Array
    q: Array
    yaw: float


class GraspPoseSolver:
    """Solve for tool poses that point down as far as the arm can reach them."""

    def __init__(self, robot: Robot, tilts: tuple[float, ...]) -> None:
        """Create a solver.

        Args:
            robot: the arm.
            tilts: angles from the vertical to try, in this order [rad].
        """
        self.ik = PoseIKSolver(robot)
        self.tilts = tilts

    def nearest(
        self,
        position: Array,
        yaw: float,
        q: Array,
        has_room: Callable[[Array, float], bool] | None = None,
    ) -> GraspPose | None:
        """Return the pose at a position that needs the least joint motion.

        A block looks the same after a quarter turn, so there are four yaws to grasp it.

        Args:
            position: (3,) position of the tool [m].
            yaw: yaw of the block [rad].
            q: (n,) present joint positions [rad].
            has_room: whether the fingers have room at a position and yaw; poses without are used
                only if there are no others.

        Returns:
            The pose, or None if none of the four is reachable.
        """
        poses = [self.solve(position, yaw + k * QUARTER_TURN, q) for k in range(-2, 2)]
        reachable = [pose for pose in poses if pose is not None]
        if has_room is not None:
            free = [pose for pose in reachable if has_room(position, pose.yaw)]
            reachable = free or reachable
        return min(reachable, key=lambda pose: np.abs(pose.q - q).max(), default=None)

    def solve(self, position: Array, yaw: float, q: Array) -> GraspPose | None:
        """Return the pose at a position with the fingers along a yaw.

        The tool points down; where the arm cannot reach, it tilts away from the base.

        Args:
            position: (3,) position of the tool [m].
            yaw: yaw of the fingers [rad].
            q: (n,) initial joint positions of the inverse kinematics [rad].

        Returns:
            The pose, or None if it is out of reach.
        """
        bearing = np.arctan2(position[1], position[0])
        down = Rotation.from_euler("ZX", [yaw, np.pi])
        for tilt in self.tilts:
            tilt_rotation = Rotation.from_rotvec(
                -tilt * np.array([-np.sin(bearing), np.cos(bearing), 0])
            )
            pose = np.eye(4)
            pose[:3, :3] = (tilt_rotation * down).as_matrix()
            pose[:3, 3] = position
            solution = self.ik.solve(pose, q)
            if solution is not None:
                return GraspPose(pose, solution, yaw)
        return None
