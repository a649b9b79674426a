"""Motion profiles: states, targets, and plans that end at rest."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from ruckig import Trajectory

from invdyn_ros.typing import Array

HULL_DERIVATIVE = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])  # derivative in each row of a hull


class State(NamedTuple):
    """A motion state: q (n,) [rad], qd (n,) [rad/s], qdd (n,) [rad/s2]."""

    q: Array
    qd: Array
    qdd: Array


class Target(NamedTuple):
    """A desired state.

    Attributes:
        stamp: time of the source that the target was computed from, such as an image [s].
        state: the desired state.
        horizon: time after the stamp at which the state is desired [s]; zero means as soon as
            possible.
    """

    stamp: float
    state: State
    horizon: float


@dataclass(frozen=True, eq=False)
class JerkSegment:
    """Motion of constant jerk (n,) [rad/s3] from a start state, for a duration [s]."""

    start: State
    jerk: Array
    duration: float

    @classmethod
    def constant_acceleration(cls, start: State, duration: float) -> "JerkSegment":
        """Return the motion of zero jerk, which keeps the acceleration of its start."""
        return cls(start, np.zeros(start.q.size), duration)

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
        """Return Bezier control points (9, n): 4 of position, 3 of velocity, 2 of acceleration.

        The whole segment lies between the smallest and the largest control point of each
        derivative; `HULL_DERIVATIVE` gives the derivative of each row.
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
    """Return the cubic that joins the positions and velocities of two states (Hermite).

    Args:
        start: state at the start; its acceleration is not used.
        end: state at the end; its acceleration is not used.
        duration: time between both [s].
    """
    slope = 6 * (end.q - start.q) / duration**2
    qdd_start = slope - (4 * start.qd + 2 * end.qd) / duration
    qdd_end = (2 * start.qd + 4 * end.qd) / duration - slope
    return JerkSegment(start._replace(qdd=qdd_start), (qdd_end - qdd_start) / duration, duration)


class Plan(NamedTuple):
    """A motion of several segments that ends at rest.

    The arm comes to rest at the end of the plan without any further input, so missing targets and
    missing or late control steps can never leave it moving.

    Attributes:
        start_time: time at which the first segment starts [s].
        segments: consecutive segments.
        hold_reason: why the arm holds, None while it follows a target.
    """

    start_time: float
    segments: tuple[JerkSegment | Trajectory, ...]
    hold_reason: str | None = None

    def at(self, time: float) -> State:
        """Return the planned state at a time [s]; before the start, the state at the start."""
        h = max(time - self.start_time, 0.0)
        for segment in self.segments[:-1]:
            if h < segment.duration:
                return segment_state(segment, h)
            h -= segment.duration
        last = self.segments[-1]
        if h < last.duration:
            return segment_state(last, h)
        q = segment_state(last, last.duration).q
        return State(q, np.zeros_like(q), np.zeros_like(q))


def segment_state(segment: JerkSegment | Trajectory, h: float) -> State:
    """Return the state of a segment `h` [s] after its start."""
    if isinstance(segment, JerkSegment):
        return segment.at(h)
    q, qd, qdd = segment.at_time(h)
    return State(np.array(q), np.array(qd), np.array(qdd))


def total_duration(segments: tuple[JerkSegment | Trajectory, ...]) -> float:
    """Return the sum of the durations of segments [s]."""
    return float(sum(segment.duration for segment in segments))
