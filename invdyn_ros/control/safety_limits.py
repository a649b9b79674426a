"""The one guard: every target and every command passes it.

Enters: a wanted state, the measured state, the time. Leaves: a plan that keeps the arm's limits,
or the reason why the arm holds. All functions are pure: same input, same output.
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat
from ruckig import ControlInterface, InputParameter, Result, Ruckig, RuckigError, Trajectory

from invdyn_ros.config import Fraction, Validated
from invdyn_ros.control.motion_profile import (
    HULL_DERIVATIVE,
    Array,
    JerkSegment,
    Plan,
    State,
    Target,
    at,
    cubic_segment,
    total_duration,
)
from invdyn_ros.robots.robot import Robot

MotionSegments = tuple[JerkSegment | Trajectory, ...]
Bounds = tuple[Array, Array]  # least and greatest position, velocity, acceleration, (3, n) each

ACCELERATION_HOLD_TIME = 0.02  # [s] a wanted acceleration holds on: actuators act up to this late
NO_TARGET = "no target yet"
TOLERANCE = 1e-6  # [-, rad] of rounding


@dataclass(frozen=True)
class SafetyLimitsConfig(Validated):
    """What the guard allows.

    Attributes:
        margin: distance kept from each position limit [rad].
        speed: share of the rated joint velocity that is used [-].
        jerk: jerk limit per acceleration limit [1/s].
        timeout: a target older than this halts the arm smoothly [s].
        jump: a measured step of this many times what the rated velocity allows is a fault [-].
    """

    position_margin: NonNegativeFloat = 0.02
    velocity_scaling: Fraction = 0.95
    jerk_ratio: PositiveFloat = 20.0
    target_timeout: PositiveFloat = 0.25
    max_jump_ratio: Annotated[float, Field(gt=1)] = 5.0


class Limits(NamedTuple):
    """Limits of motion and effort, (n,) each [rad, rad/s, rad/s2, rad/s3, N m]."""

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    effort: Array

    @classmethod
    def from_robot(cls, robot: Robot, config: SafetyLimitsConfig) -> "Limits":
        """Return the limits of an arm with the guard's margins applied."""
        return cls(
            robot.lower + config.position_margin,
            robot.upper - config.position_margin,
            robot.velocity * config.velocity_scaling,
            robot.acceleration,
            robot.acceleration * config.jerk_ratio,
            robot.effort,
        )


def validate_target(target: Target, num_joints: int) -> str | None:
    """Return why a target can never be followed by an arm of n joints, or None."""
    if any(part.shape != (num_joints,) for part in target.state):
        return f"target has {target.state.q.size} joints, the arm {num_joints}"
    total = target.stamp + target.horizon + sum(float(part.sum()) for part in target.state)
    if not math.isfinite(total):
        return "target is not finite"
    if target.horizon < 0:
        return "target has a negative horizon"
    return None


def check_age(target: Target, time: float, config: SafetyLimitsConfig) -> str | None:
    """Return why a target cannot be followed at a time [s], or None."""
    if time - target.stamp > config.target_timeout:
        return "target is stale"
    if target.stamp - time > config.target_timeout:
        return "target is from the future"
    return None


def hold_plan(q: Array, time: float, reason: str | None = None) -> Plan:
    """Return the plan that stays at `q` (n,) [rad]."""
    still = State(np.array(q, float), np.zeros(q.size), np.zeros(q.size))
    return Plan(time, (JerkSegment.constant_acceleration(still, 0.0),), reason)


def stop_plan(plan: Plan, time: float, limits: Limits, reason: str) -> Plan:
    """Return the plan that comes to rest as fast as the limits allow.

    Where that would overstep a position limit, the plan so far goes on to its own end.
    """
    now = plan.at(time)
    brake = _brake(now, limits)
    stop = () if brake is None else (brake,)
    kept = _satisfies(stop, _motion_bounds(now, limits))
    return Plan(time, stop, reason) if kept else plan._replace(hold_reason=reason)


