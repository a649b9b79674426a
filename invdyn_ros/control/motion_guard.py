"""Motion guard: only motions that are verified up to their end at rest reach the arm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from invdyn_ros.config import Validated
from invdyn_ros.control.clearance_check import ClearanceCheck
from invdyn_ros.control.motion_profile import MotionProfile, Plan, State
from invdyn_ros.control.motion_samples import MotionSamples
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.control.speed_scaling import SpeedScaling
from invdyn_ros.control.target_planning import brake_plan
from invdyn_ros.control.tool_speed import ToolSpeed
from invdyn_ros.robots.collision import CollisionConfig, CollisionModel
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.registry import load_arm_obstacles
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

TOO_FAST = "tool speed"
BLOCKED = "blocked"
UNVERIFIED = "blocked: the motion takes too long to verify"
NOT_CONTINUOUS = "the plan does not continue the motion"
BEYOND_LIMITS = "braking would exceed a joint limit"
COMMITTED_PERIODS = 2  # control periods that a plan is followed for at least
STOPPING_TIME = 0.3  # [s] that a stop takes about
RETRY_TICKS = 8  # ticks for which only two periods are tried after the lookahead was refused
STAMP_TOLERANCE = 1e-6  # [s] to which a stamp is known
CONTINUITY = 1e-6  # [rad, rad/s, rad/s2] of a plan that continues another
APPROACH_TOLERANCE = 1e-4  # [m] by which a motion within the margin may end closer than it starts


@dataclass(frozen=True)
class MotionGuardConfig(Validated):
    """Limits that the motion guard verifies.

    Attributes:
        tool_speed: largest speed of the tool centre point and of the origin of every joint, the
            elbow among them [m/s].
        lookahead: time for which a plan is verified at once where that is possible; an arm that
            was blocked starts again only after a verification of this length [s].
        slack: distance by which a motion that starts at its margin may be closer meanwhile, at
            most half of the margin [m].
        max_configurations: configurations whose distances are computed at most for one motion; a
            motion that needs more is not admitted.
        collision: distances that the arm keeps.
    """

    tool_speed: PositiveFloat = 1.0
    lookahead: NonNegativeFloat = 0.2
    slack: PositiveFloat = 0.002
    max_configurations: PositiveInt = 12
    collision: CollisionConfig = field(default_factory=CollisionConfig)


class MotionGuard:
    """Guard of the motion of one arm.

    Guarantee: every plan that `admit` returns ends at rest, continues the motion before it with
    bounded jerk, stays within the joint limits, and, up to its end, keeps tool, elbow and all
    other joints below the speed limit and every pair of bodies at its margin, without gaps between
    samples. So an arm that follows it may lose every further input at any time. A motion of an arm
    that is within a margin, or in contact, is admitted if it ends no closer than it starts and is
    never more than the slack closer meanwhile.

    It cannot know how far the arm is from its plan, what it holds, or obstacles that nobody
    described; fingers are taken for open and closed at once. Obstacles do not move. Distances are
    those of the URDF's shapes, a mesh being its convex hull.

    Attributes:
        reason: why the last plan returned by `admit` is not the nominal one, None if it is; after
            a reason, a new nominal plan has to start from the plan returned.
    """

    def __init__(
        self, robot: Robot, limits: Limits, config: MotionGuardConfig, obstacles: Obstacles
    ) -> None:
        """Create the guard of an arm.

        Args:
            robot: the arm.
            limits: its joint limits.
            config: what to verify.
            obstacles: table and boxes.

        Raises:
            ValueError: a mesh of the URDF does not exist or cannot be read.
        """
        self.limits, self.config = limits, config
        self.collision = CollisionModel(robot, obstacles, config.collision)
        self._clearance = ClearanceCheck(self.collision)
        self._tool_speed = ToolSpeed(robot, limits.jerk)
        self._scaling = SpeedScaling(robot, self._tool_speed, config.tool_speed)
        slack = np.minimum(config.slack, self.collision.margins / 2)
        self._slack = np.append(slack, slack.max(initial=0.0))  # (P + 1,) [m]
        self._none = np.zeros_like(self._slack)
        self._committed = COMMITTED_PERIODS / robot.rate  # [s]
        self.reset()

    def set_tool_speed(self, limit: float) -> None:
        """Change the largest speed [m/s] of the plans that are verified from now on."""
        self.config, self._scaling.limit = replace(self.config, tool_speed=limit), limit

    def reset(self) -> None:
        """Forget the motion; the next active plan may start anywhere, at rest."""
        self._scaling.reset()
        self.reason: str | None = None
        self._active: Plan | None = None
        self._nominal: MotionProfile | None = None  # the active plan follows it until _leave_time
        self._leave_time = -np.inf
        self._blocked, self._wait = False, 0
        self._floor = np.full(len(self.collision.pairs), -np.inf)  # (P,) [m]
        self._is_floor_known = not self._floor.size

    def admit(self, nominal: Plan, active: Plan, time: float) -> Plan:
        """Return the verified plan to follow from now on: the nominal one as far as possible.

        The nominal plan is followed for the lookahead, or else for two control periods, and then
        a stop. Where that cannot be verified, the active plan goes on.

        Args:
            nominal: the plan wanted; it continues the active one at `time`.
            active: the plan that is being followed.
            time: current time [s].
        """
        if self._active is None or active.profile is not self._active.profile:
            self.reset()
        self._active = active
        if nominal.profile is active.profile:
            self.reason = None
            return self._follow(nominal)
        if nominal.profile is self._nominal and time + self._committed <= self._leave_time:
            self.reason = None
            return self._follow(active._replace(hold_reason=nominal.hold_reason))
        self.reason = self._refuse(nominal, active, time)
        if self.reason is None:
            return self._active
        return self._follow(active._replace(hold_reason=self.reason))

    def has_left(self, nominal: Plan, time: float) -> bool:
        """Return whether the active plan stops since it was not verified further in time.

        That happens when joint states are missing. The nominal plan does not continue it any more.

        Args:
            nominal: the last plan that was admitted.
            time: current time [s].
        """
        is_last = self.reason is None and nominal.profile is self._nominal
        return is_last and time > self._leave_time - STAMP_TOLERANCE

    def speed_scale(self, plan: Plan, time: float, driver_speed: float = 1.0) -> float:
        """Return the factor, in (0, 1], for the velocity limits of the next plan to a target.

        See `SpeedScaling`: with it, the guard seldom has to refuse a plan because of its speed.

        Args:
            plan: the last nominal plan.
            time: current time [s].
            driver_speed: fraction of a planned speed that the arm executes [-]; the speed of the
                tool is planned with the same fraction.
        """
        return self._scaling.update(plan, time, driver_speed)

    def _follow(self, plan: Plan) -> Plan:
        self._active = plan
        return plan

    def _refuse(self, nominal: Plan, active: Plan, time: float) -> str | None:
        """Admit a nominal plan, or return why it is not."""
        state = active.at(time)
        if not _is_same(nominal.at(time), state):
            return self.reason or NOT_CONTINUOUS
        self._clearance.set_budget(self.config.max_configurations)
        required, at_end = self._required(state.q)
        reason: str | None = None
        for leave_time in self._leave_times(nominal, time):
            candidate = self._then_stop(nominal, leave_time)
            reason = BEYOND_LIMITS
            if candidate is not None:
                reason = self._verify(candidate, time, required, at_end)
            if candidate is not None and reason is None:
                self._active, self._nominal = candidate, nominal.profile
                self._leave_time = leave_time if candidate is not nominal else np.inf
                self._blocked = False
                return None
        self._blocked = reason is not None and reason.startswith(BLOCKED)
        return reason

    def _leave_times(self, nominal: Plan, time: float) -> Iterator[float]:
        """Yield the times [s] until which the nominal plan is followed, to be tried in turn."""
        soon = time + self._committed
        if self._blocked or not self._wait:
            longer = max(time + self.config.lookahead, soon)
            whole = nominal.end_time <= longer + STOPPING_TIME  # no longer than with a stop
            yield nominal.end_time if whole else longer
            self._wait = RETRY_TICKS
        self._wait -= 1
        if not self._blocked:
            yield soon

    def _then_stop(self, nominal: Plan, leave_time: float) -> Plan | None:
        """Return the nominal plan until a time [s], then a stop; None if that exceeds a limit."""
        if leave_time >= nominal.end_time:
            return nominal
        state = nominal.at(leave_time)
        stop = brake_plan(state, leave_time, self.limits, nominal.hold_reason)
        if stop is None:
            return None
        joined = _join(nominal.profile, leave_time - nominal.start_time, stop.profile)
        return nominal._replace(profile=joined)

    def _verify(self, plan: Plan, time: float, required: Array, at_end: Array) -> str | None:
        """Return why a plan is not admitted from now to its end, None if it is.

        Args:
            plan: plan to verify.
            time: current time [s].
            required: (P + 1,) clearances on the way [m].
            at_end: (P + 1,) clearances at the end [m].
        """
        samples = MotionSamples.from_plan(plan, time, self.limits.jerk)
        clear = self._clearance.end_is_clear(samples.q[-1], at_end)
        if clear:
            if not self._tool_speed.is_below(self.config.tool_speed, samples, plan, time):
                return TOO_FAST
            clear = self._clearance.is_clear_throughout(samples, required)
        if clear:
            return None
        first, second = self._clearance.nearest
        return f"{BLOCKED} by {first} near {second}" if first else UNVERIFIED

    def _required(self, q: Array) -> tuple[Array, Array]:
        """Return the clearances (P + 1,) [m] to keep on the way from q (n,) [rad], and at the end.

        They are zero but for pairs that are at their margin or within it. The floor of these pairs
        only rises, so an arm within a margin cannot go deeper by many small motions.
        """
        if self._is_floor_known and self._clearance.start_is_clear(q, self._slack):
            return self._none, self._none
        clearances, slack = self._clearance.clearances(q), self._slack[:-1]
        inside = np.minimum(clearances, 0.0)
        self._floor = np.maximum(self._floor, inside - slack)
        self._is_floor_known = True
        near = clearances < slack
        tolerance = np.where(inside < 0, APPROACH_TOLERANCE, 0.0)
        on_way, at_end = np.where(near, [self._floor, inside - tolerance], 0.0)
        return np.append(on_way, 0.0), np.append(at_end, 0.0)


def arm_guard(
    robot: Robot, limits: Limits, safety: SafetyLimitsConfig, obstacles: Obstacles | None
) -> MotionGuard:
    """Return the motion guard of an arm.

    Args:
        robot: the arm.
        limits: its joint limits.
        safety: its tool speed is used.
        obstacles: what the arm must not touch; None: those of the arm's entry.
    """
    around = load_arm_obstacles(robot.name) if obstacles is None else obstacles
    return MotionGuard(robot, limits, MotionGuardConfig(tool_speed=safety.tool_speed), around)


def _join(profile: MotionProfile, duration: float, then: MotionProfile) -> MotionProfile:
    """Return the motion that follows a profile for a duration [s], then another one.

    Args:
        profile: first motion.
        duration: time after which it is left [s].
        then: second motion, from the state of the first one at that time.
    """
    first, second = profile.pieces, then.pieces.copy()
    second[0] += duration
    first = first[:, : np.count_nonzero(first[0].min(axis=1) < duration)]
    # a joint whose piece starts later has nothing to do in it
    first = np.where(first[0] < duration, first, second[:, :1])
    return MotionProfile(np.concatenate([first, second], axis=1))


def _is_same(first: State, second: State) -> bool:
    difference = np.concatenate(first) - np.concatenate(second)
    return bool(np.abs(difference).max() < CONTINUITY)
