"""Pairs of an arm pose and a marker pose, which are the input of hand-eye calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from invdyn_ros.perception.rigid_transforms import invert_transform

Mounting = Literal["eye_to_hand", "eye_in_hand"]
MOUNTINGS: tuple[Mounting, ...] = ("eye_to_hand", "eye_in_hand")
DEFAULT_POSITION_STD = 1e-3  # of a detection without covariance, per axis [m]
DEFAULT_ROTATION_STD = np.radians(0.5)  # the same for rotations [rad]
ROTATION_TOLERANCE = 1e-6  # maximum deviation from an orthogonal matrix


@dataclass(frozen=True, eq=False)
class PosePairs:
    """N poses of an arm and of the marker detected in each."""

    T_base_tool: np.ndarray
    """(N, 4, 4) pose of the tool in the base frame."""
    T_camera_marker: np.ndarray
    """(N, 4, 4) pose of the marker in the optical frame: x right, y down, z forward."""
    covariance: np.ndarray
    """(N, 6, 6) covariances of T_camera_marker: x, y, z [m] and rotations about the camera's axes
    [rad]. Only their ratios matter: the noise level is estimated from the residuals."""

    @classmethod
    def from_poses(cls, T_base_tool: np.ndarray, T_camera_marker: np.ndarray) -> PosePairs:
        """Create pairs of poses (N, 4, 4) with equal covariances."""
        variance = np.repeat([DEFAULT_POSITION_STD**2, DEFAULT_ROTATION_STD**2], 3)
        return cls(
            T_base_tool,
            T_camera_marker,
            np.broadcast_to(np.diag(variance), (len(T_base_tool), 6, 6)),
        )

    def __post_init__(self) -> None:
        """Check shapes, values and rotation matrices."""
        n = len(self.T_base_tool)
        for name, T in (
            ("T_base_tool", self.T_base_tool),
            ("T_camera_marker", self.T_camera_marker),
        ):
            if np.shape(T) != (n, 4, 4) or not np.isfinite(T).all():
                raise ValueError(f"{name} must be finite and ({n}, 4, 4), got {np.shape(T)}")
            R = T[:, :3, :3]
            invalid = (
                np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2)) > ROTATION_TOLERANCE
            )
            invalid |= np.linalg.det(R) < 0
            if invalid.any():
                raise ValueError(f"{name} {np.flatnonzero(invalid)[0]} has no rotation matrix")
        if np.shape(self.covariance) != (n, 6, 6):
            raise ValueError(f"covariance must be ({n}, 6, 6), got {np.shape(self.covariance)}")

    def __len__(self) -> int:
        return len(self.T_base_tool)

    def __getitem__(self, rows: np.ndarray) -> PosePairs:
        """Return the pairs that an index array or a mask (N,) selects."""
        return PosePairs(self.T_base_tool[rows], self.T_camera_marker[rows], self.covariance[rows])

    def motion(self, mounting: Mounting) -> np.ndarray:
        """Return M (N, 4, 4) of the equation M Y = X B, see `least_squares`.

        X is the pose of the camera, B the pose of the marker in the camera frame, and Y the pose
        of the marker in the frame that it is fixed to. With eye_to_hand, X is in the base frame
        and M is the pose of the tool; with eye_in_hand, X is in the tool frame and M is the pose
        of the base in the tool frame.

        Raises:
            ValueError: unknown mounting.
        """
        if mounting not in MOUNTINGS:
            raise ValueError(
                f"unknown mounting '{mounting}'; expected one of {', '.join(MOUNTINGS)}"
            )
        return (
            self.T_base_tool if mounting == "eye_to_hand" else invert_transform(self.T_base_tool)
        )
