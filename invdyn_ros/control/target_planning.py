"""Plans from the current motion to a target, within the safety limits."""

import numpy as np

from invdyn_ros.control.approach import (
    Approach,
    Strategy,
    approach,
    approach_at_rest,
    clip_state,
    intercept,
    reach_exactly,
)
from invdyn_ros.control.fastest_stop import fastest_stop, stop_pieces
from invdyn_ros.control.motion_profile import (
    Extrema,
    MotionProfile,
    Plan,
    State,
    Target,
    integrate,
)
from invdyn_ros.control.safety_limits import ROUNDING_TOLERANCE, Limits, SafetyLimitsConfig
from invdyn_ros.typing import Array, Mask

REST_TOLERANCE = 1e-11  # [rad/s, rad/s2]
STRATEGIES: tuple[Strategy, ...] = (approach, approach_at_rest)
MOVING_STRATEGIES: tuple[Strategy, ...] = (reach_exactly, intercept, *STRATEGIES)


def hold_plan(q: Array, time: float, reason: str | None = None) -> Plan:
    """Return the plan that stays at a position.

    Args:
        q: (n,) position [rad].
        time: start of the plan [s].
        reason: why the arm holds.
    """
    return Plan(time, MotionProfile.at_rest(q), reason)


def brake_plan(state: State, time: float, limits: Limits, reason: str | None) -> Plan | None:
    """Return the plan of the fastest stop, None if it would violate a position limit.

    Each joint stops as fast as it can: it travels the shortest way, and does not wait for a slower
    one.

    Args:
        state: current state.
        time: current time [s].
        limits: limits of the arm.
        reason: why the arm stops.
    """
    profile = MotionProfile(stop_pieces(state, limits))
    within = _joints_within(profile, state, limits)
    return Plan(time, profile, reason) if within is None else None


def stop_plan(plan: Plan, time: float, limits: Limits, reason: str) -> Plan:
    """Return the plan that comes to rest as fast as the limits allow.

    Where braking would violate a position limit, the current plan continues to its own end.

    Args:
        plan: current plan.
        time: current time [s].
        limits: limits of the arm.
        reason: why the arm stops.
    """
    brake = brake_plan(plan.at(time), time, limits, reason)
    return plan._replace(hold_reason=reason) if brake is None else brake


def plan_to_target(
    plan: Plan, target: Target, time: float, limits: Limits, config: SafetyLimitsConfig
) -> Plan:
    """Return the plan from the state of `plan` at `time` to the target, within limits.

    A desired position and velocity that the arm can reach within the target's horizon, or soon
    after it, are reached exactly, by the smallest possible jerk. Any other is approached as fast
    as the limits of position, velocity, acceleration and jerk allow (Ruckig; Berscheid and Kroeger
    2021). A moving target (horizon > 0) is intercepted. Afterwards the arm keeps the velocity of
    the target. It comes to rest when the target becomes stale.

    Args:
        plan: current plan.
        target: desired state.
        time: current time [s].
        limits: limits of the arm.
        config: its `target_timeout` is used.
    """
    current, desired = plan.at(time), clip_state(target.state, limits)
    horizon = target.stamp + target.horizon - time
    stale = max(target.stamp + config.target_timeout - time, 0.0)
    for strategy in _strategies(desired, target.horizon > 0):
        motion = strategy(current, desired, horizon, limits)
        if motion is None:
            continue
        profile = _then_brake(current, motion, stale, limits)
        if profile is not None:
            return Plan(time, profile)
    reason = "no motion to the target is within limits"
    if (np.abs(current.qd) > limits.velocity).any():  # the limits were reduced
        return stop_plan(plan, time, limits, reason)
    return plan._replace(hold_reason=reason)


def _strategies(desired: State, is_moving: bool) -> tuple[Strategy, ...]:
    """Return the strategies to try in turn; to a desired state at rest, several are the same.

    Args:
        desired: desired state.
        is_moving: whether it is desired at a time, not as soon as possible.
    """
    if np.count_nonzero(desired.qd):
        return MOVING_STRATEGIES if is_moving else STRATEGIES
    return (reach_exactly, approach) if is_moving else (approach,)


