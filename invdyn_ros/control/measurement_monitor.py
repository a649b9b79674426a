"""Monitor of an arm's measured joint states: finds the faults that make them useless.

Thresholds are several times what the shipped models show on hard motions of all arms (30 Hz
steps, sines and noise): tracking errors up to 7 mrad (10 mrad for bus servos), velocity errors up
to 2% of the rated velocity with torques and 7% with setpoints.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.faults import (
    CONTRADICTION,
    FOLLOWING_ERROR,
    FROZEN,
    JUMPED,
    LOOP_DELAY,
    NOT_FOLLOWING,
    OVERSPEED,
    STAMPS_JUMPED,
    STOPPED,
    Fault,
    MeasurementMonitorConfig,
)
from invdyn_ros.control.motion_profile import State
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array


class _Row(NamedTuple):
    """A usable measurement, and the desired state of its time."""

    time: float
    q: Array
    desired: Array


class MeasurementMonitor:
    """Monitor of the joint states of one arm.

    Attributes:
        measured: newest usable joint state, with a wrong velocity replaced; None before the first.
        is_new: whether the last call of `update` gave a usable joint state.
        ignored_count: joint states that were no measurement: repeated, reordered, not finite, or
            with another number of joints.
        error_scale: factor of the tracking errors at the start, of a feedback with less gain [-].
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
        self.robot, self.config = robot, config or MeasurementMonitorConfig()
        self._period = 1 / robot.rate
        is_effort = unit == "N m"
        c = self.config
        self._lag = 0.0 if is_effort else c.servo_lag
        self._stall_travel = c.stall_travel if is_effort else c.servo_stall_travel
        self._error_limit = c.following_error if is_effort else c.servo_following_error
        self._start_ratio = c.start_ratio if is_effort else 1.0
        self._velocity_error_limit = (c.velocity_error if is_effort else 1.0) * robot.velocity
        self._overspeed_limit = c.overspeed * robot.velocity
        self.ignored_count = self.replaced_count = 0
        self._has_timer = False
        self.error_scale = 1.0
        self.reset()

    def reset(self) -> None:
        """Forget all measurements."""
        self.measured: MeasuredState | None = None
        self.is_new = False
        self._arrival: float | None = None  # clock of the newest usable joint state [s]
        self._clock: float | None = None  # clock of the last call [s]
        self._awake_time = 0.0  # since the newest usable joint state [s]
        self._min_latency = math.inf  # clock minus stamp of the joint state that came fastest [s]
        self._repeated_count = self._identical_count = self._contradiction_count = 0
        self._smallest_step = np.full(self.robot.n, np.inf)
        self._last_difference: Array | None = None
        self._last_raw: MeasuredState | None = None
        self._recent: deque[tuple[float, Array]] = deque()
        self.start_following()

    def extend_timeout(self, timeout: float) -> None:
        """Allow a longer time without joint states [s], as they are predicted meanwhile."""
        c = self.config
        gap = max(c.max_gap, timeout + 2 * self._period)
        self.config = replace(
            c, joint_state_timeout=max(c.joint_state_timeout, timeout), max_gap=gap
        )

    def start_following(self) -> None:
        """Forget the desired states so far: a plan starts."""
        self._rows: deque[_Row] = deque()
        self._lagged: deque[_Row] = deque()
        self._identical_start: Array | None = None
        self._direction = np.zeros(self.robot.n)
        self._reversal_time = np.full(self.robot.n, -np.inf)

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
        if step <= 0 or self._is_old(measured.time, clock):
            self._repeated_count += step == 0
            if step >= -self.config.stamp_jump:
                return self._ignore(clock)
        fault = self._check_arrival(measured.time, step, clock)
        if fault is None:
            fault = self._check_position(last, measured, step, desired)
        if fault is not None:
            if desired is None:  # where nothing is driven, the measurement starts again
                self.reset()
                self._accept(measured, None, clock)
            return fault
        repaired, contradiction = self._check_velocity(last, measured, step, desired)
        if repaired is not measured:
            self.replaced_count += 1
        frozen = self._check_frozen(measured, desired)
        self._accept(repaired, desired, clock)
        return contradiction or frozen or self._check_tracking(repaired, desired)

    def check(self, clock: float) -> Fault | None:
        """Return the fault if no usable joint state came for too long.

        Time counts only while this process runs, so that a late timer does not blame the arm.

        Args:
            clock: time [s] by the clock of `update`.
        """
        self._has_timer = True
        return self._check_timeout(clock)

    def _ignore(self, clock: float | None) -> Fault | None:
        """Count a joint state that is no measurement."""
        self.ignored_count += 1
        return self._check_timeout(clock)

    def _check_timeout(self, clock: float | None) -> Fault | None:
        if clock is None:
            self._awake_time += self._period
        elif self._clock is not None:
            self._awake_time += min(max(clock - self._clock, 0.0), self.config.max_timer_step)
        self._clock = clock
        if self.measured is None or self._awake_time < self.config.joint_state_timeout:
            return None
        reason = FROZEN if self._repeated_count >= self.config.frozen_count else STOPPED
        return self._fault(reason, self._awake_time, self.config.joint_state_timeout, "s")

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
        if self.measured is None:
            return 0.0
        if clock is None or self._arrival is None:
            return self.measured.time + self._awake_time
        return self.measured.time + clock - self._arrival

    def age(self) -> float:
        """Return the time since the newest usable joint state [s], by the clock of the calls."""
        if self.measured is None:
            return math.inf
        if self._clock is None or self._arrival is None:
            return 0.0
        return self._clock - self._arrival

    def is_complete(self, measured: MeasuredState) -> bool:
        """Return whether a joint state has all joints, and all values are finite and possible."""
        q, qd, n = measured.q, measured.qd, self.robot.n
        if q.shape != (n,) or (qd.size and qd.shape != (n,)):
            return False
        is_finite = (np.abs(q) < 1e6).all() and (np.abs(qd) < 1e6).all()
        # beyond these stamps a float does not resolve the time between two joint states
        return bool(is_finite and 0.0 <= measured.time < 1e10)

    def _is_old(self, stamp: float, clock: float | None) -> bool:
        """Return whether a joint state was too long on its way."""
        if clock is None or self.config.simulated_time:
            return False
        return clock - stamp > self._min_latency + self.config.joint_state_timeout

    def _check_arrival(self, stamp: float, step: float, clock: float | None) -> Fault | None:
        """Return what is wrong with the time of a joint state, given the step since the last."""
        c = self.config
        if step < 0:
            return self._fault(STAMPS_JUMPED, step, c.stamp_jump, "s")
        if clock is None:
            if step > c.joint_state_timeout + self._period:
                return self._fault(STOPPED, step, c.joint_state_timeout, "s")
            return None
        if self._arrival is None:
            return None
        early = self._min_latency - (clock - stamp)
        if early > c.stamp_jump and not c.simulated_time:
            return self._fault(STAMPS_JUMPED, early, c.stamp_jump, "s")
        gap = max(clock - self._arrival, step)
        if gap > c.max_gap:  # and the timer did not notice: this process did not run
            return self._fault(LOOP_DELAY if self._has_timer else STOPPED, gap, c.max_gap, "s")
        return None

    def _check_position(
        self, last: MeasuredState, measured: MeasuredState, step: float, desired: State | None
    ) -> Fault | None:
        """Return a jump: neither the velocity nor the plan explains the step of a position."""
        moved = measured.q - last.q
        if measured.qd.size and last.qd.size:
            predicted = step / 2 * (last.qd + measured.qd)
        else:
            previous = self._last_difference
            predicted = np.zeros_like(moved) if previous is None else step * previous
        innovation = np.abs(moved - predicted)
        limit = self.config.position_jump
        if innovation.max() <= limit:
            return None
        if desired is not None and self._rows:
            planned = np.abs(moved - (desired.q - self._rows[-1].desired))
            innovation = np.minimum(innovation, planned)
        return self._joint_fault(JUMPED, innovation, limit, "rad")

    def _check_velocity(
        self, last: MeasuredState, measured: MeasuredState, step: float, desired: State | None
    ) -> tuple[MeasuredState, Fault | None]:
        """Return the joint state, its velocity replaced if it contradicts the positions."""
        self._last_difference = difference = (measured.q - last.q) / step
        if not measured.qd.size:
            return measured, None
        c, robot = self.config, self.robot
        qd = measured.qd
        contradiction = np.abs(qd - difference)
        tolerance = c.velocity_tolerance * robot.velocity + step * robot.acceleration
        tolerance += c.stamp_jitter / step * np.abs(difference)
        wrong = contradiction > tolerance
        if not wrong.any():
            self._contradiction_count = 0
            return measured, None
        self._contradiction_count += 1
        reference = last.qd if desired is None else desired.qd
        nearer = np.abs(difference - reference) < np.abs(qd - reference)
        repaired = measured
        if (wrong & nearer).any():
            repaired = measured._replace(qd=np.where(wrong & nearer, difference, qd))
        if self._contradiction_count < c.contradiction_count:
            return repaired, None
        return repaired, self._joint_fault(CONTRADICTION, contradiction, tolerance, "rad/s")

    def _check_frozen(self, measured: MeasuredState, desired: State | None) -> Fault | None:
        """Return a fault if all joints are bit-identical while the plan moves them."""
        last, self._last_raw = self._last_raw, measured
        if last is None:
            return None
        moved = np.abs(measured.q - last.q)
        is_same = not moved.any() and np.array_equal(measured.qd, last.qd)
        if not is_same:
            self._smallest_step = np.where(
                moved > 0, np.minimum(self._smallest_step, moved), self._smallest_step
            )
            self._identical_count, self._identical_start = 0, None
            return None
        self._identical_count += 1
        if desired is None or not self._lagged:
            return None
        lagged = desired.q if self._lag == 0 else self._lagged[0].desired
        if self._identical_start is None:
            self._identical_start = lagged
            return None
        if self._identical_count < self.config.frozen_count:
            return None
        travel = np.abs(lagged - self._identical_start)
        resolution = np.where(np.isfinite(self._smallest_step), self._smallest_step, 0.0)
        limit = self.config.frozen_travel + self.config.frozen_steps * resolution
        if not measured.qd.size:  # frozen joint states look like a joint that stands
            limit = np.maximum(limit, self._stall_travel)
        return self._joint_fault(FROZEN, travel, limit, "rad")

    def _check_tracking(self, measured: MeasuredState, desired: State | None) -> Fault | None:
        """Return a joint that does not follow the plan, or is too fast."""
        c = self.config
        if measured.qd.size:
            fault = self._joint_fault(
                OVERSPEED, np.abs(measured.qd), self._overspeed_limit, "rad/s"
            )
            if fault is not None:
                return fault
        if desired is None:
            return None
        stalled = self._stalled(measured)
        if stalled is not None and stalled.any():
            planned = np.abs(self._lagged[0].desired - self._rows[0].desired)
            return self._joint_fault(NOT_FOLLOWING, planned * stalled, self._stall_travel, "rad")
        error = measured.q - desired.q
        if (
            measured.qd.size and self._lag == 0
        ):  # an error that grows is a fault before it is large
            error = error + c.error_horizon * (measured.qd - desired.qd)
        error = np.maximum(np.abs(error), np.abs(measured.q - desired.q))
        speed = np.abs(self._lagged[0].desired - desired.q)  # travel within the allowed lag
        limit = self._error_limit
        if measured.time - self._start < c.start_time:
            limit *= min(self._start_ratio * self.error_scale, 1.0)
        fault = self._joint_fault(FOLLOWING_ERROR, error, limit + speed, "rad")
        if fault is not None:
            j = self.robot.joint_names.index(str(fault.joint))
            stands = self._stands(j, limit)
            if measured.qd.size:
                stands = abs(measured.qd[j]) < c.stall_ratio * abs(desired.qd[j])
            return fault._replace(reason=NOT_FOLLOWING) if stands else fault
        if measured.qd.size:
            error = np.abs(measured.qd - desired.qd)
            return self._joint_fault(FOLLOWING_ERROR, error, self._velocity_error_limit, "rad/s")
        return None

    def _stands(self, j: int, limit: float) -> bool:
        """Return whether joint `j` stood while its following error arose."""
        newest, enough = self._rows[-1], 0.8 * limit
        for row in reversed(self._rows):
            planned = abs(newest.desired[j] - row.desired[j])
            if planned > enough:
                return bool(abs(newest.q[j] - row.q[j]) < self.config.stall_ratio * planned)
        return False

    def _stalled(self, measured: MeasuredState) -> Array | None:
        """Return which joints (n,) moved much less than the plan over the window."""
        first, c = self._rows[0], self.config
        if measured.time - first.time < c.stall_window - self._period:
            return None
        planned = self._lagged[0].desired - first.desired
        distance = np.abs(planned)
        if not (distance > self._stall_travel).any():
            return None
        moved = (measured.q - first.q) * np.sign(planned)
        # dry friction holds a joint that was ahead until the plan has overtaken it
        behind = (self._lagged[0].desired - measured.q) * np.sign(planned)
        steady = self._reversal_time < first.time
        stuck = steady & (moved < c.stall_ratio * distance)
        ratio = 1 - c.stall_ratio
        far = (distance > self._stall_travel) & (behind > ratio * self._stall_travel)
        return np.asarray(stuck & far)

    def _accept(self, measured: MeasuredState, desired: State | None, clock: float | None) -> None:
        """Store a usable joint state."""
        self.measured, self.is_new = measured, True
        self._awake_time, self._repeated_count = 0.0, 0
        self._clock = clock
        if clock is not None:
            latency, drift = clock - measured.time, 0.0
            if self._arrival is not None:
                drift = self.config.clock_drift * (clock - self._arrival)
            self._min_latency = min(self._min_latency + drift, latency)
            self._arrival = clock
        self._recent.append((measured.time, measured.q))
        while measured.time - self._recent[0][0] > self.config.rest_window:
            self._recent.popleft()
        if desired is None:
            return
        if not self._rows:
            self._start = measured.time
        row = _Row(measured.time, measured.q, desired.q)
        self._rows.append(row)
        self._lagged.append(row)
        while measured.time - self._rows[0].time > self.config.stall_window:
            self._rows.popleft()
        while measured.time - self._lagged[0].time > self._lag:
            self._lagged.popleft()
        direction = np.sign(desired.qd)
        self._reversal_time[direction * self._direction < 0] = measured.time
        self._direction = np.where(direction == 0, self._direction, direction)

    def _joint_fault(
        self, reason: str, values: Array, limit: Array | float, unit: str
    ) -> Fault | None:
        """Return the fault of the joint whose value exceeds its limit the most, if any does."""
        if not (values > limit).any():
            return None
        limits = np.broadcast_to(limit, values.shape)
        j = int(np.argmax(values / limits))
        return Fault(reason, self.robot.joint_names[j], float(values[j]), float(limits[j]), unit)

    def _fault(self, reason: str, value: float, limit: float, unit: str) -> Fault:
        return Fault(reason, None, value, limit, unit)
