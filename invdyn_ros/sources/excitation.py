"""Motion that tells much about an arm's dynamics: its limits enter, Fourier series leave.

A finite Fourier series per joint (Swevers et al. 1997, eq. 6), drawn at random within the limits.
Of several candidates per episode the set is kept whose information on the base parameters has a
large determinant (D-optimality: Swevers et al. 1997, sec. III; exchange: Fedorov 1972, ch. 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt

from invdyn_ros.config import Fraction, Validated
from invdyn_ros.control.safety_limits import State
from invdyn_ros.models.least_squares_identification import friction_terms
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

LIMIT_SAMPLES = 600  # samples of an episode that are held against the limits
INFORMATION_SAMPLES = 100  # samples of an episode that are judged
RANDOM_STATES = 500  # random states that tell which parameters show at all
FRICTION_VELOCITY = 0.02  # [rad/s] where Coulomb friction has built up
SPEED_SCALES = (0.25, 1.0)  # slow episodes show friction and gravity
EXCHANGE_PASSES = 5  # over all episodes; few change after the third
REGULARIZATION = 1e-9  # information that one short episode may lack
RANK_TOLERANCE = 1e-7  # singular value, beside the largest, of what never shows in a torque


@dataclass(frozen=True)
class ExcitationConfig(Validated):
    """How the arm is moved to learn its dynamics.

    Attributes:
        minutes: length of all episodes together [min].
        episode: length of one episode [s].
        harmonics: number of sines per joint.
        base: lowest frequency [Hz].
        speed: share of the velocity limits that is used [-].
        acceleration: share of the acceleration limits that is used [-].
        span: share of the joint range that is used [-].
        candidates: series drawn per episode, of which the most informative one is moved.
        reach: farthest from the middle of its range a joint goes [rad].
        seed: seed of the motion and of the plant's noise.
    """

    minutes: PositiveFloat = 10.0
    episode_seconds: PositiveFloat = 15.0
    harmonics: PositiveInt = 5
    base_frequency: PositiveFloat = 0.1
    velocity_fraction: Fraction = 0.7
    acceleration_fraction: Fraction = 0.5
    range_fraction: Fraction = 0.8
    candidates: PositiveInt = 12
    max_amplitude: float = 2.0
    seed: int = 0

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return max(1, round(60 * self.minutes / self.episode_seconds))


class Excitation:
    """One episode: a Fourier series per joint that starts and ends at rest."""

    def __init__(
        self,
        robot: Robot,
        config: ExcitationConfig,
        random: np.random.Generator,
        speed_scale: float,
    ) -> None:
        """Draw middle, phases and amplitudes.

        Args:
            robot: the arm, for its limits.
            config: how much of the limits is used.
            random: where the figures come from.
            pace: share of the speed (and its square of the acceleration) that is used.
        """
        self.duration = config.episode_seconds
        n, k = robot.n, config.harmonics
        self.frequency = 2 * np.pi * config.base_frequency * np.arange(1, k + 1)  # (k,) [rad/s]
        self.sine_amplitude = random.standard_normal((n, k)) / self.frequency
        self.cosine_amplitude = random.standard_normal((n, k)) / self.frequency
        self.center = np.zeros(n)
        q, qd, qdd = self.motion(np.linspace(0, self.duration, LIMIT_SAMPLES))
        half = np.minimum(
            config.range_fraction * (robot.upper - robot.lower) / 2, config.max_amplitude
        )
        room = half * random.uniform(0.5, 1.0, n)
        share = np.min(
            [
                room / np.abs(q).max(0),
                speed_scale * config.velocity_fraction * robot.velocity / np.abs(qd).max(0),
                speed_scale**2
                * config.acceleration_fraction
                * robot.acceleration
                / np.abs(qdd).max(0),
            ],
            axis=0,
        )
        self.sine_amplitude *= share[:, None]
        self.cosine_amplitude *= share[:, None]
        slack = half - room
        self.center = (robot.upper + robot.lower) / 2 + random.uniform(-slack, slack)

    def motion(self, time: Array) -> tuple[Array, Array, Array]:
        """Return position, velocity and acceleration, each (T, n), at times (T,) [s]."""
        w = self.frequency
        s, c = np.sin(time[:, None] * w), np.cos(time[:, None] * w)  # (T, k)
        q = s @ self.sine_amplitude.T + (c - 1) @ self.cosine_amplitude.T
        qd = c @ (self.sine_amplitude * w).T - s @ (self.cosine_amplitude * w).T
        qdd = -s @ (self.sine_amplitude * w**2).T - c @ (self.cosine_amplitude * w**2).T
        window, rate, bend = (x[:, None] for x in _window(time, self.duration))
        return (
            self.center + window * q,
            window * qd + rate * q,
            window * qdd + 2 * rate * qd + bend * q,
        )

    def state_at(self, time: float) -> State:
        """Return the wanted state at a time [s]."""
        return State(*(part[0] for part in self.motion(np.array([time]))))


class Information:
    """How much motions tell about the base parameters, beside states drawn all over the limits."""

    def __init__(self, robot: Robot) -> None:
        """Find the combinations of parameters that show in the torques of the arm."""
        self.tree = RigidBodyTree.from_urdf(robot.xml(), robot.joint_names)
        self.weight = 1 / robot.effort  # noise grows with the motor
        random = np.random.default_rng(0)
        q = random.uniform(robot.lower, robot.upper, (RANDOM_STATES, robot.n))
        qd, qdd = (
            random.uniform(-1, 1, q.shape) * limit
            for limit in (robot.velocity, robot.acceleration)
        )
        A = self.regressor(q, qd, qdd)
        _, values, rows = np.linalg.svd(A / np.sqrt(RANDOM_STATES), full_matrices=False)
        seen = values > RANK_TOLERANCE * values[0]
        self.basis = rows[seen].T / values[seen]  # (m, base): random states have information I

    def of_motion(self, motion: Excitation) -> Array:
        """Return the information (base, base) per sample of one episode."""
        A = self.regressor(*motion.motion(np.linspace(0, motion.duration, INFORMATION_SAMPLES)))
        A = A @ self.basis
        return A.T @ A / INFORMATION_SAMPLES

    def regressor(self, q: Array, qd: Array, qdd: Array) -> Array:
        """Return the weighted torque per parameter (T n, m) of a motion (T, n)."""
        parts = [torch.from_numpy(np.ascontiguousarray(x)) for x in (q, qd, qdd)]
        friction = friction_terms(parts[1], parts[2], FRICTION_VELOCITY).numpy()  # (T, n, 4)
        blocks = np.einsum("tik,ij->tijk", friction, np.eye(q.shape[1]))
        columns = [self.tree.regressor(*parts).numpy(), blocks.reshape(*q.shape, -1)]
        return (np.concatenate(columns, -1) * self.weight[:, None]).reshape(q.size, -1)


def optimal_excitations(robot: Robot, config: ExcitationConfig) -> list[Excitation]:
    """Return one motion per episode, chosen for what all of them tell together."""
    paces = np.random.default_rng(config.seed).uniform(*SPEED_SCALES, config.num_episodes)
    tried = [
        [Excitation(robot, config, random, pace) for _ in range(config.candidates)]
        for pace, random in zip(paces, map(np.random.default_rng, _seeds(config)), strict=True)
    ]
    if config.candidates == 1:
        return [motions[0] for motions in tried]
    information = Information(robot)
    added = np.array([[information.of_motion(motion) for motion in motions] for motions in tried])
    return [motions[k] for motions, k in zip(tried, fedorov_exchange(added), strict=True)]


def fedorov_exchange(information: Array) -> list[int]:
    """Choose one candidate per episode for a large determinant of their sum (Fedorov's exchange).

    Args:
        added: (episodes, candidates, base, base) information of each.
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


def _seeds(config: ExcitationConfig) -> list[list[int]]:
    return [[config.seed, episode] for episode in range(config.num_episodes)]


def _window(time: Array, length: float) -> tuple[Array, Array, Array]:
    """Return a smooth rise and fall over the first and last tenth, with two derivatives."""
    edge = length / 10
    near: Array = np.minimum(time, length - time)
    x: Array = np.clip(near / edge, 0.0, 1.0)
    sign: Array = np.where(time < length / 2, 1.0, -1.0)
    value: Array = x**3 * (10 - 15 * x + 6 * x * x)
    rate: Array = 30 * x**2 * (1 - x) ** 2 / edge
    bend: Array = 60 * x * (1 - x) * (1 - 2 * x) / edge**2
    return value, rate * sign, bend
