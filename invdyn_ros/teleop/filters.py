"""Online filters: the One-Euro filter and a rate limiter for joint positions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class OneEuroFilter:
    """One-Euro filter (Casiez, Roussel, Vogel 2012): little jitter at rest, little lag in motion.

    It is an exponential filter whose cut-off frequency increases with the speed of the signal. All
    components of a vector share one cut-off frequency, so filtering commutes with rotations.
    """

    def __init__(self, min_cutoff: float, beta: float, derivative_cutoff: float = 1.0) -> None:
        """Create a filter.

        Args:
            min_cutoff: cut-off frequency at rest [Hz]; a lower one removes more jitter.
            beta: increase of the cut-off frequency with speed [Hz per unit/s]; a higher one
                removes more lag.
            derivative_cutoff: cut-off frequency of the speed estimate [Hz].

        Raises:
            ValueError: a cut-off is not positive or beta is negative.
        """
        if not (min_cutoff > 0 and derivative_cutoff > 0 and beta >= 0):
            raise ValueError(
                f"expected cut-offs > 0 Hz and beta >= 0, got min_cutoff {min_cutoff}, "
                f"derivative_cutoff {derivative_cutoff}, beta {beta}"
            )
        self.min_cutoff, self.beta, self.derivative_cutoff = min_cutoff, beta, derivative_cutoff
        self.reset()

    def reset(self) -> None:
        """Reset the filter: the next sample passes unchanged."""
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | float = 0.0

    def __call__(self, sample: np.ndarray, dt: float) -> np.ndarray:
        """Filter the next sample (k,), `dt` [s] after the previous one."""
        if self._value is None:
            self._value = np.array(sample, dtype=float)
            return self._value.copy()
        speed = (sample - self._value) / dt
        self._speed = self._speed + _smoothing(self.derivative_cutoff, dt) * (speed - self._speed)
        cutoff = self.min_cutoff + self.beta * float(np.linalg.norm(self._speed))
        self._value = self._value + _smoothing(cutoff, dt) * (sample - self._value)
        return self._value.copy()


def _smoothing(cutoff: float, dt: float) -> float:
    """Return the weight of a new sample in an exponential filter, equation (2) of the paper."""
    phase = 2 * math.pi * cutoff * dt
    return phase / (phase + 1)


class JointBounds(NamedTuple):
    """Joint limits: position [rad], velocity [rad/s], acceleration [rad/s2], (n,) each."""

    lower: np.ndarray
    upper: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray


class RateLimiter:
    """Joint state whose next positions are bounded.

    Velocity and acceleration are limited. The velocity is low enough for a joint to stop at its
    position limit, and to reach its target, which may move, without overshoot.
    """

    SLACK = 1.0
    """Velocity by which a joint may deviate on the way to its target, over the maximum change of
    velocity in a step [-]."""

    def __init__(self, bounds: JointBounds, q: np.ndarray) -> None:
        """Create a limiter at rest at q (n,) [rad]."""
        self.bounds = bounds
        self.reset(q)

    def reset(self, q: np.ndarray) -> None:
        """Reset to rest at q (n,) [rad]."""
        self.q = np.clip(q, self.bounds.lower, self.bounds.upper)
        self.qd = np.zeros_like(self.q)
        self.target = self.q.copy()

    def reachable_bounds(
        self,
        target: np.ndarray,
        dt: float,
        speed: float = 1.0,
        region: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds of the next joint positions on the way to a target.

        Args:
            target: (n,) joint positions, which may move [rad].
            dt: time step [s].
            speed: fraction of the velocity limits to use.
            region: narrower position limits, lower and upper (n,) [rad], which may move; a joint
                outside them moves no further outwards.

        Returns:
            Lower and upper bounds (n,) [rad].
        """
        lower, upper, velocity, acceleration = self.bounds
        velocity = speed * velocity
        step = acceleration * dt
        target_velocity = np.clip((target - self.target) / dt, -velocity, velocity)
        error = target - (self.q + target_velocity * dt)
        closing = np.maximum(self._max_stopping_velocity(np.abs(error), dt), self.SLACK * step)
        lowest = target_velocity - np.where(error < 0, closing, self.SLACK * step)
        highest = target_velocity + np.where(error > 0, closing, self.SLACK * step)
        # position limits have priority over the target, acceleration limits over both
        inner = region or (lower, upper)
        below = np.maximum(self.q - np.maximum(lower, inner[0]), 0.0)
        above = np.maximum(np.minimum(upper, inner[1]) - self.q, 0.0)
        min_velocity = np.maximum(-velocity, -self._max_stopping_velocity(below, dt))
        max_velocity = np.minimum(velocity, self._max_stopping_velocity(above, dt))
        low, high = (
            np.clip(
                np.clip(velocity_bound, min_velocity, max_velocity), self.qd - step, self.qd + step
            )
            for velocity_bound in (lowest, highest)
        )
        return np.clip(self.q + low * dt, lower, upper), np.clip(self.q + high * dt, lower, upper)

    def move(self, q: np.ndarray, target: np.ndarray, dt: float) -> None:
        """Move to joint positions on the way to a target.

        Args:
            q: (n,) next joint positions [rad].
            target: (n,) joint positions of the target [rad].
            dt: time step [s].
        """
        self.q, self.qd, self.target = q, (q - self.q) / dt, target

    def brake(self, dt: float) -> None:
        """Brake as fast as the acceleration allows for `dt` [s]."""
        q = next(iter(self.braking_positions(self.q, self.qd, dt)), self.q)
        self.move(q, q, dt)

    def braking_positions(self, q: np.ndarray, qd: np.ndarray, dt: float) -> Iterator[np.ndarray]:
        """Yield the positions (n,) [rad] of the fastest stop until the joints are at rest.

        Args:
            q: (n,) initial positions [rad].
            qd: (n,) initial velocities [rad/s].
            dt: time step [s].
        """
        step = self.bounds.acceleration * dt
        while qd.any():
            qd = qd - np.clip(qd, -step, step)
            q = np.clip(q + qd * dt, self.bounds.lower, self.bounds.upper)
            yield q

    def _max_stopping_velocity(self, distance: np.ndarray, dt: float) -> np.ndarray:
        """Return the largest velocity during a step from which joints can stop in a distance."""
        step = self.bounds.acceleration * dt
        return np.sqrt(step**2 + 2 * self.bounds.acceleration * distance) - step
