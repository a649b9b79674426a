"""Pose of a block in the base frame of the arm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.robots.rotation import skew


class BlockPoseInBase(NamedTuple):
    """Pose of a block and its uncertainty in the base frame of the arm."""

    T_base_block: np.ndarray
    """(4, 4)."""
    covariance: np.ndarray
    """(6, 6) of x, y, z [m] and of rotations about the base's x, y, z [rad]."""


def block_pose_in_base(
    T_camera_block: np.ndarray,
    covariance: np.ndarray,
    T_base_camera: np.ndarray,
    camera_covariance: np.ndarray | None = None,
) -> BlockPoseInBase:
    """Transform the pose of a block to the base frame of the arm.

    Args:
        T_camera_block: (4, 4) pose of the block in the camera's optical frame.
        covariance: (6, 6) covariance of this pose about the optical axes.
        T_base_camera: (4, 4) pose of the camera in the base frame.
        camera_covariance: (6, 6) covariance of the pose of the camera: x, y, z [m], and rotations
            [rad] about axes through the camera that are parallel to those of the base; None if the
            pose is exact.
    """
    R = T_base_camera[:3, :3]
    rotation = np.kron(np.eye(2), R)  # (6, 6)
    covariance = rotation @ covariance @ rotation.T
    if camera_covariance is not None:
        lever = np.eye(6)  # a camera rotated by w moves the block by w x offset
        lever[:3, 3:] = -skew(R @ T_camera_block[:3, 3])
        covariance = covariance + lever @ camera_covariance @ lever.T
    return BlockPoseInBase(T_base_camera @ T_camera_block, covariance)
