"""Parts of an excitation: functions of time, and the postures between which they lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.control.joint_motion import SampledMotion
from invdyn_ros.robots.quintic import quintic
from invdyn_ros.sources.excitation.fourier_series import smooth_window
from invdyn_ros.sources.excitation.motion_check import MotionCheck
from invdyn_ros.typing import Array

LOWEST_FREQUENCY, HARMONICS = 0.1, 6  # [Hz] of the Fourier series
FIRST_SPEED = 0.4  # of the first part, which an arm follows whose friction is not known yet
MAX_DRAWS = 2000  # of postures
WAY_SAMPLES = 200  # of the way from one posture to the next


class MotionBasis(NamedTuple):
    """Functions of time, and their derivatives: (3, T) for the way, (3, T, 2 k) for the series."""

    way: Tensor
    series: Tensor


def motion_basis(seconds: float, count: int) -> MotionBasis:
    """Return the functions of time of a part.

    Args:
        seconds: duration [s].
        count: number of samples.
    """
    time = np.linspace(0, seconds, count)
    way = np.stack(quintic(time / seconds, seconds))
    w = 2 * np.pi * LOWEST_FREQUENCY * np.arange(1, HARMONICS + 1)
    s, c = np.sin(time[:, None] * w), np.cos(time[:, None] * w)
    f, fd, fdd = (
        np.concatenate(pair, 1) for pair in ((s, c), (w * c, -w * s), (-(w**2) * s, -(w**2) * c))
    )
    v, vd, vdd = (part[:, None] for part in smooth_window(time, seconds))
    series = np.stack([v * f, vd * f + v * fd, vdd * f + 2 * vd * fd + v * fdd])
    return MotionBasis(torch.from_numpy(way), torch.from_numpy(series))


def draw_postures(
    check: MotionCheck, count: int, seconds: float, random: np.random.Generator
) -> Array:
    """Return postures (count + 1, n) with clear ways between them; the ends are home.

    Args:
        check: the arm with its limits.
        count: number of ways.
        seconds: duration of each [s].
        random: random generator.

    Raises:
        ValueError: the arm is too close to something or singular at home.
    """
    robot, limits = check.robot, check.limits
    near = check.collision.clearance(robot.home)
    if near.distance < 0:
        raise ValueError(
            f"at home, {near.pair[0]} of {robot.name} is too close to {near.pair[1]}; give a "
            "smaller clearance"
        )
    if not check.is_regular(robot.home[None]):
        raise ValueError(
            f"at home, {np.round(robot.home, 2).tolist()}, {robot.name} is near a singularity, "
            "where no excitation begins; give a home with bent joints: 'home: [...]' in FILE.yaml "
            "and --arm FILE.yaml"
        )
    way = motion_basis(seconds, WAY_SAMPLES).way.numpy()[..., None]  # (3, T, 1)
    step = seconds / (WAY_SAMPLES - 1)

    def is_possible(number: int, start: Array, end: Array) -> bool:
        q, qd, qdd = way * (end - start)
        return check.is_within(SampledMotion(start + q, qd, qdd), step, part_speed(number))

    postures = [robot.home]
    for number in range(count - 1):
        for _ in range(MAX_DRAWS):
            q = robot.home + random.uniform() * (
                random.uniform(limits.lower, limits.upper) - robot.home
            )
            if is_possible(number, postures[-1], q) and is_possible(number + 1, q, robot.home):
                postures.append(q)
                break
        else:
            postures.append(robot.home)
    return np.array([*postures, robot.home])


def part_speed(number: int) -> float:
    """Return the fraction of the speed that a part of an excitation may use."""
    return FIRST_SPEED if number == 0 else 1.0


def position_scale(way: Tensor, q: Tensor, check: MotionCheck) -> Tensor:
    """Return the factors (n,) of the series of a part with which it keeps the position limits.

    Args:
        way: (T, n) the part without its series [rad].
        q: (T, n) the part with its series [rad].
        check: the arm with its limits.
    """
    lower, upper = map(torch.from_numpy, (check.limits.lower, check.limits.upper))
    room = torch.where(q > way, upper - way, way - lower).clamp_min(0)
    return (room / (q - way).abs().clamp_min(1e-12)).amin(0).clamp_max(1)
