"""Motion as a function of time: states, what is wanted, and plans that end at rest."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from ruckig import Trajectory

from invdyn_ros.typing import Array

HULL = np.array([0] * 4 + [1] * 3 + [2] * 2)  # which derivative each row of a hull is


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

    first: State
    jerk: Array
    duration: float

    @classmethod
    def steady(cls, first: State, duration: float) -> "JerkSegment":
        """Return the motion that keeps its acceleration."""
        return cls(first, np.zeros(first.q.size), duration)

    @cached_property
    def rows(self) -> Array:
        """Position and its three derivatives at the start, (4, n)."""
        return np.array([*self.first, self.jerk])

    def at(self, h: float) -> State:
        """Return the state `h` [s] after the start."""
        half, sixth = h * h / 2, h * h * h / 6
        taylor = np.array([1, h, half, sixth, 0, 1, h, half, 0, 0, 1, h]).reshape(3, 4)
        return State(*(taylor @ self.rows))

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
        return np.asarray(np.array(points, float).reshape(9, 4) @ self.rows)


def cubic(first: State, last: State, duration: float) -> JerkSegment:
    """Return the arc between the positions and velocities of two states (Hermite)."""
    slope = 6 * (last.q - first.q) / duration**2
    start = slope - (4 * first.qd + 2 * last.qd) / duration
    end = (2 * first.qd + 4 * last.qd) / duration - slope
    return JerkSegment(first._replace(qdd=start), (end - start) / duration, duration)


class Plan(NamedTuple):
    """A motion in parts that ends at rest, and the reason where it is a hold.

    Without any further input the arm comes to rest at its end, so a lost target, a lost tick or a
    late one can never leave it running.
    """

    start: float
    parts: tuple[JerkSegment | Trajectory, ...]
    held: str | None = None

    def at(self, time: float) -> State:
        """Return the planned state at a time [s]; before the start, the state at the start."""
        h = max(time - self.start, 0.0)
        for part in self.parts[:-1]:
            if h < part.duration:
                return at(part, h)
            h -= part.duration
        last = self.parts[-1]
        if h < last.duration:
            return at(last, h)
        q = at(last, last.duration).q
        return State(q, np.zeros_like(q), np.zeros_like(q))


def at(part: JerkSegment | Trajectory, h: float) -> State:
    """Return the state of a part `h` [s] after its start."""
    if isinstance(part, JerkSegment):
        return part.at(h)
    q, qd, qdd = part.at_time(h)
    return State(np.array(q), np.array(qd), np.array(qdd))


def duration(parts: tuple[JerkSegment | Trajectory, ...]) -> float:
    """Return how long parts last together [s]."""
    return float(sum(part.duration for part in parts))
