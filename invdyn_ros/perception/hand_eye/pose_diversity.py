"""Diversity of arm poses, on which the accuracy of hand-eye calibration depends.

The tool must rotate about at least two axes: if it rotates about one axis only, the position of
the camera along this axis is undetermined (Tsai and Lenz 1989).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.perception.rigid_transforms import rotation_vectors

MIN_POSES = 6  # three suffice without noise, but give no redundancy
RECOMMENDED_POSES = 15
MIN_ROTATION = 5.0  # about two axes, RMS over pairs of poses [deg]
RECOMMENDED_ROTATION = 20.0  # [deg]
DISTINCT_POSE_ANGLE, DISTINCT_POSE_DISTANCE = 2.0, 0.01  # [deg, m] closer poses count as one
PARALLEL_COSINE = 0.95  # with a larger cosine to an axis of the tool, an axis is named after it
PERPENDICULAR_COSINE = 0.6  # axes with a smaller cosine to each other count as perpendicular
AXES = "xyz"


class PoseDiversity(NamedTuple):
    """Rotations of the tool between all pairs of poses.

    Attributes:
        num_poses: number of distinct poses.
        tool_axis_rms: (3,) RMS rotation about x, y and z of the tool [deg].
        principal_rms: (3,) RMS rotation about the principal axes, the largest first [deg].
        principal_axes: (3, 3) principal axes in the tool frame, one per row.
    """

    num_poses: int
    tool_axis_rms: np.ndarray
    principal_rms: np.ndarray
    principal_axes: np.ndarray

    @classmethod
    def from_poses(cls, T_base_tool: np.ndarray) -> PoseDiversity:
        """Compute the diversity of poses (N, 4, 4)."""
        n = len(T_base_tool)
        R, position = T_base_tool[:, :3, :3], T_base_tool[:, :3, 3]
        i, j = np.triu_indices(n, 1)
        rotation = np.degrees(rotation_vectors(R[i].transpose(0, 2, 1) @ R[j]))  # (pairs, 3)
        same = np.linalg.norm(rotation, axis=1) < DISTINCT_POSE_ANGLE
        same &= np.linalg.norm(position[i] - position[j], axis=1) < DISTINCT_POSE_DISTANCE
        moments = rotation.T @ rotation / max(len(rotation), 1)
        eigenvalues, axes = np.linalg.eigh(moments)
        rms = np.sqrt(np.maximum(eigenvalues, 0))[::-1]
        return cls(n - len(set(j[same])), np.sqrt(np.diag(moments)), rms, axes.T[::-1])

    def check(self) -> None:
        """Check that the poses determine the pose of the camera.

        Raises:
            ValueError: too few distinct poses, or rotations about less than two axes.
        """
        if self.num_poses < MIN_POSES:
            raise ValueError(
                f"{self.num_poses} distinct poses; {MIN_POSES} are needed, "
                f"{RECOMMENDED_POSES} to 20 recommended"
            )
        if self.principal_rms[0] < MIN_ROTATION:
            raise ValueError(f"the tool hardly rotates ({self}); {self._rotation_advice()}")
        if self.principal_rms[1] < MIN_ROTATION:
            raise ValueError(
                f"the tool rotates about {axis_name(self.principal_axes[0])} only ({self}), which "
                "leaves the position of the camera along this axis undetermined; "
                f"{self._rotation_advice()}"
            )

    def advice(self) -> str | None:
        """Return which further poses would reduce the error, None if there are enough."""
        if self.principal_rms[1] < RECOMMENDED_ROTATION and self.num_poses > 1:
            return self._rotation_advice()
        if self.num_poses < RECOMMENDED_POSES:
            missing = RECOMMENDED_POSES - self.num_poses
            return f"{missing} more poses, at the edges of the image, near and far"
        return None

    def __str__(self) -> str:
        about = ", ".join(f"{a} {v:.0f}" for a, v in zip(AXES, self.tool_axis_rms, strict=True))
        return f"RMS rotation about the tool's {about} deg"

    def _rotation_advice(self) -> str:
        """Return the axes of the tool about which it should also rotate, as advice."""
        if self.principal_rms[0] < MIN_ROTATION:
            return f"rotate it by {RECOMMENDED_ROTATION:.0f} to 40 deg about two of its axes"
        names = " or ".join(
            AXES[k] for k in range(3) if abs(self.principal_axes[0, k]) < PERPENDICULAR_COSINE
        )
        return f"rotate it by {RECOMMENDED_ROTATION:.0f} to 40 deg about its {names} axis too"


def axis_name(axis: np.ndarray) -> str:
    """Return the name of an axis (3,) of the tool frame, or its components if it has none."""
    k = int(np.argmax(np.abs(axis)))
    if abs(axis[k]) > PARALLEL_COSINE:
        return f"its {AXES[k]} axis"
    x, y, z = np.round(axis * np.sign(axis[k]), 2) + 0.0  # avoids -0.0
    return f"its axis ({x:.2f}, {y:.2f}, {z:.2f})"
