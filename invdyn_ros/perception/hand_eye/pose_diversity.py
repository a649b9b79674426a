"""Whether the poses of an arm can tell where its camera is: poses enter, what they lack leaves.

The tool must turn about two axes at least: after turns about one, the camera may be anywhere along
it (Tsai and Lenz 1989).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.perception.rigid_transforms import rotation_vectors

MIN_POSES = 6  # three would do without noise, and leave nothing to check them by
RECOMMENDED_POSES = 15
MIN_ROTATION = 5.0  # about a second axis, RMS over pairs of poses; less is refused [deg]
RECOMMENDED_ROTATION = 20.0  # [deg]
SAME_POSE_ANGLE, SAME_POSE_DISTANCE = 2.0, 0.01  # nearer poses are one [deg], [m]
PARALLEL_COSINE = 0.95  # cosine to an axis of the tool from which on it is called by its name
PERPENDICULAR_COSINE = (
    0.6  # cosine up to which an axis of the tool is across another, as one always is
)
AXES = "xyz"


class PoseDiversity(NamedTuple):
    """How the poses turn the tool.

    Attributes:
        poses: number of poses that differ.
        about: (3,) turn about the tool's x, y and z, RMS over all pairs [deg].
        turn: (3,) turn about the axes below, the largest first, RMS [deg].
        axes: (3, 3) axes in the tool's frame, one a row.
    """

    num_poses: int
    tool_axis_rms: np.ndarray
    principal_rms: np.ndarray
    principal_axes: np.ndarray

    @classmethod
    def from_poses(cls, T_base_tool: np.ndarray) -> PoseDiversity:
        """Measure poses T_base_tool (N, 4, 4)."""
        n = len(T_base_tool)
        R, place = T_base_tool[:, :3, :3], T_base_tool[:, :3, 3]
        i, j = np.triu_indices(n, 1)
        turn = np.degrees(rotation_vectors(R[i].transpose(0, 2, 1) @ R[j]))  # (pairs, 3)
        same = np.linalg.norm(turn, axis=1) < SAME_POSE_ANGLE
        same &= np.linalg.norm(place[i] - place[j], axis=1) < SAME_POSE_DISTANCE
        moments = turn.T @ turn / max(len(turn), 1)
        size, axes = np.linalg.eigh(moments)
        rms = np.sqrt(np.maximum(size, 0))[::-1]
        return cls(n - len(set(j[same])), np.sqrt(np.diag(moments)), rms, axes.T[::-1])

    def check(self) -> None:
        """Refuse poses from which the camera's place does not follow.

        Raises:
            ValueError: too few that differ, or turns about less than two axes; names the axis.
        """
        if self.num_poses < MIN_POSES:
            raise ValueError(
                f"{self.num_poses} poses that differ; {MIN_POSES} are needed, "
                f"{RECOMMENDED_POSES} to 20 are good"
            )
        if self.principal_rms[0] < MIN_ROTATION:
            raise ValueError(f"the poses hardly turn the tool ({self}); {self._rotation_advice()}")
        if self.principal_rms[1] < MIN_ROTATION:
            raise ValueError(
                f"the poses turn the tool about {axis_name(self.principal_axes[0])} only ({self}), so the "
                f"camera may be anywhere along it; {self._rotation_advice()}"
            )

    def advice(self) -> str | None:
        """Say what would make the poses good, None if they are."""
        if self.principal_rms[1] < RECOMMENDED_ROTATION and self.num_poses > 1:
            return self._rotation_advice()
        if self.num_poses < RECOMMENDED_POSES:
            return f"{RECOMMENDED_POSES - self.num_poses} more poses, at the edges of the picture, near and far"
        return None

    def __str__(self) -> str:
        about = ", ".join(f"{a} {v:.0f}" for a, v in zip(AXES, self.tool_axis_rms, strict=True))
        return f"RMS turn about the tool's {about} deg"

    def _rotation_advice(self) -> str:
        """Name the axes of the tool about which turns would help."""
        if self.principal_rms[0] < MIN_ROTATION:
            return f"turn it by {RECOMMENDED_ROTATION:.0f} to 40 deg about two of its axes"
        names = " or ".join(
            AXES[k] for k in range(3) if abs(self.principal_axes[0, k]) < PERPENDICULAR_COSINE
        )
        return f"turn it by {RECOMMENDED_ROTATION:.0f} to 40 deg about its {names} axis too"


def axis_name(axis: np.ndarray) -> str:
    """Return the name of an axis (3,) of the tool's frame, its components if it has none."""
    k = int(np.argmax(np.abs(axis)))
    if abs(axis[k]) > PARALLEL_COSINE:
        return f"its {AXES[k]} axis"
    x, y, z = np.round(axis * np.sign(axis[k]), 2) + 0.0  # no minus zero
    return f"its axis ({x:.2f}, {y:.2f}, {z:.2f})"
