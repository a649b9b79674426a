"""Motions from one posture to the next, for the validation of what an excitation identified."""

from __future__ import annotations

import numpy as np

from invdyn_ros.control.joint_motion import JointMotion, SampledMotion, join
from invdyn_ros.robots.quintic import PEAK_VELOCITY, quintic
from invdyn_ros.sources.excitation.motion_check import MotionCheck
from invdyn_ros.typing import Array

DURATIONS = (0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 4.0)  # [s] of a move, the shortest possible one
REST = 0.3  # [s] after each move
MAX_DRAWS = 3000


def point_to_point(check: MotionCheck, seconds: float, seed: int) -> JointMotion:
    """Return moves between random postures within all limits, from home to home.

    Args:
        check: the arm with its limits; the motion keeps them.
        seconds: duration after which the arm returns [s].
        seed: random seed.

    Raises:
        ValueError: there is no such motion.
    """
    robot, limits, random = check.robot, check.limits, np.random.default_rng(seed)
    moves: list[SampledMotion] = []
    q, time = robot.home, 0.0
    for _ in range(MAX_DRAWS):
        is_last = time > seconds
        goal = robot.home if is_last else random.uniform(limits.lower, limits.upper)
        fraction = 1.0 if is_last else random.uniform(0.2, 1.0)
        end = robot.home + fraction * (goal - robot.home)
        move = _fastest_move(check, q, end)
        if move is None:
            continue
        if not is_last and _fastest_move(check, end, robot.home) is None:
            continue
        moves.append(move)
        q, time = end, time + (len(move.q) - 1) / robot.rate
        if is_last:
            break
    else:
        raise ValueError(f"{robot.name} finds no way from posture to posture within its limits")
    return join(robot, moves, check.tool_speed, check.payload)


def _fastest_move(check: MotionCheck, start: Array, end: Array) -> SampledMotion | None:
    """Return q, qd and qdd of the fastest quintic move with a rest after it; None if none is.

    Args:
        check: the arm with its limits.
        start: (n,) [rad].
        end: (n,) [rad].
    """
    rate, way = check.robot.rate, end - start
    for duration in DURATIONS:
        if (PEAK_VELOCITY / duration * np.abs(way) > check.limits.velocity).any():
            continue
        time = np.arange(round((duration + REST) * rate) + 1) / rate
        q, qd, qdd = (way * x for x in quintic(np.minimum(time / duration, 1)[:, None], duration))
        move = SampledMotion(start + q, qd, qdd)
        if check.is_within(move, 1 / rate):
            return move
    return None