def plan_to_target(
    plan: Plan, target: Target, time: float, limits: Limits, config: SafetyLimitsConfig
) -> Plan:
    """Return the plan from where `plan` is at `time` to the target, within limits.

    A wanted next state that the arm can reach in its horizon is taken as it is; any other is
    approached as fast as position, velocity, acceleration and jerk limits allow (Ruckig; Berscheid
    and Kroeger 2021). A target that moves (horizon > 0) is met where it will be. Afterwards the
    arm moves on as the target does, and to rest when the target would be stale.
    """
    now, wanted = plan.at(time), _clip_state(target.state, limits)
    h, bounds = target.stamp + target.horizon - time, _motion_bounds(now, limits)
    for way in (
        _reach_exactly,
        _intercept if target.horizon > 0 else _approach,
        _approach_at_rest,
    ):
        parts = way(now, wanted, h, limits)
        if not _satisfies(parts, bounds):
            continue
        last = at(parts[-1], parts[-1].duration)
        coast = max(target.stamp + config.target_timeout - time - total_duration(parts), 0.0)
        ending = last._replace(qdd=np.zeros(last.q.size))
        for tail in ((JerkSegment.constant_acceleration(ending, coast),), ()) if coast else ((),):
            brake = _brake(at(tail[-1], coast) if tail else last, limits)
            if brake is not None and _satisfies((*tail, brake), bounds):
                return Plan(time, (*parts, *tail, brake))
    return plan._replace(hold_reason="no way to the target within limits")


def limit_action(
    action: Array, measured: Array, unit: str, limits: Limits
) -> tuple[Array, str | None]:
    """Return the action within the arm's limits, and why it was changed if it was.

    Args:
        action: (n,) torque [N m] or setpoint [rad].
        measured: (n,) measured position [rad].
        unit: unit of the action.
        limits: limits of the arm.

    Raises:
        ValueError: the action is not finite, or its unit has no limits.
    """
    if not math.isfinite(action.sum()):
        raise ValueError(f"the model's action is not finite: {action}")
    if unit == "N m":
        safe = clip(action, -limits.effort, limits.effort)
    elif unit == "rad":
        reach = 0.5 * limits.velocity  # half a second of travel: a servo never lags more
        safe = clip(action, measured - reach, measured + reach)
        safe = clip(safe, limits.lower, limits.upper)
    else:
        raise ValueError(f"no limits for actions in '{unit}'; known units: 'N m', 'rad'")
    return safe, None if (safe == action).all() else "action clipped to the arm's limits"


def clip(values: Array, lower: Array | float, upper: Array | float) -> Array:
    """Return values clipped; for a few numbers np.clip takes five times as long."""
    return np.asarray(np.minimum(np.maximum(values, lower), upper))


def _clip_state(state: State, limits: Limits) -> State:
    """Clip a wanted state; a joint wanted outside is wanted at rest at its limit."""
    q = clip(state.q, limits.lower, limits.upper)
    inside = q == state.q
    return State(
        q,
        inside * clip(state.qd, -limits.velocity, limits.velocity),
        inside * clip(state.qdd, -limits.acceleration, limits.acceleration),
    )


def _motion_bounds(now: State, limits: Limits) -> Bounds:
    """Return what a motion from a state keeps; from outside it may go inwards only."""
    lower = np.minimum(limits.lower - TOLERANCE, now.q - 1e-12)
    upper = np.maximum(limits.upper + TOLERANCE, now.q + 1e-12)
    velocity, acceleration = (
        limits.velocity * (1 + TOLERANCE),
        limits.acceleration * (1 + TOLERANCE),
    )
    least = np.array([lower, -velocity, -acceleration])
    return least, np.array([upper, velocity, acceleration])


def _satisfies(parts: MotionSegments, bounds: Bounds) -> bool:
    """Say whether a motion keeps all bounds.

    Positions and velocities of an arc lie between those of its Bezier points; Ruckig keeps
    velocity, acceleration and jerk itself and tells the extreme positions.
    """
    least, most = bounds
    for part in parts:
        if isinstance(part, JerkSegment):
            hull, low, high = part.hull(), least[HULL_DERIVATIVE], most[HULL_DERIVATIVE]  # (9, n)
        else:
            hull = np.array([(bound.min, bound.max) for bound in part.position_extrema]).T
            low, high = least[0], most[0]
        if not ((hull >= low).all() and (hull <= high).all()):
            return False
    return bool(parts)


