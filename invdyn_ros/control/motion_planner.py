"""Planner of an arm's motion: every plan is within limits and verified up to its end at rest."""

from __future__ import annotations

import numpy as np

from invdyn_ros.control.motion_guard import MotionGuard
from invdyn_ros.control.motion_profile import Plan, State, Target
from invdyn_ros.control.safety_limits import (
    NO_TARGET,
    Limits,
    SafetyLimitsConfig,
    check_age,
    validate_target,
)
from invdyn_ros.control.slow_in import SPEED_STEP, SlowIn
from invdyn_ros.control.target_planning import hold_plan, plan_to_target, stop_plan
from invdyn_ros.control.target_timing import LATE, TargetTiming
from invdyn_ros.typing import Array

NO_PLAN = "the arm is not driven; engage it first"


class MotionPlanner:
    """Plans to the newest target, to a stop, or to a place.

    Attributes:
        guard: verifies the plans; None: nothing is near the arm.
        plan: the verified motion that the arm follows, None while it follows none.
        hold_reason: why the arm does not follow its target, None if it does.
        refusal: why no target is followed, however good; None, and set from outside.
        driver_speed: fraction of a planned speed that the arm executes now [-], set from outside.
    """

    def __init__(
        self,
        num_joints: int,
        limits: Limits,
        safety: SafetyLimitsConfig,
        guard: MotionGuard | None,
    ) -> None:
        """Create a planner without a plan.

        Args:
            num_joints: number of joints of the arm.
            limits: limits of the arm.
            safety: margins, timeouts and speed.
            guard: verifies the plans; None: nothing is near the arm.
        """
        self.num_joints, self.limits, self.safety = num_joints, limits, safety
        self.guard, self._slow_in = guard, SlowIn(safety)
        self.refusal: str | None = None
        self.driver_speed = 1.0
        self._timing = TargetTiming(safety.target_timeout)
        self._scaled = 1.0, limits  # the last speed, and the limits at that speed
        self._planned_speed = 1.0  # driver_speed of the last plan
        self.clear()

    def clear(self) -> None:
        """Forget plan and target."""
        self.plan: Plan | None = None
        self.hold_reason: str | None = None
        self._nominal: Plan | None = None
        self._goal: Array | None = None  # (n,) of `go_to` [rad]
        self._target: Target | None = None
        self._target_error: str | None = None
        self._target_is_new = False
        self._timing.reset()
        if self.guard is not None:
            self.guard.reset()

    @property
    def speed_scale(self) -> float:
        """Fraction of the velocity limits that motions may use now [-]."""
        return self._slow_in.speed * self.driver_speed

    def set_safety(self, safety: SafetyLimitsConfig) -> None:
        """Change speeds and timeouts of the next plans; the present plan is verified, and goes on.

        Args:
            safety: its margins of position, velocity and jerk are not looked at again.
        """
        self.safety = self._slow_in.config = safety
        self._timing.longest = safety.target_timeout
        if self.guard is not None:
            self.guard.set_tool_speed(safety.tool_speed)

    def set_target(self, target: Target) -> None:
        """Set the newest target; the next `update` acts on it."""
        self._target, self._target_is_new = target, True
        self._target_error = validate_target(target, self.num_joints)

    def start(self, q: Array, time: float, reason: str = NO_TARGET) -> None:
        """Start at rest, with a slow-in.

        Args:
            q: (n,) measured position [rad].
            time: current time [s].
            reason: why the arm holds at first.
        """
        self._slow_in.start(time)
        self.hold(q, time, reason)

    def hold(self, q: Array, time: float, reason: str) -> None:
        """Stay at a position.

        Args:
            q: (n,) where the arm is [rad]; the plan before ends.
            time: current time [s].
            reason: why.
        """
        if self.guard is not None:
            self.guard.reset()
        self.plan = self._nominal = hold_plan(q, time, reason)
        self.hold_reason = reason

    def update(self, time: float) -> float | None:
        """Follow the target at a time [s]; return the stamp of a target that is new in the plan.

        Raises:
            ValueError: there is no plan; `start` first.
        """
        target = self._target
        if self.refusal is not None:
            problem: str | None = self.refusal
        elif target is None:
            problem = NO_TARGET
        else:
            problem = self._target_error or check_age(target, time, self.safety)
        if problem or target is None:
            self._slow_in.hold(time)
            self.stop(problem or NO_TARGET, time)
            return None
        if self._target_is_new:
            self._timing.add(target, time)
        if self._timing.is_late(time):
            self.stop(LATE, time)  # no slow-in after a few lost frames
            return None
        is_new = self._target_is_new
        is_faster = self._slow_in.follow(time)
        is_scaled = abs(self.driver_speed / self._planned_speed - 1.0) > SPEED_STEP
        if is_new or is_faster or is_scaled or self._has_left(time):
            self._target_is_new = False
            self._plan_to(target, self._slow_in.speed, time)
        self._admit(time)
        return target.stamp if is_new else None

    def stop(self, reason: str, time: float) -> None:
        """Come to rest, and stay there.

        Args:
            reason: why.
            time: current time [s].
        """
        plan, nominal = self._plans()
        if nominal.hold_reason != reason or self._is_refused() or self._has_left(time):
            self._nominal = stop_plan(plan, time, self.limits, reason)
        self._admit(time)
        self.hold_reason = reason

    def go_to(self, q: Array, speed: float, time: float, reason: str) -> None:
        """Move to a position at rest; call it at each time of the motion.

        Args:
            q: (n,) [rad].
            speed: fraction of the velocity limits [-].
            time: current time [s].
            reason: why.
        """
        if self._goal is not q or self._is_refused() or self._has_left(time):
            still, self._goal = np.zeros_like(q), q
            self._plan_to(Target(time, State(q, still, still), 0.0), speed, time)
            if self._nominal is not None:
                self._nominal = self._nominal._replace(hold_reason=reason)
        self._admit(time)

    def _plan_to(self, target: Target, speed: float, time: float) -> None:
        plan, nominal = self._plans()
        self._planned_speed = self.driver_speed
        speed *= self.driver_speed
        if self.guard is not None:
            speed *= self.guard.speed_scale(nominal, time, self.driver_speed)
        if speed != self._scaled[0]:
            self._scaled = speed, self.limits.scaled(speed)
        self._nominal = plan_to_target(plan, target, time, self._scaled[1], self.safety)

    def _admit(self, time: float) -> None:
        plan, nominal = self._plans()
        self.plan = nominal if self.guard is None else self.guard.admit(nominal, plan, time)
        self.hold_reason = self.plan.hold_reason

    def _has_left(self, time: float) -> bool:
        """Return whether the arm left its nominal plan as joint states were missing."""
        nominal = self._nominal
        return (
            self.guard is not None and nominal is not None and self.guard.has_left(nominal, time)
        )

    def _is_refused(self) -> bool:
        return self.guard is not None and self.guard.reason is not None

    def _plans(self) -> tuple[Plan, Plan]:
        """Return the verified and the nominal plan."""
        if self.plan is None or self._nominal is None:
            raise ValueError(NO_PLAN)
        return self.plan, self._nominal
