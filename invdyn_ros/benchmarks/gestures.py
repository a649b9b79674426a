"""Landmarks of a person whose hand makes a known gesture, with the noise of a pose network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from invdyn_ros.teleop.arm_directions import NUM_LANDMARKS
from invdyn_ros.typing import Array

UPPER_ARM, FOREARM = 0.29, 0.26  # [m]
SHOULDERS, ELBOWS, WRISTS, HIPS = [11, 12], [13, 14], [15, 16], [23, 24]
SHOULDER_POSITIONS = np.array([[0.0, 0.18, 0.45], [0.0, -0.18, 0.45]])  # [m] in the hip frame
HIP_POSITIONS = np.array([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]])
REST_OFFSETS = np.array([[0.3, 0.05, -0.1], [0.05, -0.1, -0.45]])
"""Left and right hand at rest, from the shoulder [m]."""
ELBOW_SIDE = np.array([-0.3, 0.3, -1.0])
"""Direction to which an elbow bends, in the hip frame; y of the left one."""
NOISE_STD = np.array([6.0, 3.0, 1.3]) * 1e-3
"""Standard deviation of each landmark in depth, width and height [m]. The wrist then varies by
8.5, 4.2 and 1.8 mm with respect to the shoulder; that of a seated person in a webcam clip, who
keeps still, by 5.0, 2.6 and 0.8 mm in MediaPipe's landmarks."""
NOISE_TIME = 0.05  # [s] in which the correlation of the noise falls to 1/e
DURATION = 1.0  # [s] of a reach, half a period of 0.5 Hz
PERIOD = 5.0  # [s] from one reach to the next one there

Gesture = Callable[[float], float]
"""Position on the way from -1 to 1 at a time [s]."""


def wave(time: float, frequency: float = 0.5) -> float:
    """Return a sinusoid of 0.5 Hz."""
    return float(np.sin(2 * np.pi * frequency * time))


def reach(time: float) -> float:
    """Return a motion of minimum jerk there and back, with a rest of 1.5 s at both ends."""
    phase = time % PERIOD
    return 2 * (_minimum_jerk(phase) - _minimum_jerk(phase - PERIOD / 2)) - 1


def _minimum_jerk(time: float) -> float:
    s = min(max(time / DURATION, 0.0), 1.0)
    return s**3 * (10 - 15 * s + 6 * s**2)


def rest(time: float) -> float:
    """Return the middle."""
    del time
    return 0.0


class GesturingPerson:
    """A person who faces the camera and moves the left hand along a line."""

    def __init__(
        self,
        gesture: Gesture,
        motion: Array,
        noise: float = 1.0,
        seed: int = 0,
        start: float = 0.0,
    ) -> None:
        """Create a person.

        Args:
            gesture: position on the line.
            motion: (3,) from the middle of the line to its end, in the hip frame [m].
            noise: of the landmarks, as a multiple of NOISE_STD.
            seed: of the noise.
            start: time [s] before which the hand rests.
        """
        self.gesture, self.motion, self.noise, self.start = gesture, motion, noise, start
        self._rng = np.random.default_rng(seed)
        self._error = noise * NOISE_STD * self._rng.standard_normal((NUM_LANDMARKS, 3))
        self._time: float | None = None

    def directions(self, time: float) -> Array:
        """Return the true unit directions (2, 3) of the left upper arm and forearm."""
        joints = self._arm(0, time)
        bones = np.diff(joints, axis=0)
        return np.asarray(bones / np.linalg.norm(bones, axis=1, keepdims=True))

    def __call__(self, time: float) -> Array:
        """Return the landmarks (33, 4) at a time [s], later than the last one."""
        points = np.zeros((NUM_LANDMARKS, 3))
        points[HIPS] = HIP_POSITIONS
        for side in (0, 1):
            joints = self._arm(side, time)
            for group, joint in zip((SHOULDERS, ELBOWS, WRISTS), joints, strict=True):
                points[group[side]] = joint
        noisy = points + self._noise(time)
        return np.column_stack([noisy, np.full(NUM_LANDMARKS, 0.95)])

    def _arm(self, side: int, time: float) -> Array:
        """Return shoulder, elbow and wrist (3, 3) [m]; side 0 is the left one."""
        moved = self.gesture(max(time - self.start, 0.0)) * self.motion if side == 0 else 0.0
        offset = REST_OFFSETS[side] + moved
        outward = ELBOW_SIDE * [1, 1 - 2 * side, 1]
        return np.asarray(SHOULDER_POSITIONS[side] + bent_arm(offset, outward))

    def _noise(self, time: float) -> Array:
        """Return correlated noise (33, 3) [m]."""
        elapsed = np.inf if self._time is None else time - self._time
        self._time = time
        kept = np.exp(-elapsed / NOISE_TIME)
        new = self.noise * NOISE_STD * self._rng.standard_normal((NUM_LANDMARKS, 3))
        self._error = kept * self._error + np.sqrt(1 - kept**2) * new
        return self._error


def bent_arm(hand: Array, side: Array) -> Array:
    """Return shoulder, elbow and wrist (3, 3) of an arm whose shoulder is the origin.

    Args:
        hand: (3,) position of the wrist [m], within reach.
        side: (3,) direction to which the elbow bends.
    """
    distance = float(np.linalg.norm(hand))
    along = hand / distance
    across = side - (side @ along) * along
    across /= np.linalg.norm(across)
    foot = (distance**2 + UPPER_ARM**2 - FOREARM**2) / (2 * distance)
    elbow = foot * along + np.sqrt(max(UPPER_ARM**2 - foot**2, 0.0)) * across
    return np.array([np.zeros(3), elbow, hand])
