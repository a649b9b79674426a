"""What an arm gets after a fault, until it is engaged again.

A position servo gets the way to rest, and keeps its last setpoint. A joint torque is worth as much
as the measurement that it was computed from: it ends at once if the measurement is not to be
trusted, and after a controlled stop otherwise. Without torques the arm's own watchdog takes over.
"""

from __future__ import annotations

import math

import numpy as np

from invdyn_ros.control.action_computation import ActionComputation
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.faults import (
    FROZEN,
    GAPS,
    MODEL_DOUBTED,
    STOP_REQUESTED,
    STOPPED,
    Fault,
)
from invdyn_ros.control.measurement_monitor import MeasurementMonitor
from invdyn_ros.control.motion_planner import MotionPlanner
from invdyn_ros.control.motion_profile import Plan, State
from invdyn_ros.control.safety_limits import Limits
from invdyn_ros.control.target_planning import brake_plan, hold_plan
from invdyn_ros.typing import Array

STOP_TIME = 0.3  # [s] of a controlled stop with torques
STOP_VELOCITY_ERROR = 0.3  # of the velocity limit [-]: a controlled stop that fails is cut
REST_COUNT = 10  # setpoints at rest with which a stop ends
RETURN_SPEED = 0.2  # of the velocity limit [-] at which setpoints return to a joint that stands
Response = tuple[Array | None, State | None]


class FaultResponse:
    """Response to one fault of a driven arm."""

    def __init__(
        self,
        fault: Fault,
        planner: MotionPlanner,
        monitor: MeasurementMonitor,
        clock: float | None,
        measured: MeasuredState | None,
        actions: ActionComputation,
    ) -> None:
        """Plan the way to rest.

        Args:
            fault: what happened.
            planner: has the motion of the arm.
            monitor: of the joint states.
            clock: time at which it happened, by the clock of arrivals [s]; None: simulated time,
                in which each update is one control period.
            measured: newest joint state, None if there is none.
            actions: computed the actions; its integral is kept.
        """
        self.fault, self._planner = fault, planner
        self.start_time, self._start_clock = monitor.time(clock), clock
        self._period, self._count = 1 / monitor.robot.rate, 0
        self.tracking_controller = actions.stop_controller(fault)
        self.action_limits = actions.limits
        self.limits: Limits = self.action_limits.limits
        self._is_cut, self._rest_count = False, 0
        self._return_to: Array | None = None  # (n,) where a joint stands [rad]
        self._stop: Plan | None = None  # of a controlled stop with torques
        time = self.start_time
        if not (fault.is_measurement_trusted or fault.reason in GAPS):
            measured = None
        # without joint states no setpoint came, so a servo stands at the last one already
        self._is_silent = fault.reason == STOPPED and measured is None
        if self.action_limits.is_effort:
            self._is_cut = measured is None or not fault.is_measurement_trusted
            if measured is not None and not self._is_cut:
                self._stop = self._stop_from(measured, time)
                self.tracking_controller.hold_disturbance()
        elif measured is not None and not fault.is_measurement_trusted:
            planner.hold(measured.q, time, fault.reason)

    def update(
        self, clock: float | None, measured: MeasuredState | None, executes: bool = True
    ) -> Response:
        """Return the action (n,) to send, None for nothing, and the planned state.

        Args:
            clock: current time by the clock of arrivals [s], None for simulated time.
            measured: a joint state that came now; None if there is none.
            executes: whether the driver of the arm executes commands.
        """
        if clock is None or self._start_clock is None:
            elapsed = self._count * self._period
        else:
            elapsed = clock - self._start_clock
        self._count += 1
        if not self.action_limits.is_effort:
            if not executes and measured is not None:
                return self._stay(self.start_time + elapsed, measured)
            if self.is_over:
                return None, None
            return self._setpoint(self.start_time + elapsed, measured)
        if self._is_cut or measured is None or self._stop is None:
            return None, None
        # a torque is computed for a joint state, at its stamp
        action = self._torque(self._stop, measured.time, measured)
        return action, self._stop.at(measured.time)

    def _stop_from(self, measured: MeasuredState, time: float) -> Plan:
        """Return the fastest stop from a measured state, the only plan that starts from one."""
        qd = measured.qd if measured.qd.size else np.zeros_like(measured.q)
        state = State(measured.q, qd, np.zeros_like(qd))
        brake = brake_plan(state, time, self.limits, self.fault.reason)
        return brake or hold_plan(measured.q, time, self.fault.reason)

    @property
    def is_over(self) -> bool:
        """Whether nothing more needs to be sent: a servo at rest keeps its last setpoint."""
        is_over = self._is_cut if self.action_limits.is_effort else self._rest_count > REST_COUNT
        return is_over or self._is_silent

    def cut(self) -> None:
        """Use no more joint states, since they have a fault too: torques end."""
        self._is_cut = True

    def _torque(self, stop: Plan, time: float, measured: MeasuredState) -> Array | None:
        """Return the torque of a controlled stop, None once it is over."""
        desired, error = stop.at(time), 0.0
        if measured.qd.size:
            error = float((np.abs(measured.qd - desired.qd) / self.limits.velocity).max())
        action = self.tracking_controller(stop, measured._replace(time=time))
        is_over = time - self.start_time > STOP_TIME or error > STOP_VELOCITY_ERROR
        if is_over or not math.isfinite(action.sum()):
            self._is_cut = True
            return None
        return self.action_limits.limit(action, time, measured.q, desired)[0]

    def _stay(self, time: float, measured: MeasuredState) -> Response:
        """Return the setpoint where the arm is measured.

        The driver keeps the newest setpoint, and executes it when it is ready again.
        """
        self._planner.hold(measured.q, time, self.fault.reason)
        self._rest_count += 1
        plan = self._planner.plan
        if plan is None:
            return None, None
        self.action_limits.restart()
        desired = plan.at(time)
        action = self.tracking_controller(plan, MeasuredState(time, desired.q, desired.qd))
        setpoint = action if math.isfinite(action.sum()) else desired.q
        return self.action_limits.limit(setpoint, time, measured.q, desired)[0], desired

    def _setpoint(self, time: float, measured: MeasuredState | None) -> Response:
        """Return the setpoint on the way to rest, which no measurement changes."""
        planner, reason = self._planner, self.fault.reason
        # frozen joint states may be those of a program that stands still
        is_trusted = self.fault.is_measurement_trusted or reason == FROZEN
        is_trusted = is_trusted and not (self._is_cut and reason == STOP_REQUESTED)
        if self._return_to is not None:
            planner.go_to(self._return_to, RETURN_SPEED, time, reason)
        else:
            planner.stop(reason, time)
        plan = planner.plan
        if plan is None:
            return None, None
        desired = plan.at(time)
        is_at_rest = not desired.qd.any()
        self._rest_count += is_at_rest
        # only a joint that a fault kept from its place is given way
        may_return = is_trusted and is_at_rest and reason != STOP_REQUESTED
        if measured is not None and may_return and self._return_to is None:
            self._return_to = measured.q
            planner.go_to(measured.q, RETURN_SPEED, time, reason)
        setpoint = plan.at(time + self.tracking_controller.action_delay).q
        if reason not in MODEL_DOUBTED:
            state = MeasuredState(time, desired.q, desired.qd)
            action = self.tracking_controller(plan, state)
            setpoint = action if math.isfinite(action.sum()) else setpoint
        # an arm whose joint states are frozen may have moved on: no setpoint may jump to them
        is_known = is_trusted and reason != FROZEN
        q = measured.q if is_known and measured is not None else None
        return self.action_limits.limit(setpoint, time, q, desired)[0], desired
