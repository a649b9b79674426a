"""Monitor of an arm's measured joint states: finds the faults that make them useless.

Thresholds are several times what the shipped models show on hard motions of all arms (30 Hz
steps, sines and noise): tracking errors up to 7 mrad (10 mrad for bus servos), velocity errors up
to 2% of the rated velocity with torques and 7% with setpoints.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.faults import Fault, MeasurementMonitorConfig
from invdyn_ros.control.measurement_timing import MeasurementTiming
from invdyn_ros.control.motion_profile import State
from invdyn_ros.control.step_check import StepCheck
from invdyn_ros.control.tracking_check import TrackingCheck
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

LARGEST = 1e6  # [rad, rad/s] of a measurement
RESTART_TIME = 0.5  # [s] below which the stamps of simulated time start again
REORDERING = 0.1  # [s] by which a stamp may be older than the newest without a restart
LARGEST_STAMP = 1e10  # [s] beyond it a float does not resolve the time between two joint states


class MeasurementMonitor:
    """Monitor of the joint states of one arm.

    Attributes:
        measured: newest usable joint state, with a wrong velocity replaced; None before the first.
        is_new: whether the last call of `update` gave a usable joint state.
        ignored_count: joint states that were no measurement: repeated, reordered, not finite, or
            with another number of joints.
        replaced_count: velocities that contradicted the positions.
    """

    def __init__(
        self, robot: Robot, unit: str, config: MeasurementMonitorConfig | None = None
    ) -> None:
        """Create a monitor without a measurement.

        Args:
            robot: the arm.
            unit: unit of the actions; setpoints are followed later than torques.
            config: thresholds.
        """
        self.robot = robot
        config = config or MeasurementMonitorConfig()
        self._timing = MeasurementTiming(1 / robot.rate, config)
        self._tracking = TrackingCheck(robot, unit, config)
        self._steps = StepCheck(robot, config, self._tracking.stall_travel)
        self.ignored_count = self.replaced_count = 0
        self.reset()

    @property
    def config(self) -> MeasurementMonitorConfig:
        """The thresholds."""
        return self._timing.config

    def set_config(self, config: MeasurementMonitorConfig) -> None:
        """Change the reconfigurable thresholds."""
        self._timing.set_config(config)
        self._tracking.set_config(config)
        self._steps.config = config

    def set_error_scale(self, scale: float) -> None:
        """Set the factor of the tracking errors at the start, of a feedback with less gain [-]."""
        self._tracking.error_scale = scale

    def set_speed(self, speed: float) -> None:
        """Set the fraction of the speed at which the arm executes commands [-]."""
        self._tracking.speed = speed

    def reset(self) -> None:
        """Forget all measurements."""
        self.measured: MeasuredState | None = None
        self.is_new = False
        self._recent: deque[tuple[float, Array]] = deque()
        self._timing.reset()
        self._steps.reset()
        self._tracking.start_following()

    def extend_timeout(self, timeout: float) -> None:
        """Allow a longer time without joint states [s], as they are predicted meanwhile."""
        self._timing.extend_timeout(timeout)

    def start_following(self) -> None:
        """Forget the desired states so far: a plan starts."""
        self._steps.start_following()
        self._tracking.start_following()

    def update(
        self, measured: MeasuredState, desired: State | None, clock: float | None = None
    ) -> Fault | None:
        """Add a joint state; return what is wrong with it, None if nothing is.

        Args:
            measured: joint state with the stamp of its source.
            desired: planned state at its stamp, None if the arm is not driven.
            clock: time of arrival [s] by any monotonic clock; None: the stamps are this clock.
        """
        self.is_new = False
        if not self.is_complete(measured):
            return self._ignore(clock)
        last = self.measured
        if last is None:
            self._accept(measured, desired, clock)
            return None
        step = measured.time - last.time
        if step <= 0 or self._timing.is_old(measured.time, clock):
            self._timing.repeated_count += step == 0
            if step >= -self.config.stamp_jump:
                return self._ignore(clock)
        fault = self._timing.check_arrival(measured.time, step, clock)
        if fault is None:
            planned = self._tracking.planned_step(desired)
            fault = self._steps.check_position(last, measured, planned)
        if fault is not None:
            if desired is None:  # where nothing is driven, the measurement starts again
                self.reset()
                self._accept(measured, None, clock)
            return fault
        repaired, contradiction = self._steps.check_velocity(last, measured, desired)
        if repaired is not measured:
            self.replaced_count += 1
        frozen = self._steps.check_frozen(measured, self._tracking.lagged(desired))
        self._accept(repaired, desired, clock)
        return contradiction or frozen or self._tracking.check(repaired, desired)

    def check(self, clock: float) -> Fault | None:
        """Return the fault if no usable joint state came for too long.

        Time counts only while this process runs, so that a late timer does not blame the arm.

        Args:
            clock: time [s] by the clock of `update`.
        """
        self._timing.has_timer = True
        return self._timing.check_timeout(clock)

    def has_restarted(self, measured: MeasuredState, clock: float | None) -> bool:
        """Return whether simulated time starts again at zero with a joint state.

        Args:
            measured: the joint state.
            clock: time of arrival [s], as for `update`.
        """
        last = self.measured
        if last is None or not (clock is None or self.config.simulated_time):
            return False
        return bool(0 <= measured.time < min(RESTART_TIME, last.time - REORDERING))

    def speed(self) -> Array | None:
        """Return the speeds (n,) [rad/s] over the last samples, None if they are not known yet."""
        if self.measured is None:
            return None
        qd = self.measured.qd
        (first, q), (last, newest) = self._recent[0], self._recent[-1]
        if last - first < self.config.rest_window / 2:
            return np.abs(qd) if qd.size else None
        mean = np.abs(newest - q) / (last - first)
        return np.maximum(mean, np.abs(qd)) if qd.size else mean

    def time(self, clock: float | None) -> float:
        """Return the time by the stamps [s], extrapolated from the newest joint state.

        Args:
            clock: time [s] by the clock of the calls; None: one period for each joint state.
        """
        return self._timing.time(clock)

    def age(self) -> float:
        """Return the time since the newest usable joint state [s], by the clock of the calls."""
        return self._timing.age()

    def is_complete(self, measured: MeasuredState) -> bool:
        """Return whether a joint state has all joints, and all values are finite and possible."""
        q, qd, n = measured.q, measured.qd, self.robot.n
        if q.shape != (n,) or (qd.size and qd.shape != (n,)):
            return False
        # count_nonzero takes half the time of all
        possible = np.count_nonzero(np.abs(q) < LARGEST) + np.count_nonzero(np.abs(qd) < LARGEST)
        return possible == n + qd.size and 0.0 <= measured.time < LARGEST_STAMP

    def _ignore(self, clock: float | None) -> Fault | None:
        """Count a joint state that is no measurement."""
        self.ignored_count += 1
        return self._timing.check_timeout(clock)

    def _accept(self, measured: MeasuredState, desired: State | None, clock: float | None) -> None:
        """Store a usable joint state."""
        self.measured, self.is_new = measured, True
        self._timing.accept(measured.time, clock)
        self._recent.append((measured.time, measured.q))
        while measured.time - self._recent[0][0] > self.config.rest_window:
            self._recent.popleft()
        if desired is not None:
            self._tracking.add(measured, desired)
