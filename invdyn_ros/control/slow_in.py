"""Slow start of motions: after engaging, and after a hold, the speed grows to its limit."""

from __future__ import annotations

import math

from invdyn_ros.control.safety_limits import SafetyLimitsConfig

START_SPEED = 0.2  # fraction of the speed at the start [-]
SPEED_STEP = 0.05  # growth of the fraction after which a motion is planned again [-]
SHORT_HOLD = 0.5  # [s] a hold up to this long resumes at once: a few lost targets


class SlowIn:
    """Fraction of the velocity limits that motions may use.

    Attributes:
        speed: the present fraction [-].
    """

    def __init__(self, config: SafetyLimitsConfig) -> None:
        """Create a slow start of the configured time; the first motion starts slowly."""
        self.config = config
        self.start(0.0)

    def start(self, time: float) -> None:
        """Start slowly at a time [s]."""
        self._start_time: float = time
        self._hold_time: float | None = None
        self.speed = self._fraction(time)

    def hold(self, time: float) -> None:
        """Note that the arm holds at a time [s]."""
        if self._hold_time is None:
            self._hold_time = time

    def follow(self, time: float) -> bool:
        """Note that the arm follows a target at a time [s].

        Returns:
            Whether the fraction changed so much that the motion should be planned again.
        """
        if self._hold_time is not None and time - self._hold_time > SHORT_HOLD:
            self.start(time)
        self._hold_time = None
        fraction = self._fraction(time)
        has_changed = fraction - self.speed > SPEED_STEP or fraction > self.speed == START_SPEED
        if has_changed or math.isclose(fraction, self.config.speed):
            has_changed = fraction != self.speed
            self.speed = fraction
        return has_changed

    def _fraction(self, time: float) -> float:
        config = self.config
        if config.slow_in_time == 0:
            return config.speed
        ramp = (time - self._start_time) / config.slow_in_time
        return config.speed * min(START_SPEED + (1 - START_SPEED) * max(ramp, 0.0), 1.0)