def _reach_exactly(now: State, wanted: State, h: float, limits: Limits) -> MotionSegments:
    """Return the cubic that is at the wanted state `h` [s] from now."""
    if h < 1e-6:
        return ()
    slowest, fastest = -limits.velocity - wanted.qd, limits.velocity - wanted.qd
    onwards = wanted._replace(
        qdd=clip(wanted.qdd, slowest / ACCELERATION_HOLD_TIME, fastest / ACCELERATION_HOLD_TIME)
    )
    return cubic_segment(now, wanted, h), JerkSegment.constant_acceleration(
        onwards, ACCELERATION_HOLD_TIME
    )


def _approach(now: State, wanted: State, _: float, limits: Limits) -> MotionSegments:
    """Return the fastest way to the wanted position and velocity."""
    motion = _solve_ruckig(_ruckig_input(now, limits, wanted))
    return () if motion is None else (motion,)


def _intercept(now: State, wanted: State, h: float, limits: Limits) -> MotionSegments:
    """Return the fastest way to a target that is at the wanted state `h` [s] from now.

    Seen by an observer who moves with the target, it is a place to come to rest at: this tells
    when it is met, and so where.
    """
    start = wanted._replace(q=wanted.q - h * wanted.qd, qd=np.zeros_like(wanted.qd))
    request = _ruckig_input(now._replace(qd=now.qd - wanted.qd), limits, start)
    request.max_velocity = np.maximum(limits.velocity - wanted.qd, TOLERANCE).tolist()
    request.min_velocity = np.minimum(-limits.velocity - wanted.qd, -TOLERANCE).tolist()
    chase = _solve_ruckig(request)
    if chase is None:  # it moves as fast as the arm may
        return _approach(now, wanted, h, limits)
    meeting = wanted._replace(q=wanted.q + (chase.duration - h) * wanted.qd)
    request = _ruckig_input(now, limits, _clip_state(meeting, limits))
    request.minimum_duration = chase.duration
    motion = _solve_ruckig(request)
    return () if motion is None else (motion,)


def _approach_at_rest(now: State, wanted: State, h: float, limits: Limits) -> MotionSegments:
    """Return the fastest way to rest at the wanted position."""
    return _approach(now, wanted._replace(qd=np.zeros_like(wanted.qd)), h, limits)


def _brake(now: State, limits: Limits) -> Trajectory | None:
    """Return the fastest way to rest, anywhere."""
    request = _ruckig_input(now, limits)
    request.control_interface = ControlInterface.Velocity
    request.target_velocity = request.target_acceleration = [0.0] * limits.lower.size
    return _solve_ruckig(request)


def _ruckig_input(now: State, limits: Limits, wanted: State | None = None) -> InputParameter:
    request = InputParameter(limits.lower.size)
    request.current_position = now.q.tolist()
    request.current_velocity = now.qd.tolist()
    acceleration = clip(now.qdd, -limits.acceleration, limits.acceleration)
    request.current_acceleration = acceleration.tolist()
    request.max_velocity = limits.velocity.tolist()
    request.max_acceleration = limits.acceleration.tolist()
    request.max_jerk = limits.jerk.tolist()
    if wanted is not None:
        request.target_position = wanted.q.tolist()
        request.target_velocity = wanted.qd.tolist()
        request.target_acceleration = [0.0] * limits.lower.size
    return request


def _solve_ruckig(request: InputParameter) -> Trajectory | None:
    """Return Ruckig's motion, None if it finds none."""
    motion = Trajectory(request.degrees_of_freedom)
    try:
        result = Ruckig(request.degrees_of_freedom).calculate(request, motion)
    except (RuckigError, ValueError):  # limits that the state breaks; a code without a name
        return None
    return motion if result in (Result.Working, Result.Finished) else None
