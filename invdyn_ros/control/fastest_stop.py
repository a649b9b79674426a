"""The fastest stop of each joint, with limited acceleration and jerk."""

from __future__ import annotations

import math

import numpy as np

from invdyn_ros.control.motion_profile import State
from invdyn_ros.control.safety_limits import Limits
from invdyn_ros.typing import Array


def fastest_stop(qd: Array, qdd: Array, limits: Limits) -> tuple[Array, Array]:
    """Return jerk and duration, (3, n) each, of the fastest motion of each joint to rest.

    The acceleration goes to a peak, stays there, and returns to zero.

    Args:
        qd: (n,) velocity [rad/s].
        qdd: (n,) acceleration [rad/s2].
        limits: limits of the arm.
    """
    # for a few numbers, half the time of arrays
    joints = zip(qd.tolist(), qdd.tolist(), *limits.of_joints, strict=True)
    stops = np.array([_fastest_stop(*joint) for joint in joints])  # (n, 4)
    jerk = stops[:, 0]
    return np.array([jerk, np.zeros(jerk.size), -jerk]), stops[:, 1:].T


def stop_pieces(state: State, limits: Limits) -> Array:
    """Return the pieces (5, 4, n) of the fastest motion of each joint to rest.

    They are those of `integrate` and `fastest_stop`, in less time.

    Args:
        state: state at the start.
        limits: limits of the arm.
    """
    joints = zip(*(x.tolist() for x in state), *limits.of_joints, strict=True)
    pieces = np.array([_stop_pieces(*joint) for joint in joints])  # (n, 5, 4)
    return pieces.transpose(1, 2, 0).copy()


def _fastest_stop(
    qd: float, qdd: float, max_acceleration: float, max_jerk: float
) -> tuple[float, float, float, float]:
    """Return the jerk of the first piece of the fastest stop of a joint, and three durations.

    Args:
        qd: velocity [rad/s].
        qdd: acceleration [rad/s2].
        max_acceleration: limit of the acceleration [rad/s2].
        max_jerk: limit of the jerk [rad/s3].
    """
    # the velocity that is left when the acceleration is brought to zero gives the direction
    change = qdd * qdd / (2 * max_jerk)
    sign = -math.copysign(1.0, qd + math.copysign(change, qdd))
    brake = change - sign * qd  # velocity to brake from a moment of no acceleration
    peak = min(math.sqrt(max(max_jerk * brake, 0.0)), max_acceleration)
    fall = peak / max_jerk
    hold = max(brake / max(peak, 1e-12) - fall, 0.0)
    rise = max(fall - sign * qdd / max_jerk, 0.0)
    return sign * max_jerk, rise, hold, fall


def _stop_pieces(
    q: float, qd: float, qdd: float, max_acceleration: float, max_jerk: float
) -> tuple[tuple[float, ...], ...]:
    """Return time, q, qd, qdd and jerk of the pieces of the fastest stop of a joint, (5, 4).

    Args:
        q: position [rad].
        qd: velocity [rad/s].
        qdd: acceleration [rad/s2].
        max_acceleration: limit of the acceleration [rad/s2].
        max_jerk: limit of the jerk [rad/s3].
    """
    jerk, rise, hold, fall = _fastest_stop(qd, qdd, max_acceleration, max_jerk)
    qdd_1 = qdd + rise * jerk
    qd_1 = qd + rise / 2 * (qdd + qdd_1)
    q_1 = q + rise * (qd + rise / 6 * (qdd + (qdd + qdd_1)))
    qd_2 = qd_1 + hold / 2 * (qdd_1 + qdd_1)
    q_2 = q_1 + hold * (qd_1 + hold / 6 * (qdd_1 + (qdd_1 + qdd_1)))
    qdd_3 = qdd_1 + fall * -jerk  # zero but for rounding
    q_3 = q_2 + fall * (qd_2 + fall / 6 * (qdd_1 + (qdd_1 + qdd_3)))
    return (
        (0.0, rise, rise + hold, rise + hold + fall),
        (q, q_1, q_2, q_3),
        (qd, qd_1, qd_2, 0.0),
        (qdd, qdd_1, qdd_1, 0.0),
        (jerk, 0.0, -jerk, 0.0),
    )
