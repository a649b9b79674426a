"""Skeleton: landmarks in the hip frame enter; directions of an arm in the person's frame leave."""

from __future__ import annotations

import numpy as np

from invdyn_ros.teleop.filters import OneEuroFilter

NUM_LANDMARKS = 33
ARM_LANDMARKS = {"left": (11, 13, 15), "right": (12, 14, 16)}
"""Landmark indices of shoulder, elbow and wrist, of the person's own left and right."""


class ArmDirections:
    """Follow the directions of upper arm and forearm in the person's frame: forward, left, up.

    Only directions are used, for MediaPipe's bone lengths drift by a quarter between views.
    Forward is where the line of the shoulders says the chest points; up is up in the picture.
    """

    def __init__(self, side: str, limb_filter: tuple[float, float], yaw_cutoff: float) -> None:
        """Set up for one arm, "left" or "right".

        Args:
            side: the person's arm.
            limb_filter: cut-off at rest [Hz] and beta [Hz per rad/s] of the One-Euro filters.
            yaw_cutoff: cut-off of the person's heading [Hz].
        """
        self._arm = list(ARM_LANDMARKS[side])
        self._limbs = (OneEuroFilter(*limb_filter), OneEuroFilter(*limb_filter))
        self._heading_filter = OneEuroFilter(yaw_cutoff, 0.0)
        self.reset()

    def reset(self) -> None:
        """Forget the person, who is taken to face the camera until both shoulders are seen."""
        for one_euro in (*self._limbs, self._heading_filter):
            one_euro.reset()
        self._heading = np.array([1.0, 0.0])

    def visibility(self, world: np.ndarray) -> float:
        """Return the least visibility 0..1 of shoulder, elbow, wrist; 0 if one is not finite."""
        joints = world[self._arm]  # (3, 4)
        return float(joints[:, 3].min()) if np.isfinite(joints).all() else 0.0

    def update(self, world: np.ndarray, dt: float, min_visibility: float) -> np.ndarray:
        """Take in the next landmarks.

        Args:
            world: (33, 4) x y z [m] and visibility, in the hip frame.
            dt: time since the last landmarks [s]; not used for the first.
            min_visibility: least visibility of both shoulders to correct the heading with.

        Returns:
            Unit directions (2, 3) of upper arm and forearm in the person's frame.
        """
        across = (
            world[ARM_LANDMARKS["left"][0]] - world[ARM_LANDMARKS["right"][0]]
        )  # to the person's left
        visible = world[[11, 12], 3].min() >= min_visibility
        if visible and np.isfinite(across).all() and np.linalg.norm(across[:2]) > 0.05:
            forward = np.array([across[1], -across[0]])
            self._heading = self._heading_filter(forward / np.linalg.norm(forward), dt)
        x, y = self._heading / (np.linalg.norm(self._heading) or 1.0)
        R_person_hip = np.array([[x, y, 0.0], [-y, x, 0.0], [0.0, 0.0, 1.0]])
        bones = np.diff(world[self._arm, :3], axis=0) @ R_person_hip.T  # (2, 3)
        directions = [
            one_euro(unit(bone), dt) for one_euro, bone in zip(self._limbs, bones, strict=True)
        ]
        return np.array([unit(direction) for direction in directions])


def unit(vector: np.ndarray) -> np.ndarray:
    """Scale a vector to length one; a zero vector stays zero."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
