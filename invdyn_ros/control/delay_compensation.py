"""Compensation of the delays of one arm's control loop, and of their part in its faults."""

from __future__ import annotations

from invdyn_ros.control.computed_torque import ComputedTorqueController, MeasuredState
from invdyn_ros.control.faults import FOLLOWING_ERROR, LOOP_DELAY, NOT_FOLLOWING, TRACKING, Fault
from invdyn_ros.control.loop_delay import MAX_DELAY, CommandGaps, LoopDelay
from invdyn_ros.control.measurement_monitor import MeasurementMonitor
from invdyn_ros.typing import Array

LATE_GAIN_SCALE = 0.7  # [-] below which tracking errors are those of the delay


class DelayCompensation:
    """Adapts the feedback and the thresholds of an arm to the delay of its torques."""

    def __init__(
        self,
        tracking_controller: ComputedTorqueController,
        monitor: MeasurementMonitor,
        is_effort: bool,
    ) -> None:
        """Create a compensation without measurements.

        Args:
            tracking_controller: gets the delay and softer gains.
            monitor: gets wider thresholds with softer gains.
            is_effort: whether commands are torques, whose delay can be measured.
        """
        self._tracking_controller, self._monitor = tracking_controller, monitor
        self._is_effort = is_effort
        self._loop = LoopDelay(monitor.robot, tracking_controller.action_delay)
        self._gaps = CommandGaps(monitor.robot)

    @property
    def delay(self) -> float | None:
        """Measured delay from a torque command to its effect [s], None if it is not known."""
        return self._loop.delay

    def reset(self) -> None:
        """Forget the delay."""
        self._loop.reset()
        self._adapt()

    def add_arrival(self, clock: float | None) -> None:
        """Add the time of arrival [s] of a joint state, which a command answers."""
        if clock is not None:
            self._gaps.update(clock)

    def update(self, action: Array, state: MeasuredState) -> Fault | None:
        """Add a command; return a fault if the delay is too long for any gains.

        Args:
            action: (n,) command.
            state: joint state that it was computed from.
        """
        if not self._is_effort or state.effort.shape != action.shape:
            return None
        if self._loop.update(action, state.effort):
            self._adapt()
        if self.delay is None or self.delay <= MAX_DELAY:
            return None
        return Fault(LOOP_DELAY, None, self.delay, MAX_DELAY, "s")

    def explain(self, fault: Fault, clock: float | None) -> tuple[Fault, Fault]:
        """Return the fault to respond to and the one to show: a delay may be behind a fault.

        Args:
            fault: what was found.
            clock: time by the clock of arrivals [s], None for simulated time.
        """
        loop = self._loop
        is_late = loop.delay is not None and loop.gain_scale < LATE_GAIN_SCALE
        if fault.reason in TRACKING and loop.delay is not None and is_late:
            delay = Fault(LOOP_DELAY, None, loop.delay, loop.action_delay, "s")
            return delay, delay
        gap = None if clock is None else self._gaps.recent(clock)
        if fault.reason in (FOLLOWING_ERROR, NOT_FOLLOWING) and gap is not None:
            return fault, Fault(LOOP_DELAY, None, gap, self._gaps.limit, "s")
        return fault, fault

    def _adapt(self) -> None:
        self._tracking_controller.extra_delay = self._loop.excess
        self._tracking_controller.gain_scale = self._loop.gain_scale
        self._monitor.set_error_scale(1 / self._loop.gain_scale)
