"""Motion in real time: noisy or impossible samples enter, smooth and possible ones leave."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class OneEuroFilter:
    """The One-Euro filter (Casiez, Roussel, Vogel 2012): smooth at rest, quick in motion.

    An exponential filter whose cut-off grows with the speed of the signal. All components of a
    vector share one cut-off, so that filtering commutes with rotations.
    """

    def __init__(self, min_cutoff: float, beta: float, derivative_cutoff: float = 1.0) -> None:
        """Set up an empty filter.

        Args:
            min_cutoff: cut-off at rest [Hz]; lower removes more jitter.
            beta: growth of the cut-off with speed [Hz per unit/s]; higher removes more lag.
            derivative_cutoff: cut-off of the speed estimate [Hz].

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
        """Forget the past: the next sample passes unchanged."""
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | float = 0.0

    def __call__(self, sample: np.ndarray, dt: float) -> np.ndarray:
        """Filter the next sample (k,), `dt` [s] after the last one."""
        if self._value is None:
            self._value = np.array(sample, dtype=float)
            return self._value.copy()
        speed = (sample - self._value) / dt
        self._speed = self._speed + _smoothing(self.derivative_cutoff, dt) * (speed - self._speed)
        cutoff = self.min_cutoff + self.beta * float(np.linalg.norm(self._speed))
        self._value = self._value + _smoothing(cutoff, dt) * (sample - self._value)
        return self._value.copy()


def _smoothing(cutoff: float, dt: float) -> float:
    """Weight of a new sample in an exponential filter, equation (2) of the paper."""
    turn = 2 * math.pi * cutoff * dt
    return turn / (turn + 1)


class JointBounds(NamedTuple):
    """What joints can do: position [rad], velocity [rad/s], acceleration [rad/s2], each (n,)."""

    lower: np.ndarray
    upper: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray


class RateLimiter:
    """Where joints are and how they move, and where they can be one sample later.

    Speed and acceleration are bounded, and so is the speed from which a joint can still stop at
    its limit, or fall in with its goal without swinging past it.
    """

    SLACK = 1.0
    """Steps of acceleration a joint may leave its own way to the goal, to help the others."""

    def __init__(self, bounds: JointBounds, q: np.ndarray) -> None:
        """Start at rest at q (n,) [rad]."""
        self.bounds = bounds
        self.reset(q)

    def reset(self, q: np.ndarray) -> None:
        """Start again, at rest at q (n,) [rad]."""
        self.q = np.clip(q, self.bounds.lower, self.bounds.upper)
        self.qd = np.zeros_like(self.q)
        self.goal = self.q.copy()

    def window(self, goal: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
        """Say where the joints can be `dt` [s] later on the way to a goal (n,) [rad] that moves.

        Returns:
            Lower and upper bounds (n,) [rad].
        """
        lower, upper, velocity, acceleration = self.bounds
        step = acceleration * dt
        pace = np.clip((goal - self.goal) / dt, -velocity, velocity)
        error = goal - (self.q + pace * dt)
        closing = np.maximum(self._stoppable(np.abs(error), dt), self.SLACK * step)
        slowest = pace - np.where(error < 0, closing, self.SLACK * step)
        fastest = pace + np.where(error > 0, closing, self.SLACK * step)
        # so far a wish; what the joint's limits and then its acceleration allow comes first
        least = np.maximum(-velocity, -self._stoppable(self.q - lower, dt))
        most = np.minimum(velocity, self._stoppable(upper - self.q, dt))
        low, high = (
            np.clip(np.clip(speed, least, most), self.qd - step, self.qd + step)
            for speed in (slowest, fastest)
        )
        return np.clip(self.q + low * dt, lower, upper), np.clip(self.q + high * dt, lower, upper)

    def move(self, q: np.ndarray, goal: np.ndarray, dt: float) -> None:
        """Move to q (n,) [rad] in `dt` [s], on the way to a goal (n,) [rad]."""
        self.q, self.qd, self.goal = q, (q - self.q) / dt, goal

    def brake(self, dt: float) -> None:
        """Come to rest as fast as the acceleration allows, for `dt` [s]."""
        step = self.bounds.acceleration * dt
        qd = self.qd - np.clip(self.qd, -step, step)
        q = np.clip(self.q + qd * dt, self.bounds.lower, self.bounds.upper)
        self.move(q, q, dt)

    def _stoppable(self, distance: np.ndarray, dt: float) -> np.ndarray:
        """Return the largest speed for a sample after which braking stops within the distance."""
        step = self.bounds.acceleration * dt
        return np.sqrt(step**2 + 2 * self.bounds.acceleration * distance) - step
