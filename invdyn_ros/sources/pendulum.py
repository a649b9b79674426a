"""Simulation of a pendulum with closed-form dynamics.

The pendulum hangs at q = 0 and obeys

    tau = m l^2 qdd + b qd + m g l sin(q)

which semi-implicit Euler steps (as in Gymnasium's Pendulum-v1) satisfy exactly with
qdd = (qd' - qd) / dt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from invdyn_ros.config import Validated
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.source import Collection, Source, collect_episodes
from invdyn_ros.sources.transitions import transitions_to_trajectory

NUM_SINES = 4
MAX_FREQUENCY = 6.0  # [rad/s] of the torque; the natural frequency is about 3 rad/s


@dataclass(frozen=True)
class PendulumConfig(Validated):
    """Parameters of the pendulum and of its motion."""

    mass: PositiveFloat = 1.0
    """[kg]"""
    length: PositiveFloat = 1.0
    """[m]"""
    gravity: float = 9.81
    """[m/s2]"""
    damping: NonNegativeFloat = 0.1
    """[N m s/rad]"""
    max_torque: NonNegativeFloat = 8.0
    """[N m]"""
    max_initial_velocity: NonNegativeFloat = 3.0
    """[rad/s] At the start of an episode."""
    rate: PositiveFloat = 50.0
    """[Hz] Steps per second."""
    steps: PositiveInt = 250
    """Steps per episode; 1: (s, a, s') triplets from random states."""
    episodes: PositiveInt = 40
    """Number of episodes."""
    seed: int = 0
    """Random seed of states and torques."""


def simulate_pendulum(config: PendulumConfig) -> Iterator[Trajectory]:
    """Yield episodes from random initial states, with torques that are sums of sines."""
    random = np.random.default_rng(config.seed)
    dt = 1 / config.rate
    for _ in range(config.episodes):
        frequency, phase = random.uniform([0.2, 0], [MAX_FREQUENCY, 2 * np.pi], (NUM_SINES, 2)).T
        weight = random.dirichlet(np.ones(NUM_SINES))
        time = dt * np.arange(config.steps + 1)
        torque = config.max_torque * np.sin(time[:, None] * frequency + phase) @ weight
        state = np.empty((config.steps + 1, 2))
        state[0] = random.uniform(
            [-np.pi, -config.max_initial_velocity], [np.pi, config.max_initial_velocity]
        )
        for k in range(config.steps):
            q, qd = state[k]
            qd = qd + dt * pendulum_acceleration(config, q, qd, torque[k])
            state[k + 1] = q + dt * qd, qd
        yield transitions_to_trajectory(time, state, torque[:-1, None], ("pendulum",), "N m")


def pendulum_acceleration(config: PendulumConfig, q: float, qd: float, torque: float) -> float:
    """Return qdd [rad/s2] in closed form.

    Args:
        config: the pendulum.
        q: angle [rad].
        qd: velocity [rad/s].
        torque: [N m].
    """
    net_torque = (
        torque - config.damping * qd - config.mass * config.gravity * config.length * np.sin(q)
    )
    return float(net_torque / (config.mass * config.length**2))


@dataclass(frozen=True)
class PendulumSource(Source):
    """Simulate a pendulum with closed-form dynamics.

    Parameters other than the defaults are a shift of the dynamics. With --steps 1 the episodes
    are (s, a, s') triplets.
    """

    pendulum: PendulumConfig = field(default_factory=PendulumConfig)
    """The pendulum and its motion."""

    def collect(self) -> Collection:
        """Simulate all episodes."""
        episodes = simulate_pendulum(self.pendulum)
        return collect_episodes(episodes, self.pendulum.episodes, "pendulum")
