"""When the next target of a stream is due, and whether it is late."""

from __future__ import annotations

from invdyn_ros.control.motion_profile import Target

LATE = "target is late"
LATE_TIME = 0.08  # [s] after which a target is late at the earliest
LATE_RATIO = 2.4  # and of the usual time between two: one lost frame of a slow camera is not late
SMOOTHING = 0.2  # weight of the newest interval in the usual one [-]


class TargetTiming:
    """Arrival of the targets of one stream.

    Cameras differ in rate and delay, so the wait is compared with the usual time between two
    targets, and the delay does not matter. A target with an old stamp is a repeated one.
    """

    def __init__(self, longest: float) -> None:
        """Create a timing without a target.

        Args:
            longest: time between two targets [s] above which there was a break.
        """
        self.longest = longest
        self.reset()

    def reset(self) -> None:
        """Forget all targets."""
        self._stamp: float | None = None
        self._arrival = 0.0
        self._interval: float | None = None

    def add(self, target: Target, time: float) -> None:
        """Add a valid target that came at a time [s]."""
        if self._stamp is not None:
            interval = target.stamp - self._stamp
            if interval <= 0:
                return
            if interval <= self.longest:
                usual = interval if self._interval is None else self._interval
                self._interval = usual + SMOOTHING * (interval - usual)
        self._stamp, self._arrival = target.stamp, time

    def is_late(self, time: float) -> bool:
        """Return whether at a time [s] the next target is overdue."""
        if self._interval is None:
            return False  # a single target is no stream
        return time - self._arrival > max(LATE_TIME, LATE_RATIO * self._interval)
