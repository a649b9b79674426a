"""Calibration of a person's arm by a gesture: the hand reaches out once within five seconds.

Where the hand rests becomes the neutral place, at which the tool is at home; the lengths of the
bones give the scale. A gesture that was not seen well gives no calibration, but a reason.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np

from invdyn_ros.teleop.arm_directions import ARM_LANDMARKS

GESTURE_TIME = 5.0
"""Duration of the gesture [s]."""
CALIBRATING = "calibrating: reach out once"
"""Why the arm holds meanwhile."""
CALIBRATION_KEY = "calibration"
"""Key of the diagnostics of the node, whose value is a calibration as JSON."""
INSTRUCTION = (
    "calibration: hold your hand where the tool is to be at home, stretch your arm once, come "
    f"back; {GESTURE_TIME:.0f} s"
)
MIN_FOLLOWED = 0.8
"""Smallest fraction of the gesture in which the person must be seen."""
MIN_EXTENSION, MIN_STRETCHED_TIME = 0.93, 0.2
"""Distance of the hand from the shoulder from which an arm counts as stretched, as a fraction of
its length, and how long it must be [s]."""
MIN_RESTING_TIME, MAX_RESTING_RADIUS, MAX_RESTING_EXTENSION = 1.0, 0.12, 0.85
"""How long the hand must rest [s], within which radius, and how far from the shoulder at most, as
fractions of the arm's length."""
MIN_REACH = 0.15
"""Smallest distance of the stretched hand from where it rests, as a fraction of the length."""
ARM_LENGTH_RANGE = (0.4, 0.9)
"""Lengths of arms of persons, shoulder to wrist [m]."""


class HandCalibration(NamedTuple):
    """What the gesture of a person has shown.

    Attributes:
        bones: lengths of upper arm and forearm [m].
        neutral: place of the resting hand, forward, left and up from the shoulder, as fractions
            of the length of the arm.
    """

    bones: tuple[float, float]
    neutral: tuple[float, float, float]

    @property
    def length(self) -> float:
        """Distance from shoulder to wrist of the stretched arm [m]."""
        return sum(self.bones)

    def __str__(self) -> str:
        """Return the measured values in words."""
        forward, left, up = (self.length * place for place in self.neutral)
        return (
            f"arm {self.length:.2f} m, resting hand {forward:.2f} m forward, {left:.2f} m to the "
            f"left, {up:.2f} m up from the shoulder"
        )

    def to_json(self) -> str:
        """Return the values as JSON."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> HandCalibration:
        """Return the calibration of which `to_json` made a text.

        Raises:
            ValueError: it did not make it.
        """
        try:
            values = json.loads(text)
            upper_arm, forearm, x, y, z = map(float, [*values["bones"], *values["neutral"]])
        except (KeyError, TypeError) as error:
            raise ValueError(f"no calibration: {text[:80]!r}") from error
        return cls((upper_arm, forearm), (x, y, z))


class CalibrationGesture:
    """Images of a gesture, and what they show in the end."""

    def __init__(self, side: str) -> None:
        """Wait for a gesture of the person's arm, "left" or "right"."""
        self._arm = list(ARM_LANDMARKS[side])
        self._times: list[float] = []
        self._lengths: list[np.ndarray] = []
        self._directions: list[np.ndarray] = []

    @property
    def has_begun(self) -> bool:
        """Whether the person was seen."""
        return bool(self._times)

    def add(self, landmarks: np.ndarray, directions: np.ndarray, time: float) -> None:
        """Add an image in which the person is seen well.

        Args:
            landmarks: (33, 4) or (33, 6), positions [m] first.
            directions: (2, 3) unit directions of upper arm and forearm in the person's frame.
            time: stamp of the image [s].
        """
        bones = np.diff(landmarks[self._arm, :3], axis=0)
        self._times.append(time)
        self._lengths.append(np.linalg.norm(bones, axis=1))
        self._directions.append(directions)

    def is_over(self, time: float) -> bool:
        """Return whether the time of the gesture is over."""
        return self.has_begun and time - self._times[0] >= GESTURE_TIME

    def result(self, max_gap: float) -> HandCalibration:
        """Return what the gesture has shown.

        Args:
            max_gap: time between images up to which the person counts as seen in between [s].

        Raises:
            ValueError: it was not seen well.
        """
        gaps = np.diff(self._times)
        followed = float(gaps[gaps <= max_gap].sum()) / GESTURE_TIME
        if followed < MIN_FOLLOWED:
            raise ValueError(
                f"you were seen in {followed:.0%} of the time; keep shoulders, hips and arm in "
                "the image"
            )
        bones = np.median(self._lengths, axis=0)  # (2,) [m]
        length = float(bones.sum())
        low, high = ARM_LENGTH_RANGE
        if not low <= length <= high:
            raise ValueError(
                f"your arm seems to be {length:.2f} m long, expected {low} to {high} m; let only "
                "one person be in the image"
            )
        hands = np.einsum("i,tij->tj", bones / length, np.array(self._directions))  # (T, 3)
        x, y, z = _neutral(hands, float(np.median(gaps)))
        return HandCalibration((float(bones[0]), float(bones[1])), (x, y, z))


def _neutral(hands: np.ndarray, period: float) -> tuple[float, float, float]:
    """Return where the hand rests (3,) between stretching the arm.

    Args:
        hands: (T, 3) places of the hand, as fractions of the length of the arm.
        period: time from image to image [s].

    Raises:
        ValueError: the arm was not stretched, or the hand did not rest.
    """
    extension = np.linalg.norm(hands, axis=1)
    is_stretched = extension >= MIN_EXTENSION
    if is_stretched.sum() * period < MIN_STRETCHED_TIME:
        raise ValueError(
            f"your arm was stretched to {extension.max():.0%}; stretch it fully for a moment"
        )
    bent = hands[extension <= MAX_RESTING_EXTENSION]
    count = max(round(MIN_RESTING_TIME / period), 1)
    distances = np.linalg.norm(bent[:, None] - bent, axis=2)  # from each place to each other
    nearest = np.sort(distances, axis=1)[:, :count]
    if len(bent) < count or nearest[:, -1].min() > MAX_RESTING_RADIUS:
        raise ValueError(
            "your hand did not rest with the arm bent; hold it still before and after stretching"
        )
    place = int(nearest[:, -1].argmin())  # where the hand was most often
    neutral = bent[distances[place].argsort()[:count]].mean(axis=0)
    reach = np.linalg.norm(hands[is_stretched] - neutral, axis=1).max()
    if reach < MIN_REACH:
        raise ValueError(
            f"your hand moved by {reach:.0%} of your arm's length; start with the arm bent"
        )
    return float(neutral[0]), float(neutral[1]), float(neutral[2])
