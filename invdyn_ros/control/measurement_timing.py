"""Timing of joint states: those that stopped, came late, or whose stamps jumped."""

from __future__ import annotations

import math
from dataclasses import replace

from invdyn_ros.control.faults import (
    FROZEN,
    LOOP_DELAY,
    STAMPS_JUMPED,
    STOPPED,
    Fault,
    MeasurementMonitorConfig,
)


class MeasurementTiming:
    """Check of the stamps and the arrival of one arm's joint states.

    Attributes:
        config: thresholds.
        repeated_count: joint states with the same stamp since the newest usable one.
        has_timer: whether something checks for joint states that do not come.
    """

    def __init__(self, period: float, config: MeasurementMonitorConfig) -> None:
        """Create a check without a joint state.

        Args:
            period: time between joint states [s].
            config: thresholds.
        """
        self._period, self._timeout = period, 0.0
        self.has_timer = False
        self.set_config(config)
        self.reset()

    def reset(self) -> None:
        """Forget all joint states."""
        self.repeated_count = 0
        self._stamp: float | None = None  # of the newest usable joint state [s]
        self._arrival: float | None = None  # and its clock [s]
        self._clock: float | None = None  # clock of the last call [s]
        self._awake_time = 0.0  # since the newest usable joint state [s]
        self._min_latency = math.inf  # clock minus stamp of the joint state that came fastest [s]

    def extend_timeout(self, timeout: float) -> None:
        """Allow a longer time without joint states [s], as they are predicted meanwhile."""
        self._timeout = timeout
        self.set_config(self.config)

    def set_config(self, config: MeasurementMonitorConfig) -> None:
        """Change the thresholds; a timeout that was extended is so again."""
        gap = max(config.max_gap, self._timeout + 2 * self._period if self._timeout else 0.0)
        timeout = max(config.joint_state_timeout, self._timeout)
        self.config = replace(config, joint_state_timeout=timeout, max_gap=gap)

    def accept(self, stamp: float, clock: float | None) -> None:
        """Note a usable joint state.

        Args:
            stamp: its stamp [s].
            clock: time of its arrival [s], None if the stamps are the clock.
        """
        self._stamp, self._awake_time, self.repeated_count = stamp, 0.0, 0
        self._clock = clock
        if clock is not None:
            latency, drift = clock - stamp, 0.0
            if self._arrival is not None:
                drift = self.config.clock_drift * (clock - self._arrival)
            self._min_latency = min(self._min_latency + drift, latency)
            self._arrival = clock

    def is_old(self, stamp: float, clock: float | None) -> bool:
        """Return whether a joint state was too long on its way."""
        if clock is None or self.config.simulated_time:
            return False
        return clock - stamp > self._min_latency + self.config.joint_state_timeout

    def check_arrival(self, stamp: float, step: float, clock: float | None) -> Fault | None:
        """Return what is wrong with the time of a joint state, None if nothing is.

        Args:
            stamp: its stamp [s].
            step: time since the stamp before [s].
            clock: time of its arrival [s], None if the stamps are the clock.
        """
        c = self.config
        if step < 0:
            return Fault(STAMPS_JUMPED, None, step, c.stamp_jump, "s")
        if clock is None:
            if step > c.joint_state_timeout + self._period:
                return Fault(STOPPED, None, step, c.joint_state_timeout, "s")
            return None
        if self._arrival is None:
            return None
        early = self._min_latency - (clock - stamp)
        if early > c.stamp_jump and not c.simulated_time:
            return Fault(STAMPS_JUMPED, None, early, c.stamp_jump, "s")
        gap = max(clock - self._arrival, step)
        if gap > c.max_gap:  # and the timer did not notice: this process did not run
            return Fault(LOOP_DELAY if self.has_timer else STOPPED, None, gap, c.max_gap, "s")
        return None

    def check_timeout(self, clock: float | None) -> Fault | None:
        """Return the fault if no usable joint state came for too long.

        Args:
            clock: present time [s], None if one period passed since the last call.
        """
        if clock is None:
            self._awake_time += self._period
        elif self._clock is not None:
            self._awake_time += min(max(clock - self._clock, 0.0), self.config.max_timer_step)
        self._clock = clock
        if self._stamp is None or self._awake_time < self.config.joint_state_timeout:
            return None
        reason = FROZEN if self.repeated_count >= self.config.frozen_count else STOPPED
        return Fault(reason, None, self._awake_time, self.config.joint_state_timeout, "s")

    def time(self, clock: float | None) -> float:
        """Return the time by the stamps [s], extrapolated from the newest joint state.

        Args:
            clock: time [s] by the clock of the calls; None: one period for each joint state.
        """
        if self._stamp is None:
            return 0.0
        if clock is None or self._arrival is None:
            return self._stamp + self._awake_time
        return self._stamp + clock - self._arrival

    def age(self) -> float:
        """Return the time since the newest usable joint state [s], by the clock of the calls."""
        if self._stamp is None:
            return math.inf
        if self._clock is None or self._arrival is None:
            return 0.0
        return self._clock - self._arrival
