"""Motions of limited jerk to a target: the smoothest in a given time, or the fastest (Ruckig)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ruckig import InputParameter, Result, Ruckig, RuckigError, Trajectory

from invdyn_ros.control.motion_profile import State
from invdyn_ros.control.safety_limits import Limits, clip
from invdyn_ros.typing import Array

ACCELERATION_HOLD_TIME = 0.02  # [s] covers the delay until an action takes effect
NEGLIGIBLE = 1e-10  # [rad, rad/s, rad/s2]
MIN_HORIZON = 1e-6  # [s]
TOO_FAST = 1 + 1e-6  # of the velocity limit [-]
MAX_EXTRAPOLATION = 0.25  # [s] after which a target is met at the latest, or else approached
HORIZON_EXPONENTS = np.linspace(0, 1, 16)[:, None]
MAX_APPROACH_TIME = 1e3  # [s]
# (3, 2): the smallest jerks of the thirds of a motion of unit duration that change the position
# and the velocity at its end by one
_TIME_LEFT = np.array([3, 2, 1, 0]) / 3
SMALLEST_JERKS = np.linalg.pinv([-np.diff(_TIME_LEFT**3) / 6, -np.diff(_TIME_LEFT**2) / 2])


# Durations of the two pieces of limited jerk that bring the acceleration to zero and leave the
# velocity as it is, relative to acceleration / jerk.
SWING_TIMES = 1 + np.sqrt(0.5), np.sqrt(0.5)


class Approach(NamedTuple):
    """Pieces of constant jerk on the way to a target, and after it.

    Attributes:
        jerk: (K, n) [rad/s3].
        duration: (K, n) [s]; the last piece lasts for ever.
        arrival: (n,) time from now at which the target is reached [s].
        qd: (n,) velocity in the last piece [rad/s].
    """

    jerk: Array
    duration: Array
    arrival: Array
    qd: Array


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
    too_fast = np.abs(current.qd) > TOO_FAST * limits.velocity  # since the limit was reduced
    if horizon < MIN_HORIZON or np.count_nonzero(too_fast):
        return None
    n, third = limits.lower.size, horizon / 3
    jerk = _smallest_jerk(current, desired.q, desired.qd, horizon)
    qdd = current.qdd + third * np.add.accumulate(jerk, axis=0)
    too_large = np.count_nonzero(np.abs(jerk) > limits.jerk)
    if not (too_large or np.count_nonzero(np.abs(qdd) > limits.acceleration)):
        return _continue_along(current.qdd, desired[1:], jerk, np.full(n, third), limits)
    h = horizon * max(MAX_EXTRAPOLATION / horizon, 1.0) ** HORIZON_EXPONENTS
    q, qd = _extrapolate(desired, h - horizon, limits)
    jerk = _smallest_jerk(current, q, qd, h)
    qdd = current.qdd + np.add.accumulate(jerk, axis=0) * (h / 3)
    feasible = ((np.abs(jerk) <= limits.jerk) & (np.abs(qdd) <= limits.acceleration)).all(axis=0)
    if not feasible.any(axis=0).all():
        return None
    first, joints = feasible.argmax(axis=0), np.arange(n)
    jerk, third = jerk[:, first, joints], h[first, 0] / 3
    return _continue_along(current.qdd, (qd[first, joints], desired.qdd), jerk, third, limits)


def _extrapolate(desired: State, later: Array, limits: Limits) -> tuple[Array, Array]:
    """Return position and velocity (M, n) of a target at times (M, 1) after the desired state."""
    hold = np.minimum(later, ACCELERATION_HOLD_TIME)
    change = hold * desired.qdd
    end = desired.q + later * (desired.qd + change) - hold / 2 * change
    q = clip(end, limits.lower, limits.upper)
    return q, (q == end) * clip(desired.qd + change, -limits.velocity, limits.velocity)


def _smallest_jerk(current: State, q: Array, qd: Array, h: Array | float) -> Array:
    """Return the smallest jerk (3, ...) to position and velocity at a time.

    Args:
        current: current state.
        q: (..., n) position at the end [rad].
        qd: (..., n) velocity at the end [rad/s].
        h: (..., 1) time until then [s].
    """
    away = ((q - current.q) / h - current.qd) / h - current.qdd / 2
    missing = (qd - current.qd) / h - current.qdd
    ends = np.array([away / h, missing / h])
    return SMALLEST_JERKS.dot(ends.reshape(2, -1)).reshape(3, *away.shape)


def _continue_along(
    qdd_start: Array, target: tuple[Array, Array], jerk: Array, third: Array, limits: Limits
) -> Approach:
    """Return a motion that continues along a target, which soon stops to accelerate.

    Args:
        qdd_start: (n,) acceleration at the start [rad/s2].
        target: (n,) velocity [rad/s] and acceleration [rad/s2] of the target on arrival.
        jerk: (3, n) of the motion to the target [rad/s3].
        third: (n,) duration of each of its pieces [s].
        limits: limits of the arm.
    """
    qd, qdd = target
    # back to the velocity and the acceleration of the target
    difference = qdd_start + third * np.add.reduce(jerk, axis=0) - qdd
    back = np.copysign(limits.jerk, difference)
    swing = difference / back
    # the acceleration ends so early that the velocity stays within its limit
    fall = np.abs(qdd) / limits.jerk
    qd = qd + (sum(SWING_TIMES) * swing + fall / 2) * qdd
    left = limits.velocity - np.copysign(1.0, qdd) * qd
    hold = np.minimum(left / np.maximum(np.abs(qdd), 1e-9), ACCELERATION_HOLD_TIME)
    hold = np.maximum(hold, 0.0)
    none, for_ever = np.zeros(qdd.size), np.full(qdd.size, np.inf)
    tail = [-back, back, none, np.copysign(limits.jerk, -qdd), none]
    rise, settle = SWING_TIMES
    durations = [third, third, third, rise * swing, settle * swing, hold, fall, for_ever]
    return Approach(np.array([*jerk, *tail]), np.array(durations), 3 * third, qd + hold * qdd)


def approach(current: State, desired: State, horizon: float, limits: Limits) -> Approach | None:
    """Return the fastest motion to the desired position and velocity.

    Args:
        current: current state.
        desired: desired state.
        horizon: time until the desired state [s]; not used.
        limits: limits of the arm.
    """
    del horizon
    return _solve_ruckig(_ruckig_input(current, desired, limits), desired.qd)


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
    return _solve_ruckig(request, desired.qd)


def _ruckig_input(current: State, desired: State, limits: Limits) -> InputParameter:
    n = limits.lower.size
    request = InputParameter(n)
    q, qd, qdd = (x.tolist() for x in current)
    goal, (acceleration, jerk) = desired.q.tolist(), limits.of_joints
    # Ruckig finds no motion between states that differ by rounding errors
    request.current_position = [
        end if abs(end - start) < NEGLIGIBLE else start for start, end in zip(q, goal, strict=True)
    ]
    request.current_velocity = [0.0 if abs(x) < NEGLIGIBLE else x for x in qd]
    request.current_acceleration = [
        0.0 if abs(x) < NEGLIGIBLE else min(max(x, -largest), largest)
        for x, largest in zip(qdd, acceleration, strict=True)
    ]
    request.max_velocity = limits.velocity.tolist()
    request.max_acceleration, request.max_jerk = acceleration, jerk
    request.target_position, request.target_velocity = goal, desired.qd.tolist()
    request.target_acceleration = [0.0] * n
    return request


def _solve_ruckig(request: InputParameter, qd: Array) -> Approach | None:
    """Return Ruckig's motion, which ends with a velocity qd (n,); None if it finds none."""
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
    jerks, durations = np.zeros((len(jerk[0]) + 1, n)), np.full((len(jerk[0]) + 1, n), np.inf)
    jerks[:-1], durations[:-1] = np.array(jerk).T, np.array(duration).T
    return Approach(jerks, durations, np.full(n, motion.duration), qd)
