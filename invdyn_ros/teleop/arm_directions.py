"""Directions of a person's upper arm and forearm from pose landmarks."""

from __future__ import annotations

import numpy as np

from invdyn_ros.teleop.filters import OneEuroFilter

NUM_LANDMARKS = 33
ARM_LANDMARKS = {"left": (11, 13, 15), "right": (12, 14, 16)}
"""Landmark indices of shoulder, elbow and wrist of the person's left and right arm."""


class ArmDirections:
    """Filtered directions of upper arm and forearm in the person's frame: forward, left, up.

    Only directions are used, because the bone lengths of MediaPipe vary by a quarter between
    views. Forward is perpendicular to the line through the shoulders; up is upward in the
    image.
    """

    def __init__(
        self, side: str, direction_filter: tuple[float, float], yaw_cutoff: float
    ) -> None:
        """Create the filters of one arm.

        Args:
            side: the person's arm, "left" or "right".
            direction_filter: cut-off frequency at rest [Hz] and beta [Hz per rad/s] of the
                One-Euro filters of both directions.
            yaw_cutoff: cut-off frequency of the person's heading [Hz].
        """
        self._arm = list(ARM_LANDMARKS[side])
        self._filters = (OneEuroFilter(*direction_filter), OneEuroFilter(*direction_filter))
        self._heading_filter = OneEuroFilter(yaw_cutoff, 0.0)
        self.reset()

    def reset(self) -> None:
        """Reset the filters and assume that the person faces the camera."""
        for one_euro in (*self._filters, self._heading_filter):
            one_euro.reset()
        self._heading = np.array([1.0, 0.0])

    def visibility(self, world: np.ndarray) -> float:
        """Return the lowest visibility of shoulder, elbow and wrist; 0 if one is not finite."""
        joints = world[self._arm]  # (3, 4)
        return float(joints[:, 3].min()) if np.isfinite(joints).all() else 0.0

    def update(self, world: np.ndarray, dt: float, min_visibility: float) -> np.ndarray:
        """Update the filters with the next landmarks.

        Args:
            world: (33, 4) x, y, z [m] and visibility in the hip frame.
            dt: time since the previous landmarks [s]; not used for the first ones.
            min_visibility: minimum visibility of both shoulders to update the heading.

        Returns:
            Unit directions (2, 3) of upper arm and forearm in the person's frame.
        """
        across = world[ARM_LANDMARKS["left"][0]] - world[ARM_LANDMARKS["right"][0]]  # to the left
        visible = world[[11, 12], 3].min() >= min_visibility
        if visible and np.isfinite(across).all() and np.linalg.norm(across[:2]) > 0.05:
            forward = np.array([across[1], -across[0]])
            self._heading = self._heading_filter(forward / np.linalg.norm(forward), dt)
        x, y = self._heading / (np.linalg.norm(self._heading) or 1.0)
        R_person_hip = np.array([[x, y, 0.0], [-y, x, 0.0], [0.0, 0.0, 1.0]])
        bones = np.diff(world[self._arm, :3], axis=0) @ R_person_hip.T  # (2, 3)
        directions = [
            one_euro(unit(bone), dt) for one_euro, bone in zip(self._filters, bones, strict=True)
        ]
        return np.array([unit(direction) for direction in directions])


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector of unit length in the same direction; a zero vector stays zero."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
