"""What a calibration is made from: poses of the arm, and of a marker as the camera saw it then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from invdyn_ros.perception.rigid_transforms import invert_transform

Mounting = Literal["eye_to_hand", "eye_in_hand"]
MOUNTINGS: tuple[Mounting, ...] = ("eye_to_hand", "eye_in_hand")
DEFAULT_POSITION_STD = 1e-3  # of a sighting that does not say, per axis [m]
DEFAULT_ROTATION_STD = np.radians(0.5)  # [rad]
ROTATION_TOLERANCE = 1e-6  # how far from orthogonal a rotation may be


@dataclass(frozen=True, eq=False)
class PosePairs:
    """N poses of an arm and what the camera saw in each."""

    T_base_tool: np.ndarray
    """(N, 4, 4) T_base_tool."""
    T_camera_marker: np.ndarray
    """(N, 4, 4) T_camera_marker, in the optical frame: x right, y down, z forward."""
    covariance: np.ndarray
    """(N, 6, 6) of T_camera_marker: x, y, z [m] and rotations about the camera's axes [rad]. Only
    their proportions count: how large they are is estimated from the residuals."""

    @classmethod
    def from_poses(cls, T_base_tool: np.ndarray, T_camera_marker: np.ndarray) -> PosePairs:
        """Pairs (N, 4, 4) of equal, unknown noise."""
        variance = np.repeat([DEFAULT_POSITION_STD**2, DEFAULT_ROTATION_STD**2], 3)
        return cls(
            T_base_tool,
            T_camera_marker,
            np.broadcast_to(np.diag(variance), (len(T_base_tool), 6, 6)),
        )

    def __post_init__(self) -> None:
        """Refuse what are no pairs of poses."""
        n = len(self.T_base_tool)
        for name, T in (
            ("T_base_tool", self.T_base_tool),
            ("T_camera_marker", self.T_camera_marker),
        ):
            if np.shape(T) != (n, 4, 4) or not np.isfinite(T).all():
                raise ValueError(f"{name} must be finite and ({n}, 4, 4), got {np.shape(T)}")
            R = T[:, :3, :3]
            wrong = (
                np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2)) > ROTATION_TOLERANCE
            )
            wrong |= np.linalg.det(R) < 0
            if wrong.any():
                raise ValueError(f"{name} {np.flatnonzero(wrong)[0]} has no rotation matrix")
        if np.shape(self.covariance) != (n, 6, 6):
            raise ValueError(f"covariance must be ({n}, 6, 6), got {np.shape(self.covariance)}")

    def __len__(self) -> int:
        return len(self.T_base_tool)

    def __getitem__(self, rows: np.ndarray) -> PosePairs:
        """Return the pairs of some rows, indices or a mask."""
        return PosePairs(self.T_base_tool[rows], self.T_camera_marker[rows], self.covariance[rows])

    def motion(self, mounting: Mounting) -> np.ndarray:
        """Return M (N, 4, 4) of M Y = X B, in which B is the marker's pose and X the camera's.

        Of a camera beside the arm, X is in the base's frame and M is the tool's pose; of one on
        the hand, X is in the tool's frame and M is the base's pose in that of the tool.
        """
        if mounting not in MOUNTINGS:
            raise ValueError(f"no mounting '{mounting}'; there are {', '.join(MOUNTINGS)}")
        return (
            self.T_base_tool if mounting == "eye_to_hand" else invert_transform(self.T_base_tool)
        )
