"""Motions of limited jerk to a target: the smoothest in a given time, or the fastest (Ruckig)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ruckig import InputParameter, Result, Ruckig, RuckigError, Trajectory

from invdyn_ros.control.motion_profile import State, integrate
from invdyn_ros.control.safety_limits import Limits, clip
from invdyn_ros.typing import Array, Mask

ACCELERATION_HOLD_TIME = 0.02  # [s] covers the delay until an action takes effect
MIN_HORIZON = 1e-6  # [s]
MAX_EXTRAPOLATION = 0.25  # [s] after which a target is met at the latest, or else approached
HORIZON_EXPONENTS = np.linspace(0, 1, 16)[:, None]
MAX_APPROACH_TIME = 1e3  # [s]
# (3, 2): the smallest jerks of the thirds of a motion of unit duration that change the position
# and the velocity at its end by one
_TIME_LEFT = np.array([3, 2, 1, 0]) / 3
SMALLEST_JERKS = np.linalg.pinv([-np.diff(_TIME_LEFT**3) / 6, -np.diff(_TIME_LEFT**2) / 2])


class Approach(NamedTuple):
    """Pieces of constant jerk on the way to a target, and after it.

    Attributes:
        jerk: (K, n) [rad/s3].
        duration: (K, n) [s]; the last piece lasts for ever.
        arrival: (n,) time from now at which the target is reached [s].
    """

    jerk: Array
    duration: Array
    arrival: Array


# of the current and the desired state, the time until the latter [s], and the limits
Strategy = Callable[[State, State, float, Limits], Approach | None]


def clip_state(state: State, limits: Limits) -> State:
    """Clip a desired state; a joint beyond its position limit comes to rest at the limit."""
    q = clip(state.q, limits.lower, limits.upper)
    inside = q == state.q
    return State(
        q,
        inside * clip(state.qd, -limits.velocity, limits.velocity),
        inside * clip(state.qdd, -limits.acceleration, limits.acceleration),
    )


def fastest_stop(state: State, limits: Limits) -> tuple[Array, Array]:
    """Return jerk and duration, (3, n) each, of the fastest motion of each joint to rest.

    The acceleration goes to a peak, stays there, and returns to zero.
    """
    _, qd, qdd = state
    # the velocity that is left when the acceleration is brought to zero gives the direction
    sign = np.where(2 * limits.jerk * qd + np.abs(qdd) * qdd > 0, -1.0, 1.0)
    start, change = sign * qdd, -sign * qd
    square = start * start / 2
    peak = np.sqrt(np.maximum(limits.jerk * change + square, 0.0))
    peak = np.maximum(np.minimum(peak, limits.acceleration), start)
    hold = (change - (peak * peak - square) / limits.jerk) / np.maximum(peak, 1e-12)
    jerk = sign * limits.jerk
    return (
        np.array([jerk, np.zeros_like(jerk), -jerk]),
        np.array([(peak - start) / limits.jerk, np.maximum(hold, 0.0), peak / limits.jerk]),
    )


def reach_exactly(
    current: State, desired: State, horizon: float, limits: Limits
) -> Approach | None:
    """Return the motion of smallest jerk to position and velocity at the horizon, if feasible.

    A joint that cannot be there in time, such as one whose target jitters, meets the extrapolated
    target as soon as it can, at the first feasible one of several later times.

    Args:
        current: current state.
        desired: desired state.
        horizon: time until the desired state [s].
        limits: limits of the arm.
    """
    if horizon < MIN_HORIZON:
        return None
    h = np.array([[horizon]])
    jerk, feasible = _smallest_jerk(current, desired, horizon, h, limits)
    if not feasible.all():
        h = horizon * max(MAX_EXTRAPOLATION / horizon, 1.0) ** HORIZON_EXPONENTS
        jerk, feasible = _smallest_jerk(current, desired, horizon, h, limits)
        if not feasible.any(axis=0).all():
            return None
    first = feasible.argmax(axis=0)
    jerk, third = jerk[:, first, np.arange(len(first))], h[first, 0] / 3
    return _continue_along(current, desired.qdd, jerk, third, limits)


def _smallest_jerk(
    current: State, desired: State, horizon: float, h: Array, limits: Limits
) -> tuple[Array, Mask]:
    """Return the jerk (3, M, n) to the target at later times, and whether it is feasible (M, n).

    Args:
        current: current state.
        desired: desired state at the horizon.
        horizon: time until the desired state [s].
        h: (M, 1) times at which to meet the target [s].
        limits: limits of the arm.
    """
    hold = np.minimum(h - horizon, ACCELERATION_HOLD_TIME)
    change = hold * desired.qdd
    end = desired.q + (h - horizon) * (desired.qd + change) - hold / 2 * change
    q = clip(end, limits.lower, limits.upper)
    qd = (q == end) * clip(desired.qd + change, -limits.velocity, limits.velocity)
    away = ((q - current.q) / h - current.qd) / h - current.qdd / 2
    missing = (qd - current.qd) / h - current.qdd
    by_position, by_velocity = SMALLEST_JERKS.T[:, :, None, None]
    jerk = (by_position * away + by_velocity * missing) / h
    qdd = current.qdd + np.add.accumulate(jerk, axis=0) * (h / 3)
    feasible = (np.abs(jerk) <= limits.jerk) & (np.abs(qdd) <= limits.acceleration)
    return jerk, np.asarray(feasible.all(axis=0))


def _continue_along(
    current: State, qdd: Array, jerk: Array, third: Array, limits: Limits
) -> Approach:
    """Return a motion that continues along a target, which soon stops to accelerate.

    Args:
        current: current state.
        qdd: (n,) acceleration of the target [rad/s2].
        jerk: (3, n) of the motion to the target [rad/s3].
        third: (n,) duration of each of its pieces [s].
        limits: limits of the arm.
    """
    thirds = np.array([third, third, third])
    qd, end_qdd = integrate(current, jerk, thirds)[2:4, -1]
    # back to the velocity and acceleration of the target
    difference = end_qdd - qdd
    swing = np.abs(difference) / limits.jerk
    back = np.copysign(limits.jerk, difference)
    # the acceleration ends so early that the velocity stays within its limit
    fall = np.abs(qdd) / limits.jerk
    qd = qd + (1 + np.sqrt(2)) * swing * qdd
    left = np.maximum(limits.velocity - np.sign(qdd) * (qd + fall / 2 * qdd), 0.0)
    hold = np.minimum(left / np.maximum(np.abs(qdd), 1e-9), ACCELERATION_HOLD_TIME)
    none, for_ever = np.zeros_like(qdd), np.full_like(qdd, np.inf)
    return Approach(
        np.concatenate([jerk, [-back, back, none, np.copysign(limits.jerk, -qdd), none]]),
        np.concatenate(
            [thirds, [(1 + np.sqrt(0.5)) * swing, np.sqrt(0.5) * swing, hold, fall, for_ever]]
        ),
        3 * third,
    )


def approach(current: State, desired: State, horizon: float, limits: Limits) -> Approach | None:
    """Return the fastest motion to the desired position and velocity.

    Args:
        current: current state.
        desired: desired state.
        horizon: time until the desired state [s]; not used.
        limits: limits of the arm.
    """
    del horizon
    return _solve_ruckig(_ruckig_input(current, desired, limits))


def approach_at_rest(
    current: State, desired: State, horizon: float, limits: Limits
) -> Approach | None:
    """Return the fastest motion to rest at the desired position.

    Args:
        current: current state.
        desired: desired state.
        horizon: time until the desired state [s]; not used.
        limits: limits of the arm.
    """
    at_rest = desired._replace(qd=np.zeros_like(desired.qd))
    return approach(current, at_rest, horizon, limits)


def intercept(current: State, desired: State, horizon: float, limits: Limits) -> Approach | None:
    """Return the fastest motion to a target that is at the desired state at the horizon.

    In the frame that moves with the target, the target is at rest, and the jerk is the same.

    Args:
        current: current state.
        desired: desired state.
        horizon: time until the desired state [s].
        limits: limits of the arm.
    """
    start = State(desired.q - horizon * desired.qd, np.zeros_like(desired.qd), desired.qdd)
    request = _ruckig_input(current._replace(qd=current.qd - desired.qd), start, limits)
    fastest, slowest = limits.velocity - desired.qd, -limits.velocity - desired.qd
    if (fastest <= 0).any() or (slowest >= 0).any():
        return None  # the target moves as fast as the arm can
    request.max_velocity, request.min_velocity = fastest.tolist(), slowest.tolist()
    return _solve_ruckig(request)


def _ruckig_input(current: State, desired: State, limits: Limits) -> InputParameter:
    n = limits.lower.size
    request = InputParameter(n)
    request.current_position = current.q.tolist()
    request.current_velocity = current.qd.tolist()
    acceleration = clip(current.qdd, -limits.acceleration, limits.acceleration)
    request.current_acceleration = acceleration.tolist()
    request.max_velocity = limits.velocity.tolist()
    request.max_acceleration = limits.acceleration.tolist()
    request.max_jerk = limits.jerk.tolist()
    request.target_position = desired.q.tolist()
    request.target_velocity = desired.qd.tolist()
    request.target_acceleration = [0.0] * n
    return request


def _solve_ruckig(request: InputParameter) -> Approach | None:
    """Return Ruckig's motion, None if it finds none."""
    n = request.degrees_of_freedom
    motion = Trajectory(n)
    try:
        result = Ruckig(n).calculate(request, motion)
    except (RuckigError, ValueError):  # a state outside the limits; an error code without a name
        return None
    if result not in (Result.Working, Result.Finished) or motion.duration > MAX_APPROACH_TIME:
        return None
    profiles = motion.profiles[0]
    duration, jerk = [p.t for p in profiles], [p.j for p in profiles]
    if any(p.brake.duration or p.accel.duration for p in profiles):
        # from outside the limits of velocity or acceleration, and to outside of them
        duration = [[*p.brake.t, *p.t, *p.accel.t] for p in profiles]
        jerk = [[*p.brake.j, *p.j, *p.accel.j] for p in profiles]
    ends, for_ever = np.zeros((n, 1)), np.full((n, 1), np.inf)
    return Approach(
        np.hstack([jerk, ends]).T, np.hstack([duration, for_ever]).T, np.full(n, motion.duration)
    )
