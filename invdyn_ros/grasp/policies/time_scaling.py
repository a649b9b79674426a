"""Stopping in the middle of a planned motion: real time enters, the time of the motion leaves."""

from __future__ import annotations

import numpy as np

from invdyn_ros.control.safety_limits import State

BRAKING = 0.5  # [s] to a stop, and again to full pace


class TimeScaling:
    """A clock that stands still while it is told to, and slows down and speeds up gently.

    Attributes:
        rate: of the motion's time over real time [-]; one unless it was told to stop.
    """

    def __init__(self) -> None:
        self.rate, self.change = 1.0, 0.0  # [-], [1/s]
        self._behind = 0.0  # [s] zero to the last bit until it is told to stop
        self._before: float | None = None

    @property
    def stopped(self) -> bool:
        """Whether the clock stands still."""
        return self.rate == 0.0

    def update(self, time: float, go: bool) -> float:
        """Return the motion's time [s] at a time [s] that is no earlier than the one before.

        Args:
            time: now [s].
            go: whether the motion may go on.
        """
        step = 0.0 if self._before is None else time - self._before
        self._before = time
        if step > 0:
            before = self.rate
            self.rate = float(np.clip(before + (step if go else -step) / BRAKING, 0.0, 1.0))
            self.change = (self.rate - before) / step
            self._behind += step * (1 - (before + self.rate) / 2)
        return time - self._behind

    def scale(self, state: State) -> State:
        """Return a state of the motion as it is in real time."""
        q, v, a = state
        return State(q, self.rate * v, self.rate**2 * a + self.change * v)
