"""Whether the poses of an arm can tell where its camera is: poses enter, what they lack leaves.

The tool must turn about two axes at least: after turns about one, the camera may be anywhere along
it (Tsai and Lenz 1989).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.perception.hand_eye.pose_pairs import turns

LEAST_POSES = 6  # three would do without noise, and leave nothing to check them by
GOOD_POSES = 15
LEAST_TURN = 5.0  # about a second axis, RMS over pairs of poses; less is refused [deg]
GOOD_TURN = 20.0  # [deg]
SAME_TURN, SAME_PLACE = 2.0, 0.01  # nearer poses are one [deg], [m]
ALONG = 0.95  # cosine to an axis of the tool from which on it is called by its name
ACROSS = 0.6  # cosine up to which an axis of the tool is across another, as one always is
AXES = "xyz"


class PoseDiversity(NamedTuple):
    """How the poses turn the tool.

    Attributes:
        poses: number of poses that differ.
        about: (3,) turn about the tool's x, y and z, RMS over all pairs [deg].
        turn: (3,) turn about the axes below, the largest first, RMS [deg].
        axes: (3, 3) axes in the tool's frame, one a row.
    """

    poses: int
    about: np.ndarray
    turn: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, arm: np.ndarray) -> PoseDiversity:
        """Measure poses T_base_tool (N, 4, 4)."""
        n = len(arm)
        R, place = arm[:, :3, :3], arm[:, :3, 3]
        i, j = np.triu_indices(n, 1)
        turn = np.degrees(turns(R[i].transpose(0, 2, 1) @ R[j]))  # (pairs, 3)
        same = np.linalg.norm(turn, axis=1) < SAME_TURN
        same &= np.linalg.norm(place[i] - place[j], axis=1) < SAME_PLACE
        moments = turn.T @ turn / max(len(turn), 1)
        size, axes = np.linalg.eigh(moments)
        rms = np.sqrt(np.maximum(size, 0))[::-1]
        return cls(n - len(set(j[same])), np.sqrt(np.diag(moments)), rms, axes.T[::-1])

    def check(self) -> None:
        """Refuse poses from which the camera's place does not follow.

        Raises:
            ValueError: too few that differ, or turns about less than two axes; names the axis.
        """
        if self.poses < LEAST_POSES:
            raise ValueError(
                f"{self.poses} poses that differ; {LEAST_POSES} are needed, "
                f"{GOOD_POSES} to 20 are good"
            )
        if self.turn[0] < LEAST_TURN:
            raise ValueError(f"the poses hardly turn the tool ({self}); {self._wish()}")
        if self.turn[1] < LEAST_TURN:
            raise ValueError(
                f"the poses turn the tool about {axis_name(self.axes[0])} only ({self}), so the "
                f"camera may be anywhere along it; {self._wish()}"
            )

    def advice(self) -> str | None:
        """Say what would make the poses good, None if they are."""
        if self.turn[1] < GOOD_TURN and self.poses > 1:
            return self._wish()
        if self.poses < GOOD_POSES:
            return (
                f"{GOOD_POSES - self.poses} more poses, at the edges of the picture, near and far"
            )
        return None

    def __str__(self) -> str:
        about = ", ".join(f"{a} {v:.0f}" for a, v in zip(AXES, self.about, strict=True))
        return f"RMS turn about the tool's {about} deg"

    def _wish(self) -> str:
        """Name the axes of the tool about which turns would help."""
        if self.turn[0] < LEAST_TURN:
            return f"turn it by {GOOD_TURN:.0f} to 40 deg about two of its axes"
        names = " or ".join(AXES[k] for k in range(3) if abs(self.axes[0, k]) < ACROSS)
        return f"turn it by {GOOD_TURN:.0f} to 40 deg about its {names} axis too"


def axis_name(axis: np.ndarray) -> str:
    """Return the name of an axis (3,) of the tool's frame, its components if it has none."""
    k = int(np.argmax(np.abs(axis)))
    if abs(axis[k]) > ALONG:
        return f"its {AXES[k]} axis"
    x, y, z = np.round(axis * np.sign(axis[k]), 2) + 0.0  # no minus zero
    return f"its axis ({x:.2f}, {y:.2f}, {z:.2f})"
