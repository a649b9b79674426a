"""Motion as a function of time: states, what is wanted, and plans that end at rest."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from ruckig import Trajectory

from invdyn_ros.typing import Array

HULL_DERIVATIVE = np.array([0] * 4 + [1] * 3 + [2] * 2)  # which derivative each row of a hull is


class State(NamedTuple):
    """A motion state: q (n,) [rad], qd (n,) [rad/s], qdd (n,) [rad/s2]."""

    q: Array
    qd: Array
    qdd: Array


class Target(NamedTuple):
    """A wanted state.

    Attributes:
        stamp: time of the source that asked for it (the image) [s].
        state: the wanted state.
        horizon: the state is wanted this long after the stamp [s]; zero means as soon as possible.
    """

    stamp: float
    state: State
    horizon: float


@dataclass(frozen=True, eq=False)
class JerkSegment:
    """Motion of constant jerk (n,) [rad/s3] from a state, for a duration [s]."""

    start: State
    jerk: Array
    duration: float

    @classmethod
    def constant_acceleration(cls, first: State, duration: float) -> "JerkSegment":
        """Return the motion that keeps its acceleration."""
        return cls(first, np.zeros(first.q.size), duration)

    @cached_property
    def derivatives(self) -> Array:
        """Position and its three derivatives at the start, (4, n)."""
        return np.array([*self.start, self.jerk])

    def at(self, h: float) -> State:
        """Return the state `h` [s] after the start."""
        half, sixth = h * h / 2, h * h * h / 6
        taylor = np.array([1, h, half, sixth, 0, 1, h, half, 0, 0, 1, h]).reshape(3, 4)
        return State(*(taylor @ self.derivatives))

    def hull(self) -> Array:
        """Return Bezier points (9, n): 4 of position, 3 of velocity, 2 of acceleration; see HULL.

        The whole motion lies between the least and the greatest of each.
        """
        h = self.duration
        half, sixth = h * h / 2, h * h * h / 6
        points = [
            *(1, 0, 0, 0, 1, h / 3, 0, 0, 1, 2 * h / 3, half / 3, 0, 1, h, half, sixth),
            *(0, 1, 0, 0, 0, 1, h / 2, 0, 0, 1, h, half),
            *(0, 0, 1, 0, 0, 0, 1, h),
        ]
        return np.asarray(np.array(points, float).reshape(9, 4) @ self.derivatives)


def cubic_segment(start: State, end: State, duration: float) -> JerkSegment:
    """Return the cubic between the positions and velocities of two states (Hermite)."""
    slope = 6 * (end.q - start.q) / duration**2
    qdd_start = slope - (4 * start.qd + 2 * end.qd) / duration
    qdd_end = (2 * start.qd + 4 * end.qd) / duration - slope
    return JerkSegment(start._replace(qdd=qdd_start), (qdd_end - qdd_start) / duration, duration)


class Plan(NamedTuple):
    """A motion in parts that ends at rest, and the reason where it is a hold.

    Without any further input the arm comes to rest at its end, so a lost target, a lost tick or a
    late one can never leave it running.
    """

    start_time: float
    segments: tuple[JerkSegment | Trajectory, ...]
    hold_reason: str | None = None

    def at(self, time: float) -> State:
        """Return the planned state at a time [s]; before the start, the state at the start."""
        h = max(time - self.start_time, 0.0)
        for part in self.segments[:-1]:
            if h < part.duration:
                return at(part, h)
            h -= part.duration
        last = self.segments[-1]
        if h < last.duration:
            return at(last, h)
        q = at(last, last.duration).q
        return State(q, np.zeros_like(q), np.zeros_like(q))


def at(segment: JerkSegment | Trajectory, h: float) -> State:
    """Return the state of a part `h` [s] after its start."""
    if isinstance(segment, JerkSegment):
        return segment.at(h)
    q, qd, qdd = segment.at_time(h)
    return State(np.array(q), np.array(qd), np.array(qdd))


def total_duration(segments: tuple[JerkSegment | Trajectory, ...]) -> float:
    """Return how long parts last together [s]."""
    return float(sum(part.duration for part in segments))
