"""Pose landmarks of a person whose hand is at a given place, with the noise of a pose network."""

from __future__ import annotations

import numpy as np

from invdyn_ros.benchmarks.gestures import (
    ELBOW_SIDE,
    ELBOWS,
    HIP_POSITIONS,
    HIPS,
    NOISE_STD,
    NOISE_TIME,
    REST_OFFSETS,
    SHOULDER_POSITIONS,
    SHOULDERS,
    WRISTS,
    bent_arm,
)
from invdyn_ros.teleop.arm_directions import NUM_LANDMARKS
from invdyn_ros.typing import Array

RESTING_HAND = REST_OFFSETS[1]  # of the right arm, from its shoulder [m]


class PersonBody:
    """A person who faces the camera and moves one hand."""

    def __init__(self, side: str, noise: float, rng: np.random.Generator) -> None:
        """Create a person.

        Args:
            side: hand that moves, "left" or "right".
            noise: of the landmarks, as a multiple of NOISE_STD.
            rng: source of the noise.
        """
        self.moving, self.noise, self.rng = ("left", "right").index(side), noise, rng
        self._error = noise * NOISE_STD * rng.standard_normal((NUM_LANDMARKS, 3))

    def landmarks(self, hand: Array, dt: float) -> Array:
        """Return the landmarks (33, 4) of the next image.

        Args:
            hand: (3,) position of the hand that moves, from its shoulder [m].
            dt: time since the last image [s].
        """
        points = np.zeros((NUM_LANDMARKS, 3))
        points[HIPS] = HIP_POSITIONS
        for side in (0, 1):
            mirrored = np.array([1.0, 1.0 - 2.0 * side, 1.0])
            place = hand if side == self.moving else RESTING_HAND * mirrored * [1, -1, 1]
            joints = SHOULDER_POSITIONS[side] + bent_arm(place, ELBOW_SIDE * mirrored)
            for group, joint in zip((SHOULDERS, ELBOWS, WRISTS), joints, strict=True):
                points[group[side]] = joint
        kept = np.exp(-dt / NOISE_TIME)
        new = self.noise * NOISE_STD * self.rng.standard_normal((NUM_LANDMARKS, 3))
        self._error = kept * self._error + np.sqrt(1 - kept**2) * new
        return np.column_stack([points + self._error, np.full(NUM_LANDMARKS, 0.95)])
