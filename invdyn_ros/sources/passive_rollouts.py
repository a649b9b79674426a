"""Passive rollouts of planar bodies without actuators.

The bodies are the hopper and the walker of the DeepMind Control Suite (arXiv 1801.00690). Rollouts
start at random initial states and have no control, as those of the hopper by Rubanova et al. 2019
(arXiv 1907.03907, section 4.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from invdyn_ros.config import Probability, Validated
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.robots.robot import package_file

BODIES = ("hopper", "walker")
MAX_POSITION, MAX_ANGLE = 0.5, 2.0  # [m], [rad] of initial states
MAX_VELOCITY = 5.0  # [m/s, rad/s] of initial states
ROOT_COORDINATES = 2  # number of coordinates that are positions [m]; the others are angles [rad]


@dataclass(frozen=True)
class PassiveRolloutConfig(Validated):
    """Rollouts of a body or an environment."""

    episodes: PositiveInt = 10_000
    """Number of rollouts."""
    steps: PositiveInt = 200
    """Samples per rollout, one per simulation step."""
    perturbation: NonNegativeFloat = 0.1
    """Largest perturbation of each initial position and velocity of an environment."""
    action_scale: Probability = 0.0
    """Fraction of the action range of an environment from which its random actions are drawn."""


def load_body(name: str) -> mujoco.MjModel:
    """Load the MuJoCo model of a body.

    Raises:
        ValueError: there is no such body.
    """
    if name not in BODIES:
        raise ValueError(f"no body '{name}'; known are {', '.join(BODIES)}")
    return mujoco.MjModel.from_xml_path(str(package_file(f"urdf/{name}.xml")))


def joint_names(model: mujoco.MjModel) -> tuple[str, ...]:
    """Return the names of the n joints."""
    return tuple(model.joint(k).name for k in range(model.njnt))


def passive_rollouts(
    name: str, config: PassiveRolloutConfig, seed: int = 0
) -> Iterator[Trajectory]:
    """Yield trajectories (steps, n) of a body, without actions.

    Seed 123 reproduces the published trajectories. The first two coordinates are positions [m],
    the others angles [rad].

    Args:
        name: of the body.
        config: number and length of the rollouts.
        seed: random seed.

    Raises:
        ValueError: there is no such body.
    """
    model = load_body(name)
    data, names, n = mujoco.MjData(model), joint_names(model), model.nq
    random = np.random.RandomState(seed)  # as for the published data
    time = model.opt.timestep * np.arange(config.steps)
    for _ in range(config.episodes):
        mujoco.mj_resetData(model, data)
        data.qpos[:ROOT_COORDINATES] = random.uniform(0, MAX_POSITION, ROOT_COORDINATES)
        data.qpos[ROOT_COORDINATES:] = random.uniform(-MAX_ANGLE, MAX_ANGLE, n - ROOT_COORDINATES)
        data.qvel[:] = random.uniform(-MAX_VELOCITY, MAX_VELOCITY, n)
        state = np.empty((config.steps, 2 * n))
        for row in state:
            row[:n], row[n:] = data.qpos, data.qvel
            mujoco.mj_step(model, data)
        absent = np.empty((0, n))
        yield Trajectory(time, state[:, :n], state[:, n:], absent, absent, names, "N m")
