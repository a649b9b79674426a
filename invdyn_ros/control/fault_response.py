"""What an arm gets after a fault, until it is engaged again.

A position servo gets the way to rest, and that place again and again. A joint torque is worth as
much as the measurement that it was computed from: it ends at once if the measurement is not to be
trusted, and after a controlled stop otherwise. Without torques the arm's own watchdog takes over.
"""

from __future__ import annotations

import math

import numpy as np

from invdyn_ros.control.action_limits import ActionLimits
from invdyn_ros.control.computed_torque import ComputedTorqueController, MeasuredState
from invdyn_ros.control.faults import MODEL_NOT_FINITE, Fault
from invdyn_ros.control.motion_profile import Plan, State, Target
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.control.target_planning import brake_plan, hold_plan, plan_to_target, stop_plan
from invdyn_ros.typing import Array

STOP_TIME = 0.3  # [s] of a controlled stop with torques
STOP_VELOCITY_ERROR = 0.3  # of the velocity limit [-]: a controlled stop that fails is cut
RETURN_SPEED = 0.1  # of the velocity limit [-] at which setpoints return to a joint that stands
Response = tuple[Array | None, State | None]


class FaultResponse:
    """Response to one fault of a driven arm."""

    def __init__(
        self,
        fault: Fault,
        plan: Plan,
        time: float,
        measured: MeasuredState | None,
        tracking_controller: ComputedTorqueController,
        action_limits: ActionLimits,
        safety: SafetyLimitsConfig,
    ) -> None:
        """Plan the way to rest.

        Args:
            fault: what happened.
            plan: motion of the arm.
            time: when it happened [s].
            measured: where the arm is, None if that is not known.
            tracking_controller: computes the actions; it keeps its integral.
            action_limits: limits of the actions.
            safety: margins and timeouts.
        """
        self.fault, self.start_time = fault, time
        self.tracking_controller, self.action_limits = tracking_controller, action_limits
        self.limits: Limits = action_limits.limits
        self.safety, self._is_cut, self._has_returned = safety, False, False
        self.plan = stop_plan(plan, time, self.limits, fault.reason)
        if action_limits.is_effort:
            self._is_cut = measured is None or not fault.is_measurement_trusted
            if measured is not None and not self._is_cut:
                qd = measured.qd if measured.qd.size else np.zeros_like(measured.q)
                state = State(measured.q, qd, np.zeros_like(qd))
                brake = brake_plan(state, time, self.limits, fault.reason)
                self.plan = brake or hold_plan(measured.q, time, fault.reason)
                tracking_controller.hold_disturbance()
        elif measured is not None and not fault.is_measurement_trusted:
            self.plan = hold_plan(measured.q, time, fault.reason)

    def update(self, time: float, measured: MeasuredState | None) -> Response:
        """Return the action (n,) to send, None for nothing, and the planned state.

        Args:
            time: current time [s].
            measured: a joint state that came now; None if there is none.
        """
        desired = self.plan.at(time)
        if self.action_limits.is_effort:
            return self._torque(time, measured, desired), desired
        return self._setpoint(time, measured, desired), desired

    def cut(self) -> None:
        """End a controlled stop: its measurements have a fault too."""
        self._is_cut = True

    def _torque(self, time: float, measured: MeasuredState | None, desired: State) -> Array | None:
        """Return the torque of a controlled stop, None once it is over."""
        if self._is_cut or measured is None:
            return None
        error = np.zeros(1)
        if measured.qd.size:
            error = np.abs(measured.qd - desired.qd) / self.limits.velocity
        if time - self.start_time > STOP_TIME or error.max() > STOP_VELOCITY_ERROR:
            self._is_cut = True
            return None
        action = self.tracking_controller(self.plan, measured._replace(time=time))
        if not math.isfinite(action.sum()):
            self._is_cut = True
            return None
        return self.action_limits.limit(action, time, measured.q, np.abs(desired.qd))[0]

    def _setpoint(self, time: float, measured: MeasuredState | None, desired: State) -> Array:
        """Return the setpoint on the way to rest, which no measurement changes."""
        is_trusted = self.fault.is_measurement_trusted and measured is not None
        if is_trusted and measured is not None and not self._has_returned and self._at_rest(time):
            self._has_returned = True
            still = np.zeros_like(measured.q)
            target = Target(time, State(measured.q, still, still), 0.0)
            limits = self.limits.scaled(RETURN_SPEED)
            self.plan = plan_to_target(self.plan, target, time, limits, self.safety)
            self.plan = self.plan._replace(hold_reason=self.fault.reason)
        setpoint = self.plan.at(time + self.tracking_controller.action_delay).q
        if self.fault.reason != MODEL_NOT_FINITE:
            action = self.tracking_controller(
                self.plan, MeasuredState(time, desired.q, desired.qd)
            )
            setpoint = action if math.isfinite(action.sum()) else setpoint
        q = measured.q if is_trusted and measured is not None else None
        return self.action_limits.limit(setpoint, time, q, np.abs(desired.qd))[0]

    def _at_rest(self, time: float) -> bool:
        return not self.plan.at(time).qd.any()
