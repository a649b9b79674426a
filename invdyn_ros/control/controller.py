"""Control loop of one arm: from targets and joint states to safe commands.

The live node and every replay in simulation run this same class.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from invdyn_ros.control.computed_torque import (
    ComputedTorqueController,
    FeedbackConfig,
    InverseDynamicsModel,
    MeasuredState,
)
from invdyn_ros.control.fallback import Fallback
from invdyn_ros.control.motion_profile import Plan, State, Target
from invdyn_ros.control.safety_limits import (
    NO_TARGET,
    Limits,
    SafetyLimitsConfig,
    check_age,
    limit_action,
    validate_target,
)
from invdyn_ros.control.target_planning import hold_plan, plan_to_target, stop_plan
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

USING_FALLBACK = "model uncertain: rigid-body fallback"


class Command(NamedTuple):
    """Output of one control step.

    Attributes:
        action: (n,) in the model's unit, or None: send nothing.
        desired: planned state at the time of the measurement, None while disengaged.
        reason: why the arm holds or the action was changed, None otherwise.
        target_stamp: stamp of the target [s] if this command is the first to act on it.
    """

    action: Array | None
    desired: State | None
    reason: str | None
    target_stamp: float | None


class ArmController:
    """Control of one arm by an inverse-dynamics model within safety limits.

    Nothing is sent until `engage` is called. The plan starts at the measured joints, so engaging
    never causes a jump.
    """

    def __init__(
        self,
        robot: Robot,
        model: InverseDynamicsModel,
        unit: str,
        action_delay: float,
        safety: SafetyLimitsConfig | None = None,
        feedback: FeedbackConfig | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        """Create a disengaged controller.

        Args:
            robot: the arm.
            model: maps motion to actions.
            unit: unit of the model's actions.
            action_delay: time from sending an action to its effect [s].
            safety: margins and timeouts of the safety limits.
            feedback: gains; by default those of the unit.
            fallback: replaces the model where its standard deviation is too large.
        """
        self.robot, self.unit = robot, unit
        self.safety = safety or SafetyLimitsConfig()
        self.limits = Limits.from_robot(robot, self.safety)
        self.tracking_controller = ComputedTorqueController(
            model, unit, action_delay, feedback, fallback
        )
        self._max_jump_velocity = self.safety.max_jump_ratio * robot.velocity  # (n,) [rad/s]
        self.engaged = False
        self.stop_reason: str | None = None
        zero = np.zeros(robot.n)
        # The first call of a model takes a hundred times as long as later ones.
        self.tracking_controller(
            hold_plan(robot.home, 0.0, None), MeasuredState(0.0, robot.home, zero)
        )
        if fallback is not None:
            fallback.model.predict(torch.zeros(1, 1, 3 * robot.n), torch.zeros(1, 1))
        self._reset()

    def _reset(self) -> None:
        self.plan: Plan | None = None
        self._target: Target | None = None
        self._target_error: str | None = None
        self._target_is_new = False
        self._last_measured: MeasuredState | None = None
        self.tracking_controller.reset()

    def engage(self, engaged: bool) -> None:
        """Engage or disengage; engaging also clears a stop."""
        self.engaged = engaged
        if engaged:
            self.stop_reason = None
        self._reset()

    def stop(self, reason: str = "stopped") -> None:
        """Send nothing until engaged again."""
        self.engaged, self.stop_reason = False, reason
        self._reset()

    def set_target(self, target: Target) -> None:
        """Set the newest target; the next `update` acts on it."""
        self._target, self._target_is_new = target, True
        self._target_error = validate_target(target, self.robot.n)

    def update(self, measured: MeasuredState) -> Command:
        """Return the command for a measurement.

        Raises:
            ValueError: the measurement has another number of joints than the arm.
        """
        if measured.q.shape != (self.robot.n,):
            raise ValueError(f"measured {measured.q.size} joints, the arm has {self.robot.n}")
        if measured.qd.size and measured.qd.shape != measured.q.shape:
            raise ValueError(f"measured {measured.qd.size} velocities of {measured.q.size} joints")
        if not math.isfinite(measured.time + measured.q.sum() + measured.qd.sum()):
            return Command(None, None, "measured joints are not finite", None)
        discontinuity = self._discontinuity(measured)
        if discontinuity:
            self._reset()
        self._last_measured = measured
        if not self.engaged:
            return Command(None, None, self.stop_reason or "not engaged", None)
        target_stamp = self._update_plan(measured)
        if self.plan is None:
            raise RuntimeError("an engaged arm has a plan")
        try:
            raw = self.tracking_controller(self.plan, measured)
            action, clipped = limit_action(raw, measured.q, self.unit, self.limits)
        except ValueError as error:
            self.stop(f"stopped: {error}")
            return Command(None, None, self.stop_reason, None)
        reason = discontinuity or self.plan.hold_reason or clipped
        if reason is None and self.tracking_controller.using_fallback:
            reason = USING_FALLBACK
        return Command(action, self.tracking_controller.desired, reason, target_stamp)

    def _discontinuity(self, measured: MeasuredState) -> str | None:
        """Return why a measurement does not continue the last one, None if it does."""
        if self._last_measured is None:
            return None
        dt = measured.time - self._last_measured.time
        if dt < 0:
            return "time started again"
        max_jump = self._max_jump_velocity * max(dt, 1 / self.robot.rate)
        jumped = (np.abs(measured.q - self._last_measured.q) > max_jump).any()
        return "measured joints jumped" if jumped else None

    def _update_plan(self, measured: MeasuredState) -> float | None:
        """Update the plan; return the stamp of a target that is new in it."""
        time = measured.time
        target = self._target
        if target is None:
            problem: str | None = NO_TARGET
        else:
            problem = self._target_error or check_age(target, time, self.safety)
        if self.plan is None:
            self.plan = hold_plan(measured.q, time, problem)
        if problem or target is None:
            if self.plan.hold_reason != problem:
                self.plan = stop_plan(self.plan, time, self.limits, problem or NO_TARGET)
            return None
        if not self._target_is_new:
            return None
        self._target_is_new = False
        self.plan = plan_to_target(self.plan, target, time, self.limits, self.safety)
        return target.stamp
