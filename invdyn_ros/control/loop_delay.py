"""Delays of the control loop of an arm: of each torque, and gaps between the commands.

Feedback that comes late is unstable. The delay is the shift at which the changes of the reported
torques match those of the commands best, whatever their scale and offset.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

MAX_DELAY = 0.06  # [s] beyond which no gains both hold the arm and are stable
LONGEST_DELAY = 0.15  # [s] that can be measured
WINDOW = 0.2  # [s] of torques that are compared
INTERVAL = 0.04  # [s] between two measurements
MEMORY = 1.0  # [s] for which the longest delay counts, as a delay may vary
MIN_CORRELATION = 0.9  # of the changes of commands and reported torques [-]
STABLE_DELAY = 0.017  # [s] up to which the default gains have a phase margin of 40 degrees
GAP_MEMORY = 0.5  # [s] after a gap in which the arm may be off its plan because of it
MIN_GAP = 0.03  # [s] without a command that drives tolerate
MIN_GAP_PERIODS = 2.5  # the same in control periods


class CommandGaps:
    """Gaps between the commands of an arm, in which its drives do not follow the plan.

    Attributes:
        limit: longest time between two commands that drives tolerate [s].
    """

    def __init__(self, robot: Robot) -> None:
        self.limit = max(MIN_GAP_PERIODS / robot.rate, MIN_GAP)
        self._last, self._end, self._length = -math.inf, -math.inf, 0.0

    def update(self, clock: float) -> None:
        """Add the time of a joint state, which a command answers [s]."""
        gap, self._last = clock - self._last, clock
        if self.limit < gap < math.inf:
            self._end, self._length = clock, gap

    def recent(self, clock: float) -> float | None:
        """Return the length of a gap that the arm may still be off its plan from [s], or None."""
        return self._length if 0 <= clock - self._end < GAP_MEMORY else None


class LoopDelay:
    """Measurement of the delay of one arm's control loop.

    Attributes:
        delay: longest delay from command to effect in the last second [s], None if unknown.
    """

    def __init__(self, robot: Robot, action_delay: float) -> None:
        """Create a measurement without data.

        Args:
            robot: the arm.
            action_delay: delay that the model was made for [s].
        """
        self._period, self._effort = 1 / robot.rate, robot.effort
        self.action_delay = action_delay
        self._lags = math.ceil(LONGEST_DELAY / self._period)
        self._window = max(math.ceil(WINDOW / self._period), 16)
        self._interval = max(math.ceil(INTERVAL / self._period), 1)
        self.reset()

    def reset(self) -> None:
        """Forget all torques."""
        length = self._window + self._lags
        self._sent: deque[Array] = deque([np.zeros_like(self._effort)] * length, maxlen=length)
        self._reported: deque[Array] = deque(maxlen=self._window)
        self._recent: deque[tuple[int, float]] = deque()
        self._count = 0
        self.delay: float | None = None

    @property
    def excess(self) -> float:
        """Measured delay beyond the one that the model was made for [s]."""
        if self.delay is None:
            return 0.0
        excess = self.delay - self.action_delay
        return excess if excess > 0.75 * self._period else 0.0

    @property
    def gain_scale(self) -> float:
        """Factor of the bandwidth of the feedback [-] at which it is stable with this delay."""
        if not self.excess:
            return 1.0
        stable = max(STABLE_DELAY, self.action_delay)
        return min(1.0, stable / (self.action_delay + self.excess))

    def update(self, sent: Array, reported: Array) -> bool:
        """Add the torques of one sample.

        Args:
            sent: (n,) command computed from this sample.
            reported: (n,) torque in this sample, in any unit.

        Returns:
            Whether there is a new measurement.
        """
        is_repeated = self._reported and np.array_equal(reported, self._reported[-1])
        self._reported.append(reported)
        self._sent.append(sent)
        self._count += 1
        # torques that stand still tell nothing about a delay
        if self._count % self._interval or len(self._reported) < 4 or is_repeated:
            return False
        lag = self._best_lag()
        while self._recent and self._count - self._recent[0][0] > MEMORY / self._period:
            self._recent.popleft()
        if lag is not None:
            self._recent.append((self._count, (lag - 0.5) * self._period))
        if self._recent:
            self.delay = max(delay for _, delay in self._recent)
        return lag is not None

    def _best_lag(self) -> int | None:
        """Return the number of samples by which the reported torques are late."""
        reported = np.diff(np.array(self._reported), axis=0) / self._effort  # (w, n)
        sent = np.diff(np.array(self._sent), axis=0) / self._effort
        energy = float((reported**2).sum())
        if energy < 1e-12:
            return None
        width = len(reported)
        # by the start of the window of commands, from the oldest to the newest
        products = sum(
            np.correlate(sent[:, j], reported[:, j], "valid") for j in range(sent.shape[1])
        )
        cumulated = np.concatenate([[0.0], np.cumsum((sent**2).sum(axis=1))])
        norms = np.sqrt(np.maximum(energy * (cumulated[width:] - cumulated[:-width]), 1e-300))
        correlation = (products / norms)[:-1][::-1]  # at a lag of 1, 2, ... samples
        best = int(correlation[: self._lags].argmax())
        return best + 1 if correlation[best] > MIN_CORRELATION else None
