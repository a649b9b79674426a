"""Opening and closing of a gripper by a person's hand: a pinch or a fist closes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat

from invdyn_ros.config import Validated

NUM_HAND_LANDMARKS = 21
WRIST, THUMB_TIP, INDEX_TIP, MIDDLE_KNUCKLE = 0, 4, 8, 9
FINGER_TIPS = [8, 12, 16, 20]
"""Landmark indices of the tips of index, middle, ring and little finger."""
MIN_PALM = 0.03
"""Smallest plausible distance from wrist to middle knuckle [m]."""


@dataclass(frozen=True)
class HandGripConfig(Validated):
    """Settings of the grip; distances are fractions of that from wrist to middle knuckle."""

    pinch_close: PositiveFloat = 0.38
    """Distance of the tips of thumb and index finger below which a hand pinches."""
    pinch_open: PositiveFloat = 0.5
    """Distance of both tips above which it pinches no more."""
    fist_close: PositiveFloat = 1.1
    """Mean distance of the four finger tips from the wrist below which a hand is a fist."""
    fist_open: PositiveFloat = 1.3
    """Mean distance above which it is a fist no more."""
    confirmation_time: NonNegativeFloat = 0.03
    """Time for which a hand must be seen closed or open before the grip changes [s]."""

    def __post_init__(self) -> None:
        """Check that closing and opening differ."""
        super().__post_init__()
        for name in ("pinch", "fist"):
            close, opened = getattr(self, f"{name}_close"), getattr(self, f"{name}_open")
            if close >= opened:
                raise ValueError(f"{name}_close {close} is not below {name}_open {opened}")


class HandShape(NamedTuple):
    """Shape of a hand, as fractions of the distance from wrist to middle knuckle."""

    pinch: float
    """Distance of the tips of thumb and index finger."""
    extension: float
    """Mean distance of the four finger tips from the wrist."""


def hand_shape(hand: np.ndarray) -> HandShape | None:
    """Return the shape of a hand, None if its landmarks are not those of a hand.

    Args:
        hand: (21, 3) landmarks of MediaPipe [m], in any frame.
    """
    palm = float(np.linalg.norm(hand[MIDDLE_KNUCKLE] - hand[WRIST]))
    if not (np.isfinite(hand).all() and palm >= MIN_PALM):
        return None
    tips = np.linalg.norm(hand[FINGER_TIPS] - hand[WRIST], axis=1)  # (4,)
    pinch = float(np.linalg.norm(hand[THUMB_TIP] - hand[INDEX_TIP]))
    return HandShape(pinch / palm, float(tips.mean()) / palm)


class HandGrip:
    """Grip of one hand from image to image, with hysteresis; a hand that is lost keeps its grip.

    Attributes:
        closed: whether the hand grips.
    """

    def __init__(self, config: HandGripConfig | None = None) -> None:
        """Start with an open hand."""
        self.config = config or HandGripConfig()
        self.reset()

    def reset(self) -> None:
        """Open the grip."""
        self.closed = False
        self._changed_since: float | None = None  # [s] first image that contradicts the grip

    def update(self, hand: np.ndarray | None, time: float) -> bool:
        """Return whether the hand grips.

        Args:
            hand: (21, 3) landmarks [m]; None if the hand is not detected.
            time: stamp of the image [s].
        """
        shape = None if hand is None else hand_shape(hand)
        if shape is None or self._is_closed(shape) == self.closed:
            self._changed_since = None
            return self.closed
        if self._changed_since is None or time < self._changed_since:
            self._changed_since = time
        if time - self._changed_since >= self.config.confirmation_time:
            self.closed, self._changed_since = not self.closed, None
        return self.closed

    def _is_closed(self, shape: HandShape) -> bool:
        """Return whether a shape closes the grip, or keeps it closed."""
        config = self.config
        if self.closed:
            return shape.pinch < config.pinch_open or shape.extension < config.fist_open
        return shape.pinch < config.pinch_close or shape.extension < config.fist_close
