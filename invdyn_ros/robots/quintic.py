"""Quintic move from rest to rest, with minimum jerk: Flash and Hogan 1985."""

from typing import TypeVar

from invdyn_ros.typing import Array

PEAK_VELOCITY, PEAK_ACCELERATION = 1.875, 10 / 3**0.5  # of a move of unit length and duration

T = TypeVar("T", float, Array)


def quintic(x: T, duration: float) -> tuple[T, T, T]:
    """Return the part of the way done at a part of a duration [s], and its derivatives by time."""
    return (
        x**3 * (10 - 15 * x + 6 * x * x),
        30 * x**2 * (1 - x) ** 2 / duration,
        60 * x * (1 - x) * (1 - 2 * x) / duration**2,
    )
