"""Plans from the current motion to a target, within the safety limits (Ruckig)."""

import numpy as np
from ruckig import ControlInterface, InputParameter, Result, Ruckig, RuckigError, Trajectory

from invdyn_ros.control.motion_profile import (
    HULL_DERIVATIVE,
    JerkSegment,
    Plan,
    State,
    Target,
    cubic_segment,
    segment_state,
    total_duration,
)
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig, clip
from invdyn_ros.typing import Array

MotionSegments = tuple[JerkSegment | Trajectory, ...]
Bounds = tuple[Array, Array]  # smallest and largest position, velocity, acceleration, (3, n) each

ACCELERATION_HOLD_TIME = 0.02  # [s] covers the delay until an action takes effect
ROUNDING_TOLERANCE = 1e-6  # [-, rad]


def hold_plan(q: Array, time: float, reason: str | None = None) -> Plan:
    """Return the plan that stays at a position.

    Args:
        q: (n,) position [rad].
        time: start of the plan [s].
        reason: why the arm holds.
    """
    at_rest = State(np.array(q, float), np.zeros(q.size), np.zeros(q.size))
    return Plan(time, (JerkSegment.constant_acceleration(at_rest, 0.0),), reason)


def stop_plan(plan: Plan, time: float, limits: Limits, reason: str) -> Plan:
    """Return the plan that comes to rest as fast as the limits allow.

    Where braking would violate a position limit, the current plan continues to its own end.

    Args:
        plan: current plan.
        time: current time [s].
        limits: limits of the arm.
        reason: why the arm stops.
    """
    current = plan.at(time)
    brake = _brake(current, limits)
    segments = () if brake is None else (brake,)
    feasible = _satisfies(segments, _motion_bounds(current, limits))
    return Plan(time, segments, reason) if feasible else plan._replace(hold_reason=reason)


def plan_to_target(
    plan: Plan, target: Target, time: float, limits: Limits, config: SafetyLimitsConfig
) -> Plan:
    """Return the plan from the state of `plan` at `time` to the target, within limits.

    A desired state that the arm can reach within the target's horizon is reached exactly. Any
    other is approached as fast as the position, velocity, acceleration and jerk limits allow
    (Ruckig; Berscheid and Kroeger 2021). A moving target (horizon > 0) is intercepted. Afterwards
    the arm keeps the velocity of the target, and comes to rest when the target becomes stale.

    Args:
        plan: current plan.
        target: desired state.
        time: current time [s].
        limits: limits of the arm.
        config: its `target_timeout` is used.
    """
    current, desired = plan.at(time), _clip_state(target.state, limits)
    h, bounds = target.stamp + target.horizon - time, _motion_bounds(current, limits)
    approach = _intercept if target.horizon > 0 else _approach
    for strategy in (_reach_exactly, approach, _approach_at_rest):
        segments = strategy(current, desired, h, limits)
        if not _satisfies(segments, bounds):
            continue
        last = segment_state(segments[-1], segments[-1].duration)
        coast = max(target.stamp + config.target_timeout - time - total_duration(segments), 0.0)
        end = last._replace(qdd=np.zeros(last.q.size))
        for tail in ((JerkSegment.constant_acceleration(end, coast),), ()) if coast else ((),):
            brake = _brake(segment_state(tail[-1], coast) if tail else last, limits)
            if brake is not None and _satisfies((*tail, brake), bounds):
                return Plan(time, (*segments, *tail, brake))
    return plan._replace(hold_reason="no motion to the target is within limits")


def _clip_state(state: State, limits: Limits) -> State:
    """Clip a desired state; a joint beyond its position limit comes to rest at the limit."""
    q = clip(state.q, limits.lower, limits.upper)
    inside = q == state.q
    return State(
        q,
        inside * clip(state.qd, -limits.velocity, limits.velocity),
        inside * clip(state.qdd, -limits.acceleration, limits.acceleration),
    )


def _motion_bounds(current: State, limits: Limits) -> Bounds:
    """Return the bounds of a motion; from outside the position limits it may only move inwards."""
    lower = np.minimum(limits.lower - ROUNDING_TOLERANCE, current.q - 1e-12)
    upper = np.maximum(limits.upper + ROUNDING_TOLERANCE, current.q + 1e-12)
    velocity = limits.velocity * (1 + ROUNDING_TOLERANCE)
    acceleration = limits.acceleration * (1 + ROUNDING_TOLERANCE)
    smallest = np.array([lower, -velocity, -acceleration])
    return smallest, np.array([upper, velocity, acceleration])


