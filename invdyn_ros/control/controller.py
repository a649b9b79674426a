"""The loop of one arm: targets and joint states enter, safe commands leave.

The node and every replay in simulation run this same class.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from invdyn_ros.control.computed_torque import (
    ComputedTorqueController,
    FeedbackConfig,
    Measured,
    Model,
)
from invdyn_ros.control.fallback import Fallback
from invdyn_ros.control.safety_limits import (
    NO_TARGET,
    Array,
    GuardConfig,
    Limits,
    Plan,
    State,
    Target,
    check_age,
    follow,
    halt,
    hold_plan,
    limit_action,
    validate_target,
)
from invdyn_ros.robots.robot import Robot

OUT_OF_DATA = "model out of its data: rigid body"


class Command(NamedTuple):
    """What to send now.

    Attributes:
        action: (n,) in the model's unit, or None: send nothing.
        wanted: where the arm should be at the time of the measurement, None while not driving.
        reason: why the arm holds or the action was changed, None if neither.
        applied: stamp of the target [s] if this command is the first to act on it.
    """

    action: Array | None
    desired: State | None
    reason: str | None
    applied: float | None


class ArmController:
    """Drive one arm through a model, behind the guard.

    Nothing is sent until `engage`; engaging starts from the measured joints, so it never jumps.
    """

    def __init__(
        self,
        robot: Robot,
        model: Model,
        unit: str,
        action_delay: float,
        guard: GuardConfig | None = None,
        feedback: FeedbackConfig | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        self.robot, self.unit = robot, unit
        self.guard = guard or GuardConfig()
        self.limits = Limits.of(robot, self.guard)
        self.follower = ComputedTorqueController(model, unit, action_delay, feedback, fallback)
        self._jump = self.guard.jump * robot.velocity  # (n,) [rad/s]
        self.engaged = False
        self.stopped: str | None = None
        still = np.zeros(robot.n)
        # The first call of a model takes a hundred times as long as those after it.
        self.follower(hold_plan(robot.home, 0.0, None), Measured(0.0, robot.home, still))
        if fallback is not None:
            fallback.model.predict(torch.zeros(1, 1, 3 * robot.n), torch.zeros(1, 1))
        self._forget()

    def _forget(self) -> None:
        self.plan: Plan | None = None
        self._target: Target | None = None
        self._flaw: str | None = None
        self._fresh = False
        self._last: Measured | None = None
        self.follower.reset()

    def engage(self, on: bool) -> None:
        """Close or open the clutch; closing it also clears a stop."""
        self.engaged = on
        if on:
            self.stopped = None
        self._forget()

    def stop(self, reason: str = "stopped") -> None:
        """Send nothing more until engaged again."""
        self.engaged, self.stopped = False, reason
        self._forget()

    def set_target(self, target: Target) -> None:
        """Note the newest wanted state; the next tick follows it."""
        self._target, self._fresh, self._flaw = target, True, validate_target(target, self.robot.n)

    def tick(self, measured: Measured) -> Command:
        """Return the command that answers a measurement.

        Raises:
            ValueError: the measurement has another number of joints than the arm.
        """
        if measured.q.shape != (self.robot.n,):
            raise ValueError(f"measured {measured.q.size} joints, the arm has {self.robot.n}")
        if measured.qd.size and measured.qd.shape != measured.q.shape:
            raise ValueError(f"measured {measured.qd.size} velocities of {measured.q.size} joints")
        if not math.isfinite(measured.time + measured.q.sum() + measured.qd.sum()):
            return Command(None, None, "measured joints are not finite", None)
        broken = self._broken(measured)
        if broken:
            self._forget()
        self._last = measured
        if not self.engaged:
            return Command(None, None, self.stopped or "not engaged", None)
        applied = self._replan(measured)
        if self.plan is None:
            raise RuntimeError("an engaged arm has a plan")
        try:
            raw = self.follower(self.plan, measured)
            action, clipped = limit_action(raw, measured.q, self.unit, self.limits)
        except ValueError as error:
            self.stop(f"stopped: {error}")
            return Command(None, None, self.stopped, None)
        reason = broken or self.plan.held or clipped
        if reason is None and self.follower.using_fallback:
            reason = OUT_OF_DATA
        return Command(action, self.follower.wanted, reason, applied)

    def _broken(self, measured: Measured) -> str | None:
        """Return why a measurement does not go on from the last one, None if it does."""
        if self._last is None:
            return None
        step = measured.time - self._last.time
        if step < 0:
            return "time started again"
        allowed = self._jump * max(step, 1 / self.robot.rate)
        jumped = (np.abs(measured.q - self._last.q) > allowed).any()
        return "measured joints jumped" if jumped else None

    def _replan(self, measured: Measured) -> float | None:
        """Bring the plan up to date; return the stamp of a target that is new in it."""
        time = measured.time
        target = self._target
        if target is None:
            problem: str | None = NO_TARGET
        else:
            problem = self._flaw or check_age(target, time, self.guard)
        if self.plan is None:
            self.plan = hold_plan(measured.q, time, problem)
        if problem or target is None:
            if self.plan.held != problem:
                self.plan = halt(self.plan, time, self.limits, problem or NO_TARGET)
            return None
        if not self._fresh:
            return None
        self._fresh = False
        self.plan = follow(self.plan, target, time, self.limits, self.guard)
        return target.stamp
