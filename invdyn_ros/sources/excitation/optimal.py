"""Choice of the excitations of a dataset for the information that they hold together.

Of several candidates per episode one is chosen so that the information matrix of the base
parameters has a large determinant (D-optimality: Swevers et al. 1997, sec. III; exchange: Fedorov
1972, ch. 3).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.models.least_squares_identification import friction_terms
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.excitation.fourier_series import (
    SPEED_SCALES,
    ExcitationConfig,
    FreeExcitations,
)
from invdyn_ros.sources.excitation.posture_sequence import SmoothMotion
from invdyn_ros.typing import Array
from invdyn_ros.workers import JobExecutor, parallel_map

INFORMATION_SAMPLES = 100  # samples per episode for the information matrix
RANDOM_STATES = 500  # number of states that determine the identifiable parameters
FRICTION_VELOCITY = 0.02  # [rad/s] at which Coulomb friction is fully developed
EXCHANGE_PASSES = 5  # over all episodes; few candidates change after the third
REGULARIZATION = 1e-9  # of the information matrix, which is singular for one short episode
EPISODES_PER_JOB = 8  # building the information of an arm takes as long as some episodes
RANK_TOLERANCE = 1e-7  # relative singular value of parameters without effect on torques


class FisherInformation:
    """Fisher information of motions on the base parameters, relative to random states."""

    def __init__(self, robot: Robot) -> None:
        """Compute the identifiable parameters from random states within the limits of an arm."""
        self.tree = RigidBodyTree.from_urdf(robot.rigid_body_urdf(), robot.joint_names)
        self.weight = 1 / robot.effort  # the noise is proportional to the effort limit
        random = np.random.default_rng(0)
        q = random.uniform(robot.lower, robot.upper, (RANDOM_STATES, robot.n))
        qd, qdd = (
            random.uniform(-1, 1, q.shape) * limit
            for limit in (robot.velocity, robot.acceleration)
        )
        A = self.regressor(q, qd, qdd)
        _, values, rows = np.linalg.svd(A / np.sqrt(RANDOM_STATES), full_matrices=False)
        identifiable = values > RANK_TOLERANCE * values[0]
        # (m, base), scaled so that the information of the random states is the identity
        self.basis = rows[identifiable].T / values[identifiable]

    def of_motion(self, motion: SmoothMotion) -> Array:
        """Return the information (base, base) per sample of one episode."""
        A = self.regressor(*motion.motion(np.linspace(0, motion.duration, INFORMATION_SAMPLES)))
        A = A @ self.basis
        return A.T @ A / INFORMATION_SAMPLES

    def regressor(self, q: Array, qd: Array, qdd: Array) -> Array:
        """Return the weighted torque per parameter (T n, m).

        Args:
            q: (T, n) positions [rad].
            qd: (T, n) velocities [rad/s].
            qdd: (T, n) accelerations [rad/s2].
        """
        parts = [torch.from_numpy(np.ascontiguousarray(x)) for x in (q, qd, qdd)]
        return np.asarray(self.weighted_columns(*parts).numpy())

    def weighted_columns(self, q: Tensor, qd: Tensor, qdd: Tensor) -> Tensor:
        """Return the weighted torque per parameter (T n, m), differentiable.

        Args:
            q: (T, n) positions [rad].
            qd: (T, n) velocities [rad/s].
            qdd: (T, n) accelerations [rad/s2].
        """
        friction = friction_terms(qd, qdd, FRICTION_VELOCITY)  # (T, n, 4)
        blocks = torch.einsum("tik,ij->tijk", friction, torch.eye(q.shape[1]).to(q))
        columns = torch.cat([self.tree.regressor(q, qd, qdd), blocks.flatten(-2)], -1)
        return (columns * torch.from_numpy(self.weight)[:, None]).flatten(0, 1)


def optimal_excitations(
    robot: Robot, config: ExcitationConfig, executor: JobExecutor | None = None
) -> list[SmoothMotion]:
    """Return one motion per episode, chosen for the information of all episodes together.

    Args:
        robot: the arm.
        config: duration, frequencies and fractions of the limits.
        executor: draws the candidates; None: this process.
    """
    starts = range(0, config.num_episodes, EPISODES_PER_JOB)
    jobs = [range(k, min(k + EPISODES_PER_JOB, config.num_episodes)) for k in starts]
    draw = partial(_draw_candidates, replace(robot), config)  # a copy without MuJoCo model
    drawn = [episode for part in parallel_map(draw, jobs, executor) for episode in part]
    if config.candidates == 1:
        return [motions[0] for motions, _ in drawn]
    chosen = fedorov_exchange(np.array([information for _, information in drawn]))
    return [motions[k] for (motions, _), k in zip(drawn, chosen, strict=True)]


def _draw_candidates(
    robot: Robot, config: ExcitationConfig, episodes: range
) -> list[tuple[list[SmoothMotion], list[Array]]]:
    """Return the candidates of each episode, and their information where one is to be chosen."""
    speed_scales = np.random.default_rng(config.seed).uniform(*SPEED_SCALES, config.num_episodes)
    free, fisher = FreeExcitations(robot), None
    if config.candidates > 1:
        fisher = FisherInformation(robot)
    num_series = config.num_episodes - round(config.point_to_point * config.num_episodes)
    drawn = []
    for episode in episodes:
        random, scale = np.random.default_rng([config.seed, episode]), speed_scales[episode]
        motions: list[SmoothMotion] = [
            free.draw(config, random, scale)
            if episode < num_series
            else free.draw_point_to_point(config, random)
            for _ in range(config.candidates)
        ]
        drawn.append((motions, [fisher.of_motion(motion) for motion in motions] if fisher else []))
    return drawn


def fedorov_exchange(information: Array) -> list[int]:
    """Choose a candidate per episode by Fedorov's exchange, for a large determinant of the sum.

    Args:
        information: (episodes, candidates, base, base) information matrices.
    """
    chosen = [0] * len(information)
    total = information[:, 0].sum(0) + REGULARIZATION * np.eye(information.shape[-1])
    for _ in range(EXCHANGE_PASSES):
        before = list(chosen)
        for episode, candidates in enumerate(information):
            total -= candidates[chosen[episode]]
            chosen[episode] = int(np.argmax(np.linalg.slogdet(total + candidates)[1]))
            total += candidates[chosen[episode]]
        if chosen == before:
            break
    return chosen
