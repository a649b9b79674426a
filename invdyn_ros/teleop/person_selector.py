"""Selects the person who is followed among those in an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TORSO_LANDMARKS = [11, 12, 23, 24]  # left and right shoulder, left and right hip
MAX_STEP = 1.0
"""Largest distance from the person of the last image, in sizes of the torso and of the logarithm
of its size."""
MEMORY_IMAGES = 60  # without the person, after which the nearest one is taken instead


class _Place(NamedTuple):
    """Place of a torso in the image [px] and its size [px]."""

    centre: np.ndarray
    size: float

    def distance(self, other: _Place) -> float:
        """Return the distance between two places, in sizes of the torso."""
        moved = float(np.linalg.norm(self.centre - other.centre)) / other.size
        return float(np.hypot(moved, np.log(self.size / other.size)))


class PersonSelector:
    """Keeps to one person by place and size in the image, the nearest one at first."""

    def __init__(self) -> None:
        """Start without a person."""
        self._last: _Place | None = None
        self._num_missing = 0

    def __call__(self, persons: Sequence[np.ndarray]) -> int:
        """Return the index of the person who is followed.

        Somebody else is returned while that person is missing, so that whoever gets the landmarks
        can say why the arm holds.

        Args:
            persons: landmarks (33, 2) of each in the image [px], at least one.
        """
        places = [_place(person) for person in persons]
        if self._last is None:
            chosen = int(np.argmax([place.size for place in places]))
        else:
            distances = [place.distance(self._last) for place in places]
            chosen = int(np.argmin(distances))
            if distances[chosen] > MAX_STEP and self._num_missing < MEMORY_IMAGES:
                self._num_missing += 1
                return chosen
        self._last, self._num_missing = places[chosen], 0
        return chosen


def _place(pixels: np.ndarray) -> _Place:
    torso = pixels[TORSO_LANDMARKS]
    centre = torso.mean(axis=0)
    return _Place(centre, max(float(np.linalg.norm(torso - centre)), 1.0))
