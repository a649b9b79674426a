"""Excitation trajectories for the identification of an arm.

Each joint follows a finite Fourier series (Swevers et al. 1997, eq. 6), drawn at random within the
limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from invdyn_ros.config import Fraction, Validated
from invdyn_ros.robots.collision import CollisionModel
from invdyn_ros.robots.obstacles import FREE_SPACE
from invdyn_ros.robots.quintic import quintic
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.excitation.posture_sequence import (
    PostureLimits,
    PostureSequence,
    SmoothMotion,
)
from invdyn_ros.typing import Array

LIMIT_SAMPLES = 600  # samples per episode that are compared with the limits
SPEED_SCALES = (0.25, 1.0)  # slow episodes excite friction and gravity
CLEARANCE_SAMPLES = 150  # per motion, at which the arm must not touch itself
MAX_DRAWS = 500  # of a motion without contact


@dataclass(frozen=True)
class ExcitationConfig(Validated):
    """Excitation trajectories of a dataset.

    Attributes:
        minutes: total duration [min].
        episode_seconds: duration of one episode [s].
        harmonics: number of sines and cosines per joint.
        base_frequency: lowest frequency [Hz].
        velocity_fraction: fraction of the velocity limits [-].
        acceleration_fraction: fraction of the acceleration limits [-].
        range_fraction: fraction of the joint range [-].
        candidates: candidates per episode, of which the most informative one is used.
        max_amplitude: largest distance of a joint from its center [rad].
        point_to_point: fraction of the episodes that go from one random posture to the next, each
            way at a random speed, instead of along Fourier series [-].
        seed: seed of the motion and of the noise of the plant.
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
    point_to_point: Annotated[float, Field(ge=0, le=1)] = 0.0
    seed: int = 0

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return max(1, round(60 * self.minutes / self.episode_seconds))


class ExcitationTrajectory(SmoothMotion):
    """Fourier series per joint that starts and ends at rest."""

    def __init__(
        self,
        robot: Robot,
        config: ExcitationConfig,
        random: np.random.Generator,
        speed_scale: float,
    ) -> None:
        """Draw center and amplitudes at random.

        Args:
            robot: the arm, for its limits.
            config: duration, frequencies and fractions of the limits.
            random: random generator.
            speed_scale: scale of the velocity, and its square of the acceleration.
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
        max_amplitude = half * random.uniform(0.5, 1.0, n)
        scale = np.min(
            [
                max_amplitude / np.abs(q).max(0),
                speed_scale * config.velocity_fraction * robot.velocity / np.abs(qd).max(0),
                speed_scale**2
                * config.acceleration_fraction
                * robot.acceleration
                / np.abs(qdd).max(0),
            ],
            axis=0,
        )
        self.sine_amplitude *= scale[:, None]
        self.cosine_amplitude *= scale[:, None]
        slack = half - max_amplitude
        self.center = (robot.upper + robot.lower) / 2 + random.uniform(-slack, slack)

    def motion(self, time: Array) -> tuple[Array, Array, Array]:
        """Return position, velocity and acceleration, each (T, n), at times (T,) [s]."""
        w = self.frequency
        s, c = np.sin(time[:, None] * w), np.cos(time[:, None] * w)  # (T, k)
        q = s @ self.sine_amplitude.T + (c - 1) @ self.cosine_amplitude.T
        qd = c @ (self.sine_amplitude * w).T - s @ (self.cosine_amplitude * w).T
        qdd = -s @ (self.sine_amplitude * w**2).T - c @ (self.cosine_amplitude * w**2).T
        window, rate, curvature = (x[:, None] for x in smooth_window(time, self.duration))
        return (
            self.center + window * q,
            window * qd + rate * q,
            window * qdd + 2 * rate * qd + curvature * q,
        )


def posture_limits(robot: Robot, config: ExcitationConfig) -> PostureLimits:
    """Return the limits of moves from posture to posture, those of an excitation."""
    reach = config.range_fraction * (robot.upper - robot.lower) / 2
    return PostureLimits(
        middle=(robot.upper + robot.lower) / 2,
        reach=np.minimum(reach, config.max_amplitude),
        velocity=config.velocity_fraction * robot.velocity,
        acceleration=config.acceleration_fraction * robot.acceleration,
    )


class FreeExcitations:
    """Random motions of an arm in free space in which it does not touch itself."""

    def __init__(self, robot: Robot) -> None:
        """Load the shapes of an arm.

        Raises:
            ValueError: a mesh of the URDF does not exist or cannot be read.
        """
        self.robot, self._collision = robot, CollisionModel(robot, FREE_SPACE)

    def draw(
        self, config: ExcitationConfig, random: np.random.Generator, speed_scale: float
    ) -> ExcitationTrajectory:
        """Return the first motion without contact; see `ExcitationTrajectory`.

        Args:
            config: duration, frequencies and fractions of the limits.
            random: random generator.
            speed_scale: scale of the velocity.

        Raises:
            ValueError: there is none.
        """
        for _ in range(MAX_DRAWS):
            motion = ExcitationTrajectory(self.robot, config, random, speed_scale)
            time = np.linspace(0, motion.duration, CLEARANCE_SAMPLES)
            if self._is_free(motion.motion(time)[0]):
                return motion
        raise ValueError(
            f"{self.robot.name} touches itself in {MAX_DRAWS} random motions; give a smaller "
            "range_fraction or max_amplitude"
        )

    def draw_point_to_point(
        self, config: ExcitationConfig, random: np.random.Generator
    ) -> PostureSequence:
        """Return moves from posture to posture without contact.

        Args:
            config: duration and fractions of the limits.
            random: random generator.

        Raises:
            ValueError: there are none.
        """
        limits = posture_limits(self.robot, config)
        return PostureSequence(
            limits, config.episode_seconds, random, self._is_free, SPEED_SCALES[0]
        )

    def _is_free(self, positions: Array) -> bool:
        """Return whether the arm does not touch itself at positions (T, n) [rad]."""
        return all(self._collision.clearances(q).min(initial=0) >= 0 for q in positions)


def smooth_window(time: Array, length: float) -> tuple[Array, Array, Array]:
    """Return a window (T,), rising and falling in a tenth of the duration, and its derivatives."""
    ramp = length / 10  # [s]
    time_to_end: Array = np.minimum(time, length - time)
    x: Array = np.clip(time_to_end / ramp, 0.0, 1.0)
    sign: Array = np.where(time < length / 2, 1.0, -1.0)
    value, rate, curvature = quintic(x, ramp)
    return value, rate * sign, curvature
