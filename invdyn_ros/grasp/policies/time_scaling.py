"""Time scaling: smooth stop and restart in the middle of a planned motion."""

from __future__ import annotations

import numpy as np

from invdyn_ros.control.motion_profile import State

RAMP_TIME = 0.5  # [s] from full speed to a stop, and back


class TimeScaling:
    """Clock of a motion that slows down to a stop and speeds up again.

    Attributes:
        rate: motion time per real time [-], 0 to 1.
        rate_derivative: time derivative of the rate [1/s].
    """

    def __init__(self) -> None:
        self.rate, self.rate_derivative = 1.0, 0.0
        self._delay = 0.0  # [s] exactly zero until the first stop
        self._previous_time: float | None = None

    @property
    def stopped(self) -> bool:
        """Whether the clock stands still."""
        return self.rate == 0.0

    def update(self, time: float, run: bool) -> float:
        """Return the motion time [s] at a real time.

        Args:
            time: real time [s], no earlier than at the last call.
            run: whether the motion may continue.
        """
        step = 0.0 if self._previous_time is None else time - self._previous_time
        self._previous_time = time
        if step > 0:
            previous = self.rate
            change = (step if run else -step) / RAMP_TIME
            self.rate = float(np.clip(previous + change, 0.0, 1.0))
            self.rate_derivative = (self.rate - previous) / step
            self._delay += step * (1 - (previous + self.rate) / 2)
        return time - self._delay

    def scale(self, state: State) -> State:
        """Return a state of the motion with its derivatives in real time."""
        q, qd, qdd = state
        return State(q, self.rate * qd, self.rate**2 * qdd + self.rate_derivative * qd)
