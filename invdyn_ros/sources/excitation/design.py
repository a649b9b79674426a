"""Design of an excitation motion that tells the parameters of an arm, free of collisions.

The motion consists of parts between rests. In each of them every joint moves smoothly from one
posture to the next, plus a windowed Fourier series:

    q(t) = a + (b - a) s(t) + w(t) sum_k [S_k sin(w_k t) + C_k cos(w_k t)]

The coefficients are chosen by gradient ascent on the log-determinant of the information of the
base parameters (D-optimality, Swevers et al. 1997) with penalties for all limits, for the speed of
the tool, and for clearances. Then each part is scaled down until it keeps all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat

from invdyn_ros.config import Validated
from invdyn_ros.control.joint_motion import JointMotion, SampledMotion, join
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.excitation.excitation_problem import ExcitationProblem
from invdyn_ros.sources.excitation.motion_check import MotionCheck
from invdyn_ros.sources.excitation.motion_parts import (
    draw_postures,
)
from invdyn_ros.typing import Array
from invdyn_ros.workers import JobExecutor, parallel_map

PART_SECONDS = 10.0  # about the duration of a part
MIN_PART_SECONDS = 4.0


@dataclass(frozen=True)
class ExcitationDesign(Validated):
    """What an excitation is designed for."""

    duration: PositiveFloat = 60.0
    """Duration [s]."""
    payload: NonNegativeFloat = 0.0
    """Mass at the tool that the URDF lacks [kg]."""
    tool_speed: PositiveFloat = 1.0
    """Largest speed of tool and joints [m/s]; launch on a real arm with the same one."""
    clearance: NonNegativeFloat = 0.05
    """Distance to obstacles beyond the margin of the motion guard [m]; 40% of it to the arm
    itself."""
    seed: NonNegativeInt = 0
    """Seed of the postures and of the motion at first."""


class DesignedExcitation(NamedTuple):
    """Result of a design.

    Attributes:
        motion: the motion.
        information: log-determinant of the information per base parameter.
        at_first: the same of the random motion at first.
    """

    motion: JointMotion
    information: float
    at_first: float

    @property
    def narrower(self) -> float:
        """How much narrower intervals are than those of the random motion, on average [-]."""
        return math.exp((self.information - self.at_first) / 2)


def design_excitation(
    robot: Robot,
    design: ExcitationDesign,
    obstacles: Obstacles,
    on_step: Callable[[float], None] = lambda fraction: None,
    executor: JobExecutor | None = None,
) -> DesignedExcitation:
    """Return an excitation that starts and ends at home; it does not depend on the executor.

    Args:
        robot: the arm.
        design: duration, payload and margins.
        obstacles: table and boxes.
        on_step: called with the fraction done.
        executor: fits the parts into the limits; None: this process.

    Raises:
        ValueError: the arm is too close to something at home, or the duration is too short.
    """
    if design.duration < MIN_PART_SECONDS:
        raise ValueError(f"duration is {design.duration} s; give {MIN_PART_SECONDS} s or more")
    check = MotionCheck(robot, obstacles, design.clearance, design.tool_speed, design.payload)
    count = max(1, round(design.duration / PART_SECONDS))
    random = np.random.default_rng(design.seed)
    seconds = design.duration / count
    postures = draw_postures(check, count, seconds, random)
    problem = ExcitationProblem(check, postures, seconds)
    first = problem.random_coefficients(random)
    best = problem.optimise(first, on_step)
    # the copy has no MuJoCo model, which cannot be pickled
    run = partial(_feasible_part, replace(robot), obstacles, design, postures)
    jobs = [(k, x[k].numpy()) for x in (best, first) for k in range(count)]
    parts = list(parallel_map(run, jobs, executor))
    motion, at_first = (
        join(robot, some, design.tool_speed, design.payload)
        for some in (parts[:count], parts[count:])
    )
    return DesignedExcitation(
        motion, problem.information_of(motion), problem.information_of(at_first)
    )


def _feasible_part(
    robot: Robot,
    obstacles: Obstacles,
    design: ExcitationDesign,
    postures: Array,
    job: tuple[int, Array],
) -> SampledMotion:
    """Return a part within all limits.

    Args:
        robot: the arm.
        obstacles: table and boxes.
        design: what it is designed for.
        postures: (parts + 1, n) at the ends of the parts [rad].
        job: number of the part, and its relative coefficients (n, 2 k).
    """
    check = MotionCheck(robot, obstacles, design.clearance, design.tool_speed, design.payload)
    problem = ExcitationProblem(check, postures, design.duration / (len(postures) - 1))
    return problem.feasible_part(job[0], torch.from_numpy(job[1]))