def _satisfies(segments: MotionSegments, bounds: Bounds) -> bool:
    """Return whether a motion is within all bounds.

    Positions and velocities of a jerk segment lie between those of its Bezier points. Ruckig
    itself limits velocity, acceleration and jerk, and reports the extreme positions.
    """
    smallest, largest = bounds
    for segment in segments:
        if isinstance(segment, JerkSegment):
            hull, low, high = segment.hull(), smallest[HULL_DERIVATIVE], largest[HULL_DERIVATIVE]
        else:
            hull = np.array([(bound.min, bound.max) for bound in segment.position_extrema]).T
            low, high = smallest[0], largest[0]
        if not ((hull >= low).all() and (hull <= high).all()):
            return False
    return bool(segments)


def _reach_exactly(current: State, desired: State, h: float, limits: Limits) -> MotionSegments:
    """Return the cubic that is at the desired state `h` [s] from now, and its continuation."""
    if h < 1e-6:
        return ()
    slowest, fastest = -limits.velocity - desired.qd, limits.velocity - desired.qd
    continued = desired._replace(
        qdd=clip(desired.qdd, slowest / ACCELERATION_HOLD_TIME, fastest / ACCELERATION_HOLD_TIME)
    )
    return cubic_segment(current, desired, h), JerkSegment.constant_acceleration(
        continued, ACCELERATION_HOLD_TIME
    )


def _approach(current: State, desired: State, _: float, limits: Limits) -> MotionSegments:
    """Return the fastest motion to the desired position and velocity."""
    motion = _solve_ruckig(_ruckig_input(current, limits, desired))
    return () if motion is None else (motion,)


def _intercept(current: State, desired: State, h: float, limits: Limits) -> MotionSegments:
    """Return the fastest motion to a target that is at the desired state `h` [s] from now.

    In the frame that moves with the target, the target is at rest. The fastest motion to it in
    this frame gives the time, and so the position, at which the arm meets the target.
    """
    start = desired._replace(q=desired.q - h * desired.qd, qd=np.zeros_like(desired.qd))
    request = _ruckig_input(current._replace(qd=current.qd - desired.qd), limits, start)
    request.max_velocity = np.maximum(limits.velocity - desired.qd, ROUNDING_TOLERANCE).tolist()
    request.min_velocity = np.minimum(-limits.velocity - desired.qd, -ROUNDING_TOLERANCE).tolist()
    relative = _solve_ruckig(request)
    if relative is None:  # the target moves as fast as the arm can
        return _approach(current, desired, h, limits)
    meeting = desired._replace(q=desired.q + (relative.duration - h) * desired.qd)
    request = _ruckig_input(current, limits, _clip_state(meeting, limits))
    request.minimum_duration = relative.duration
    motion = _solve_ruckig(request)
    return () if motion is None else (motion,)


def _approach_at_rest(current: State, desired: State, h: float, limits: Limits) -> MotionSegments:
    """Return the fastest motion to rest at the desired position."""
    return _approach(current, desired._replace(qd=np.zeros_like(desired.qd)), h, limits)


def _brake(current: State, limits: Limits) -> Trajectory | None:
    """Return the fastest motion to rest at any position."""
    request = _ruckig_input(current, limits)
    request.control_interface = ControlInterface.Velocity
    request.target_velocity = request.target_acceleration = [0.0] * limits.lower.size
    return _solve_ruckig(request)


def _ruckig_input(current: State, limits: Limits, desired: State | None = None) -> InputParameter:
    request = InputParameter(limits.lower.size)
    request.current_position = current.q.tolist()
    request.current_velocity = current.qd.tolist()
    acceleration = clip(current.qdd, -limits.acceleration, limits.acceleration)
    request.current_acceleration = acceleration.tolist()
    request.max_velocity = limits.velocity.tolist()
    request.max_acceleration = limits.acceleration.tolist()
    request.max_jerk = limits.jerk.tolist()
    if desired is not None:
        request.target_position = desired.q.tolist()
        request.target_velocity = desired.qd.tolist()
        request.target_acceleration = [0.0] * limits.lower.size
    return request


def _solve_ruckig(request: InputParameter) -> Trajectory | None:
    """Return Ruckig's motion, None if it finds none."""
    motion = Trajectory(request.degrees_of_freedom)
    try:
        result = Ruckig(request.degrees_of_freedom).calculate(request, motion)
    except (RuckigError, ValueError):  # a state outside the limits; an error code without a name
        return None
    return motion if result in (Result.Working, Result.Finished) else None
