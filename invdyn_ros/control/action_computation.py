"""Computation of the actions of one arm: those of its model, checked, limited and in time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.control.action_limits import ActionLimits
from invdyn_ros.control.command import USING_FALLBACK
from invdyn_ros.control.computed_torque import (
    ComputedTorqueController,
    FeedbackConfig,
    MeasuredState,
)
from invdyn_ros.control.delay_compensation import DelayCompensation
from invdyn_ros.control.drift_monitor import DriftMonitor
from invdyn_ros.control.fallback import Fallback
from invdyn_ros.control.faults import Fault
from invdyn_ros.control.measurement_monitor import MeasurementMonitor
from invdyn_ros.control.model_check import ModelCheck
from invdyn_ros.control.motion_profile import Plan
from invdyn_ros.control.safety_limits import Limits
from invdyn_ros.control.target_planning import hold_plan
from invdyn_ros.models.predictor import Predictor
from invdyn_ros.typing import Array


class ComputedAction(NamedTuple):
    """Action for one joint state.

    Attributes:
        action: (n,) in the model's unit; not to be sent with a fault.
        reason: why it is not that of the model, None if it is.
        fault: fault of the model or of the delay, None without one.
    """

    action: Array
    reason: str | None
    fault: Fault | None


class ActionComputation:
    """Computation of the actions with which one arm follows its plan.

    Attributes:
        tracking_controller: computes actions with the model.
        limits: limits of the actions.
        delays: measured delay of the actions.
        drift: compares the arm with its model while it follows plans, None if nothing does; it is
            set from outside.
    """

    def __init__(
        self,
        model: Predictor,
        unit: str,
        action_delay: float,
        limits: Limits,
        monitor: MeasurementMonitor,
        feedback: FeedbackConfig | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        """Create the computation, and let the model predict once.

        Args:
            model: maps motion to actions.
            unit: unit of the model's actions.
            action_delay: time from sending an action to its effect [s].
            limits: limits of the arm.
            monitor: monitor of its joint states.
            feedback: gains; by default those of the unit.
            fallback: replaces the model where its standard deviation is too large.
        """
        self._check = ModelCheck(monitor.robot, unit, monitor.config)
        self.tracking_controller = ComputedTorqueController(
            *(model, unit, action_delay, feedback, fallback),
            inertial_torque=self._check.model.inertial_torque,
        )
        self.limits = ActionLimits(unit, limits)
        self.drift: DriftMonitor | None = None
        self.delays = DelayCompensation(self.tracking_controller, monitor, unit == "N m")
        # The first call of a model takes a hundred times as long as later ones.
        home, n = monitor.robot.home, monitor.robot.n
        self.tracking_controller(hold_plan(home, 0.0, None), MeasuredState(0.0, home, np.zeros(n)))
        if fallback is not None:
            fallback.model.predict(np.zeros((1, 1, 3 * n)), np.zeros((1, 1)))

    def reset(self) -> None:
        """Forget the motion, the actions and their delay."""
        self.limits.reset(None)
        self.tracking_controller.reset()
        self._check.reset()
        self.delays.reset()
        if self.drift is not None:
            self.drift.reset()

    def restart(self) -> None:
        """Start again near the arm, after a gap."""
        self.limits.restart()
        self.tracking_controller.reset()
        if self.drift is not None:
            self.drift.restart()

    def __call__(self, plan: Plan, state: MeasuredState) -> ComputedAction:
        """Return the action for a measured or predicted state."""
        controller, reason = self.tracking_controller, None
        action, fault = self._check.check(controller(plan, state), controller, state.time)
        if fault is None and controller.desired is not None:
            action, reason = self.limits.limit(action, state.time, state.q, controller.desired)
            self._check.add_sent(state, action)
            fault = self.delays.update(action, state)
            if self.drift is not None:
                self.drift.add(state, action)
        if reason is None and controller.using_fallback:
            reason = USING_FALLBACK
        return ComputedAction(action, reason, fault)

    def at_rest(self, state: MeasuredState, added: Array, name: str) -> ComputedAction:
        """Return the torque that holds a moving arm against gravity, with an addition.

        Args:
            state: measured state.
            added: (n,) torque [N m].
            name: reason that the plan has.
        """
        controller = self.tracking_controller
        still = state._replace(qd=np.zeros_like(state.q))
        plan = hold_plan(state.q, state.time, name)
        action, fault = self._check.check(controller(plan, still), controller, state.time)
        reason: str | None = None
        if fault is None and controller.desired is not None:
            action, reason = self.limits.limit(
                action + added, state.time, state.q, controller.desired
            )
            self._check.add_sent(state, action)
            fault = self.delays.update(action, state)
        return ComputedAction(action, reason, fault)

    def stop_controller(self, fault: Fault) -> ComputedTorqueController:
        """Return the controller of the way to rest after a fault, which may be the model's."""
        return self._check.stop_controller(fault, self.tracking_controller)
