"""Directions of a person's upper arm, forearm and hand from pose landmarks."""

from __future__ import annotations

import numpy as np

from invdyn_ros.teleop.filters import OneEuroFilter
from invdyn_ros.teleop.motion_filter import MotionFilter

NUM_LANDMARKS = 33
ARM_LANDMARKS = {"left": (11, 13, 15), "right": (12, 14, 16)}
"""Landmark indices of shoulder, elbow and wrist of the person's left and right arm."""

KNUCKLES = {"left": (17, 19), "right": (18, 20)}
"""Landmark indices of the knuckles of little finger and index finger."""
HAND_NOISE = np.array([0.12, 0.06, 0.06])
"""Standard deviation of the direction of a hand in depth and across [rad] until it was estimated:
it is three to four times as short as a forearm."""


class ArmDirections:
    """Filtered directions of upper arm and forearm in the person's frame: forward, left, up.

    Only directions are used, because the bone lengths of MediaPipe vary by a quarter between
    views. Forward is perpendicular to the line through the shoulders; up is upward in the
    image. The directions are filtered in the frame of the camera, whose depth is the noisiest.

    Attributes:
        hand: (3,) unit direction from the wrist to the knuckles in the person's frame, filtered;
            None until they were visible.
    """

    def __init__(
        self,
        side: str,
        yaw_cutoff: float,
        noise: tuple[float, float] | None,
        prediction: float = 0.0,
    ) -> None:
        """Create the filters of one arm.

        Args:
            side: the person's arm, "left" or "right".
            yaw_cutoff: cut-off frequency of the person's heading [Hz].
            noise: standard deviation of the directions in depth and across [rad] until it was
                estimated; None: do not filter the directions.
            prediction: time for which the directions are predicted [s].
        """
        self._arm = list(ARM_LANDMARKS[side])
        self._filters: tuple[MotionFilter, ...] = ()
        if noise is not None:
            axes = np.array([noise[0], noise[1], noise[1]])
            self._filters = (MotionFilter(axes), MotionFilter(axes))
        self._knuckles, self._hand_filter = list(KNUCKLES[side]), MotionFilter(HAND_NOISE)
        self._prediction = prediction
        self._heading_filter = OneEuroFilter(yaw_cutoff, 0.0)
        self.reset()

    def reset(self) -> None:
        """Reset the filters and assume that the person faces the camera."""
        for motion_filter in self._filters:
            motion_filter.reset()
        self._heading_filter.reset()
        self._heading = np.array([1.0, 0.0])
        self._hand_filter.reset()
        self.hand: np.ndarray | None = None
        self._hand_gap = 0.0  # [s] since the knuckles were visible

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
            Unit directions (2, 3) of upper arm and forearm in the person's frame, predicted.
        """
        across = world[ARM_LANDMARKS["left"][0]] - world[ARM_LANDMARKS["right"][0]]  # to the left
        visible = world[[11, 12], 3].min() >= min_visibility
        if visible and np.isfinite(across).all() and np.linalg.norm(across[:2]) > 0.05:
            forward = np.array([across[1], -across[0]])
            self._heading = self._heading_filter(forward / np.linalg.norm(forward), dt)
        x, y = self._heading / (np.linalg.norm(self._heading) or 1.0)
        R_person_hip = np.array([[x, y, 0.0], [-y, x, 0.0], [0.0, 0.0, 1.0]])
        directions = [unit(bone) for bone in np.diff(world[self._arm, :3], axis=0)]
        for i, motion_filter in enumerate(self._filters):
            motion_filter.update(directions[i], dt)
            directions[i] = unit(motion_filter.predict(self._prediction))
        self._update_hand(world, dt, min_visibility, R_person_hip)
        return np.array(directions) @ R_person_hip.T

    def _update_hand(
        self, world: np.ndarray, dt: float, min_visibility: float, R_person_hip: np.ndarray
    ) -> None:
        """Update the direction of the hand; one whose knuckles are hidden keeps it."""
        knuckles = world[self._knuckles]  # (2, 4)
        self._hand_gap += dt
        if not np.isfinite(knuckles).all() or knuckles[:, 3].min() < min_visibility:
            return
        sample = unit(knuckles[:, :3].mean(axis=0) - world[self._arm[-1], :3])
        self._hand_filter.update(sample, self._hand_gap)
        self._hand_gap = 0.0
        self.hand = R_person_hip @ unit(self._hand_filter.predict(self._prediction))


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector of unit length in the same direction; a zero vector stays zero."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
