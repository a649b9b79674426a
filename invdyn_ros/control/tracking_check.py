"""Check of an arm that follows its plan: joints that stand, lag, or are too fast."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.faults import (
    FOLLOWING_ERROR,
    NOT_FOLLOWING,
    OVERSPEED,
    Fault,
    MeasurementMonitorConfig,
    joint_fault,
)
from invdyn_ros.control.motion_profile import State
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array, Mask

START_WAIT = 0.15  # [s] that an arm of position servos may take to start
STANDSTILL = 0.002  # [rad] of travel of an arm that stands; encoders of bus servos step by 0.0015


class _Row(NamedTuple):
    """A usable measurement, and the desired state of its time."""

    time: float
    q: Array
    desired: Array


class TrackingCheck:
    """Check of the joint states of one arm against its plan.

    Attributes:
        stall_travel: planned travel above which it is compared with the measured one [rad].
        stall_ratio: measured divided by planned travel below which a joint does not follow [-].
        error_scale: factor of the tracking errors at the start, of a feedback with less gain [-].
        speed: fraction of the speed at which the arm executes commands [-]; all times are longer
            by it.
    """

    def __init__(self, robot: Robot, unit: str, config: MeasurementMonitorConfig) -> None:
        """Create a check.

        Args:
            robot: the arm.
            unit: unit of the actions; setpoints are followed later than torques.
            config: thresholds.
        """
        self.robot, self._is_effort = robot, unit == "N m"
        self.set_config(config)
        self.error_scale = self.speed = 1.0
        self.start_following()

    def set_config(self, config: MeasurementMonitorConfig) -> None:
        """Change the thresholds."""
        self.config, is_effort, velocity = config, self._is_effort, self.robot.velocity
        c = config
        self._lag = 0.0 if is_effort else c.servo_lag
        self.stall_travel = c.stall_travel if is_effort else c.servo_stall_travel
        self.stall_ratio = c.stall_ratio if is_effort else c.servo_stall_ratio
        self._error_limit = c.following_error if is_effort else c.servo_following_error
        self._start_ratio = c.start_ratio if is_effort else 1.0
        self._velocity_error_limit = (c.velocity_error if is_effort else 1.0) * velocity
        self._overspeed_limit = c.overspeed * velocity

    def start_following(self) -> None:
        """Forget the desired states so far: a plan starts."""
        self._rows: deque[_Row] = deque()
        self._lagged: deque[_Row] = deque()
        self._standing: _Row | None = None
        self._direction = np.zeros(self.robot.n)
        self._reversal_time = np.full(self.robot.n, -np.inf)

    def planned_step(self, desired: State | None) -> tuple[Array, Array] | None:
        """Return the last desired position (n,) and the present one [rad]."""
        return None if desired is None or not self._rows else (self._rows[-1].desired, desired.q)

    def lagged(self, desired: State | None) -> Array | None:
        """Return the position (n,) [rad] that the arm should have now, as late as it may be."""
        if desired is None or not self._lagged:
            return None
        return desired.q if self._lag == 0 else self._lagged[0].desired

    def add(self, measured: MeasuredState, desired: State) -> None:
        """Add a usable joint state and the planned state at its time."""
        time = measured.time
        if not self._rows:
            self._start = time
        row = _Row(time, measured.q, desired.q)
        self._rows.append(row)
        self._lagged.append(row)
        while time - self._rows[0].time > self.config.stall_window / self.speed:
            self._rows.popleft()
        while time - self._lagged[0].time > self._lag / self.speed:
            self._lagged.popleft()
        moved = None if self._standing is None else np.abs(measured.q - self._standing.q)
        if moved is None or np.count_nonzero(moved > STANDSTILL):
            self._standing = row
        direction = np.sign(desired.qd)
        if np.count_nonzero(direction != self._direction):
            self._reversal_time[direction * self._direction < 0] = time
            self._direction = np.where(direction == 0, self._direction, direction)

    def check(self, measured: MeasuredState, desired: State | None) -> Fault | None:
        """Return a joint that does not follow the plan, or is too fast.

        Args:
            measured: the joint state that was added last.
            desired: planned state at its time, None if the arm is not driven.
        """
        names, qd = self.robot.joint_names, measured.qd
        if qd.size:
            fault = joint_fault(OVERSPEED, names, np.abs(qd), self._overspeed_limit, "rad/s")
            if fault is not None:
                return fault
        if desired is None:
            return None
        standing = self._check_standing(measured) if self._lag else None
        if standing is not None:
            return standing
        stalled = self._stalled(measured)
        if stalled is not None and stalled.any():
            planned = np.abs(self._lagged[0].desired - self._rows[0].desired)
            return joint_fault(NOT_FOLLOWING, names, planned * stalled, self.stall_travel, "rad")
        return self._check_error(measured, desired)

    def _check_standing(self, measured: MeasuredState) -> Fault | None:
        """Return a fault if the plan went away long ago from an arm that stands as a whole."""
        start, time = self._standing, measured.time - START_WAIT / self.speed
        then = next((row for row in reversed(self._rows) if row.time <= time), None)
        if start is None or then is None or then.time < start.time:
            return None
        travel, limit = np.abs(then.desired - start.desired), self.config.servo_start_travel
        return joint_fault(NOT_FOLLOWING, self.robot.joint_names, travel, limit, "rad")

    def _check_error(self, measured: MeasuredState, desired: State) -> Fault | None:
        """Return a joint that is far from its planned position or velocity."""
        c, names, qd = self.config, self.robot.joint_names, measured.qd
        limit = self._error_limit
        if measured.time - self._start < c.start_time:
            limit *= min(self._start_ratio * self.error_scale, 1.0)
        difference = measured.q - desired.q
        error = np.abs(difference)
        allowed: Array | float = limit
        velocity_error = qd - desired.qd if qd.size else None
        if self._lag:  # and the travel within the allowed lag
            allowed = limit + np.abs(self._lagged[0].desired - desired.q)
        elif velocity_error is not None:  # an error that grows is a fault before it is large
            error = np.maximum(error, np.abs(difference + c.error_horizon * velocity_error))
        fault = joint_fault(FOLLOWING_ERROR, names, error, allowed, "rad")
        if fault is not None:
            j = names.index(str(fault.joint))
            stands = self._stands(j, limit)
            if qd.size:
                stands = abs(qd[j]) < self.stall_ratio * abs(desired.qd[j])
            return fault._replace(reason=NOT_FOLLOWING) if stands else fault
        if velocity_error is None:
            return None
        error, allowed = np.abs(velocity_error), self._velocity_error_limit
        return joint_fault(FOLLOWING_ERROR, names, error, allowed, "rad/s")

    def _stands(self, j: int, limit: float) -> bool:
        """Return whether joint `j` stood while its following error arose."""
        newest, enough = self._rows[-1], 0.8 * limit
        for row in reversed(self._rows):
            planned = abs(newest.desired[j] - row.desired[j])
            if planned > enough:
                return bool(abs(newest.q[j] - row.q[j]) < self.stall_ratio * planned)
        return False

    def _stalled(self, measured: MeasuredState) -> Mask | None:
        """Return which joints (n,) moved much less than the plan over the window."""
        first, window = self._rows[0], self.config.stall_window / self.speed
        if measured.time - first.time < window - 1 / self.robot.rate:
            return None
        planned = self._lagged[0].desired - first.desired
        distance = np.abs(planned)
        far = distance > self.stall_travel
        if not np.count_nonzero(far):
            return None
        direction = np.sign(planned)
        # a servo is as late as it may be, so it moves as long as the part of the plan compared
        start = measured.time - (window - self._lag / self.speed)
        then = next((row for row in self._rows if row.time >= start), first)
        moved = (measured.q - then.q) * direction
        # dry friction holds a joint that was ahead until the plan has overtaken it
        behind = (self._lagged[0].desired - measured.q) * direction
        steady = self._reversal_time < first.time
        stuck = steady & (moved < self.stall_ratio * distance)
        return stuck & far & (behind > (1 - self.stall_ratio) * self.stall_travel)