def _then_brake(
    current: State, motion: Approach, stale: float, limits: Limits
) -> MotionProfile | None:
    """Return the motion until the target is stale, then to rest; None if not within limits.

    A joint that could not stop within its limits then brakes on arrival instead.

    Args:
        current: current state.
        motion: motion to the target.
        stale: time from now at which the target is stale [s].
        limits: limits of the arm.
    """
    begin = np.zeros_like(motion.duration)
    np.add.accumulate(motion.duration[:-1], axis=0, out=begin[1:])
    until = np.full(len(current.q), stale)
    for _ in range(2):
        duration = np.minimum(np.maximum(until - begin, 0.0), motion.duration)
        profile = _arrive_and_brake(current, motion, duration, limits)
        if profile is None:
            profile = _brake_anywhere(current, motion.jerk, duration, limits)
        within = _joints_within(profile, current, limits)
        if within is None:
            return profile
        until = np.where(within, until, motion.arrival)
    return None


def _arrive_and_brake(
    current: State, motion: Approach, duration: Array, limits: Limits
) -> MotionProfile | None:
    """Return the motion to rest, None if it brakes before it has its last velocity.

    Args:
        current: current state.
        motion: motion to the target.
        duration: (K, n) duration of each piece of the motion [s].
        limits: limits of the arm.
    """
    if np.count_nonzero(duration[:-1] < motion.duration[:-1]):
        return None
    jerk, time = fastest_stop(motion.qd, np.zeros(motion.qd.size), limits)
    pieces = integrate(
        current, np.concatenate([motion.jerk, jerk]), np.concatenate([duration, time])
    )
    if np.count_nonzero(np.abs(pieces[2:4, -1]) > REST_TOLERANCE):
        return None
    pieces[2:, -1] = 0.0  # without rounding errors
    return MotionProfile(pieces)


def _brake_anywhere(current: State, jerk: Array, duration: Array, limits: Limits) -> MotionProfile:
    """Return a motion of pieces of constant jerk, followed by the fastest stop.

    Args:
        current: current state.
        jerk: (K, n) [rad/s3].
        duration: (K, n) [s].
        limits: limits of the arm.
    """
    pieces = integrate(current, jerk, duration)
    brake = stop_pieces(State(*pieces[1:4, -1]), limits)
    brake[0] += pieces[0, -1]
    return MotionProfile(np.concatenate([pieces[:, :-1], brake], axis=1))


def _joints_within(profile: MotionProfile, current: State, limits: Limits) -> Mask | None:
    """Return which joints (n,) stay within limits; None if all do."""
    within = profile.joints_within(limits.motion)
    if within is None:
        return None
    bounds = _motion_bounds(current, limits)
    for joint in (~within).nonzero()[0].tolist():
        smallest, largest = profile.extrema(joint)
        is_low = np.count_nonzero(smallest < bounds.smallest[:, joint])
        within[joint] = not (is_low or np.count_nonzero(largest > bounds.largest[:, joint]))
    return None if within.all() else within


def _motion_bounds(current: State, limits: Limits) -> Extrema:
    """Return the bounds of a motion from the current state.

    From outside the position limits, it may only go inwards. A velocity above its limit, which was
    reduced, may rise as long as it takes to bring the acceleration to zero.
    """
    q, qd, qdd = current
    rise = np.abs(qdd) * qdd / (2 * limits.jerk)
    speed = np.maximum(limits.velocity, np.maximum(np.abs(qd), np.abs(qd + rise)))
    smallest, largest = (bound.copy() for bound in limits.motion)
    np.multiply(speed, 1 + ROUNDING_TOLERANCE, out=largest[1])
    np.negative(largest[1], out=smallest[1])
    np.minimum(smallest[0], q - 1e-12, out=smallest[0])
    np.maximum(largest[0], q + 1e-12, out=largest[0])
    return Extrema(smallest, largest)
