"""Recognises the operator, the first person who was followed, by place and proportions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MEMORY_TIME = 5.0  # [s] over which place and proportions are averaged
MAX_DISTANCE = 0.4  # [m] across the line of sight, from where the operator was
MAX_RESIZING = 0.25  # of the logarithm of the size in the image
MAX_PROPORTION_CHANGE = 0.35
"""Of the logarithms of shoulder width and torso length: MediaPipe's vary by a quarter from view to
view of the same person."""


class Appearance(NamedTuple):
    """What tells one person from another.

    Attributes:
        centre: (2,) torso in the image [image heights]; NaN if it is unknown.
        log_scale: logarithm of the size in the image [image heights per m]; 0 if it is unknown.
        proportions: (2,) logarithms of shoulder width and torso length [m].
    """

    centre: np.ndarray
    log_scale: float
    proportions: np.ndarray

    def resembles(self, other: Appearance) -> bool:
        """Return whether both can be the same person at the same place."""
        distance = np.linalg.norm(self.centre - other.centre) / np.exp(other.log_scale)
        if distance > MAX_DISTANCE or abs(self.log_scale - other.log_scale) > MAX_RESIZING:
            return False  # NaN is no distance
        change = np.abs(self.proportions - other.proportions).max()
        return bool(change <= MAX_PROPORTION_CHANGE)

    def moved_towards(self, other: Appearance, weight: float) -> Appearance:
        """Return the weighted mean of both."""
        return Appearance(
            self.centre + weight * (other.centre - self.centre),
            self.log_scale + weight * (other.log_scale - self.log_scale),
            self.proportions + weight * (other.proportions - self.proportions),
        )


class OperatorLock:
    """Lets no other person take over until it is reset.

    An operator who was lost is recognised where the lock last saw him, or where he usually is.
    """

    def __init__(self) -> None:
        """Create a lock without an operator."""
        self.reset()

    def reset(self) -> None:
        """Forget the operator: the next person becomes it."""
        self._usual: Appearance | None = None
        self._last: Appearance | None = None
        self._time = 0.0

    def allows(self, person: Appearance) -> bool:
        """Return whether a person may be followed."""
        known = [appearance for appearance in (self._last, self._usual) if appearance is not None]
        return not known or any(person.resembles(appearance) for appearance in known)

    def follow(self, person: Appearance, time: float) -> None:
        """Note the appearance of the operator at a time [s]."""
        elapsed, self._time = time - self._time, time
        weight = 1 - np.exp(-min(max(elapsed, 0.0), 1.0) / MEMORY_TIME)
        self._usual = person if self._usual is None else self._usual.moved_towards(person, weight)
        self._last = person
