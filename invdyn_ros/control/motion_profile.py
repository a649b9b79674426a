"""Motion profiles: states, targets, and plans that end at rest."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from invdyn_ros.typing import Array, Mask


class State(NamedTuple):
    """A motion state: q (n,) [rad], qd (n,) [rad/s], qdd (n,) [rad/s2]."""

    q: Array
    qd: Array
    qdd: Array

    def extrapolate(self, duration: float) -> State:
        """Return the state after a duration [s], also a negative one, of constant acceleration."""
        qd = self.qd + duration * self.qdd
        return State(self.q + duration / 2 * (self.qd + qd), qd, self.qdd)


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


class Extrema(NamedTuple):
    """Smallest and largest position and its three derivatives, (4,) or of each joint (4, n)."""

    smallest: Array
    largest: Array


@dataclass(frozen=True, eq=False)
class MotionProfile:
    """Motion of n joints with piecewise constant jerk, which ends at rest.

    Every joint has its own pieces, because its jerk changes at times of its own.

    Attributes:
        pieces: (5, K, n) time from the start of the motion [s], q, qd, qdd and jerk at the start
            of each piece. In the last piece all joints are at rest, for ever.
    """

    pieces: Array
    # the last time asked for, and its state
    _newest: list[tuple[float, State]] = field(init=False, repr=False, default_factory=list)

    @classmethod
    def at_rest(cls, q: Array) -> MotionProfile:
        """Return the motion that stays at a position (n,) [rad]."""
        pieces = np.zeros((5, 1, q.size))
        pieces[1] = q
        return cls(pieces)

    @cached_property
    def duration(self) -> float:
        """Time from the start until all joints are at rest [s]."""
        return float(self.pieces[0, -1].max())

    def at(self, h: float) -> State:
        """Return the state `h` [s] after the start; it is shared and not to be changed."""
        if self._newest and self._newest[0][0] == h:  # a control step asks several times
            return self._newest[0][1]
        if h == 0:
            state = State(*self.pieces[1:4, 0])
            self._newest[:] = [(h, state)]
            return state
        states = []
        for times, positions, velocities, accelerations, jerks in self._joints:
            k = bisect_right(times, h) - 1
            qd, qdd = velocities[k], accelerations[k]
            dt = h - times[k] if k < len(times) - 1 else 0.0
            rise = dt * jerks[k]
            position = positions[k] + dt * (qd + dt / 2 * (qdd + dt / 3 * jerks[k]))
            states.append((position, qd + dt / 2 * (qdd + qdd + rise), qdd + rise))
        state = State(*np.array(states).T.copy())
        self._newest[:] = [(h, state)]
        return state

    @cached_property
    def _joints(self) -> list[list[list[float]]]:
        """Times, and q, qd, qdd and jerk, of the pieces of each joint.

        For a few numbers, these take half the time of arrays.
        """
        return self.pieces.transpose(2, 0, 1).tolist()  # type: ignore[no-any-return]

    def sample(self, h: Array) -> tuple[Array, Array]:
        """Return q and qd, (S, n) each, at times (S,) after the start [s]."""
        pieces, h = self.pieces, np.asarray(h)[:, None]
        times, n = pieces[0], pieces.shape[2]
        index = np.add.reduce(times[:, None] <= h, axis=0) - 1  # (S, n)
        index *= n
        index += np.arange(n)
        start, q, qd, qdd, jerk = pieces.reshape(5, -1).take(index, axis=1)
        dt = np.minimum(h, times[-1]) - start  # h may be infinite
        half, third = dt / 2, dt / 3
        return q + dt * (qd + half * (qdd + third * jerk)), qd + half * (qdd + qdd + dt * jerk)

    def joints_within(self, bounds: Extrema) -> Mask | None:
        """Return which joints have the Bezier control points of all pieces within bounds (4, n).

        So is the motion of these joints, then, but the points may go a little further than the
        motion. This takes a fraction of the time of `extrema`.

        Returns:
            (n,), or None if all joints have.
        """
        time, q, qd, qdd, _ = self.pieces
        points = np.empty((4, 3, *q.shape))
        points[:] = self.pieces[1:, None]
        dt = time[1:] - time[:-1]
        third = dt / 3
        points[0, 1, :-1] += third * qd[:-1]
        points[0, 2, 1:] -= third * qd[1:]
        points[1, 1, :-1] += dt / 2 * qdd[:-1]
        smallest, largest = bounds.smallest[:, None, None], bounds.largest[:, None, None]
        within = (points >= smallest) & (points <= largest)
        if np.count_nonzero(within) == within.size:  # takes half the time of all
            return None
        return np.asarray(np.logical_and.reduce(within, axis=(0, 1, 2)))

    def extrema(self, joint: int) -> Extrema:
        """Return the exact extrema (4,) of a joint: ends of pieces, and roots of derivatives."""
        times, positions, velocities, accelerations, jerks = self._joints[joint]
        columns = positions, velocities, accelerations, jerks
        smallest, largest = [min(x) for x in columns], [max(x) for x in columns]
        for k in range(len(times) - 1):
            duration = times[k + 1] - times[k]
            qd, qdd, jerk = velocities[k], accelerations[k], jerks[k]
            qdd_end = qdd + duration * jerk
            if qdd * qdd_end >= 0 and qd * (qd + duration / 2 * (qdd + qdd_end)) >= 0:
                continue  # neither is zero within the piece
            for dt in _roots(qd, qdd, jerk):
                if 0 < dt < duration:
                    slope = dt * jerk
                    q = positions[k] + dt * (qd + dt * (qdd / 2 + slope / 6))
                    v = qd + dt * (qdd + slope / 2)
                    smallest[0], largest[0] = min(smallest[0], q), max(largest[0], q)
                    smallest[1], largest[1] = min(smallest[1], v), max(largest[1], v)
        return Extrema(np.array(smallest), np.array(largest))


def _roots(qd: float, qdd: float, jerk: float) -> list[float]:
    """Return the times [s] at which the velocity or the acceleration of a piece may be zero.

    Args:
        qd: velocity at the start [rad/s].
        qdd: acceleration at the start [rad/s2].
        jerk: jerk of the piece [rad/s3].
    """
    roots = [-qdd / jerk] if jerk else []
    square = qdd * qdd - 2 * jerk * qd
    if square < 0:
        return roots
    w = -(qdd + math.copysign(math.sqrt(square), qdd))
    if jerk:
        roots.append(w / jerk)
    if w:
        roots.append(2 * qd / w)
    return roots


def integrate(start: State, jerk: Array, duration: Array) -> Array:
    """Return the pieces (5, K + 1, n) of a motion of piecewise constant jerk.

    The last of them starts at the end of the motion, with zero jerk.

    Args:
        start: state at the start.
        jerk: (K, n) of each piece [rad/s3].
        duration: (K, n) of each piece [s].
    """
    pieces = np.zeros((5, len(jerk) + 1, jerk.shape[1]))
    _, q, qd, qdd, jerks = pieces
    q[0], qd[0], qdd[0] = start
    jerks[:-1] = jerk
    pieces[0, 1:] = duration
    np.multiply(duration, jerk, out=qdd[1:])
    time_and_qdd = pieces[::3]
    np.add.accumulate(time_and_qdd, axis=1, out=time_and_qdd)
    now, after = qdd[:-1], qdd[1:]
    both = now + after
    np.multiply(duration / 2, both, out=qd[1:])
    np.add.accumulate(qd, axis=0, out=qd)
    np.multiply(duration, qd[:-1] + duration / 6 * (now + both), out=q[1:])
    np.add.accumulate(q, axis=0, out=q)
    return pieces


class Plan(NamedTuple):
    """A motion from a start time that ends at rest.

    The arm comes to rest at the end of the plan without any further input, so missing targets and
    missing or late control steps can never leave it moving.

    Attributes:
        start_time: time at which the motion starts [s].
        profile: the motion.
        hold_reason: why the arm holds, None while it follows a target.
    """

    start_time: float
    profile: MotionProfile
    hold_reason: str | None = None

    @property
    def end_time(self) -> float:
        """Time from which the arm is at rest [s]."""
        return self.start_time + self.profile.duration

    def at(self, time: float) -> State:
        """Return the planned state at a time [s]; before the start, the state at the start."""
        return self.profile.at(max(float(time) - self.start_time, 0.0))

    def sample(self, time: Array) -> tuple[Array, Array]:
        """Return planned q [rad] and qd [rad/s], (S, n) each, at times (S,) [s]."""
        return self.profile.sample(np.maximum(time - self.start_time, 0.0))
