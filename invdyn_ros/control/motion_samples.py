"""Samples of a motion with bounds of all that lies between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from invdyn_ros.control.motion_profile import Plan
from invdyn_ros.typing import Array

STEP = 0.02  # [s] between samples
MAX_INTERVALS = 60  # of a longer motion the samples are further apart


@dataclass(frozen=True, eq=False)
class MotionSamples:
    """Positions q and velocities qd, (K + 1, n) each, at equal steps [s] of a motion.

    `deviation` (n,) is the largest distance of the motion from the cubic through two consecutive
    samples [rad].
    """

    q: Array
    qd: Array
    step: float
    deviation: Array

    @classmethod
    def from_plan(cls, plan: Plan, start: float, jerk: Array) -> MotionSamples:
        """Sample a plan from a time to its end.

        A function whose third derivative is at most `jerk` differs by at most step^3 / 24 * jerk
        from the cubic with its values and slopes at the ends of a step: the third derivative of
        the difference is at most twice the jerk, and both values and slopes vanish at the ends.

        Args:
            plan: the plan.
            start: time of the first sample [s].
            jerk: (n,) largest jerk of the plan [rad/s3].
        """
        duration = max(plan.end_time - start, 1e-3)
        count = min(max(math.ceil(duration / STEP), 1), MAX_INTERVALS)
        step = duration / count
        q, qd = plan.sample(start + step * np.arange(count + 1, dtype=float))
        return cls(q, qd, step, step**3 / 24 * jerk)

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Smallest and largest positions between consecutive samples, (K, n) each [rad]."""
        q, slope = self.q, self.step / 3 * self.qd
        first, last = q[:-1], q[1:]
        after, before = first + slope[:-1], last - slope[1:]  # inner Bezier points
        smallest = np.minimum(np.minimum(first, last), np.minimum(after, before))
        largest = np.maximum(np.maximum(first, last), np.maximum(after, before))
        return smallest - self.deviation, largest + self.deviation

    def centres(self) -> Array:
        """Return the positions halfway between consecutive samples, (K, n)."""
        q, qd = self.q, self.qd
        return np.asarray((q[:-1] + q[1:]) / 2 + self.step / 8 * (qd[:-1] - qd[1:]))

    def halved(self, step: int) -> MotionSamples:
        """Return the samples at the ends and in the middle of a step."""
        (q, q_end), (qd, qd_end) = (x[step : step + 2] for x in (self.q, self.qd))
        middle = 1.5 / self.step * (q_end - q) - (qd + qd_end) / 4
        q = np.stack([q, (q + q_end) / 2 + self.step / 8 * (qd - qd_end), q_end])
        return MotionSamples(q, np.stack([qd, middle, qd_end]), self.step / 2, self.deviation)

    def largest_speeds(self) -> Array:
        """Return the largest velocity between consecutive samples, (K, n) [rad/s]."""
        bulge = 3 / self.step * self.deviation  # step^2 / 8 * jerk
        speed = np.abs(self.qd)
        return np.asarray(np.maximum(speed[:-1], speed[1:]) + bulge)
