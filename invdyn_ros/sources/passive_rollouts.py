"""Bodies without motors, thrown and left alone: a name enters, their trajectories leave.

The hopper and the walker of the DeepMind Control Suite (arXiv 1801.00690) as Rubanova et al. 2019
(arXiv 1907.03907, section 4.3) record the hopper: from states drawn at random, without control.
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
MAX_POSITION, MAX_ANGLE, MAX_VELOCITY = (
    0.5,
    2.0,
    5.0,
)  # largest coordinate of the root [m], angle, speed drawn
ROOT_COORDINATES = 2  # coordinates that are its place [m]; the others are angles [rad]


@dataclass(frozen=True)
class PassiveRolloutConfig(Validated):
    """How a body without motors is recorded."""

    episodes: PositiveInt = 10_000
    """Trajectories of a body without motors."""
    steps: PositiveInt = 200
    """Samples of each, one per step of its simulation."""
    perturbation: NonNegativeFloat = 0.1
    """Largest change of each coordinate, and of its rate, at the start of an environment."""
    action_scale: Probability = 0.0
    """Share of the range of an environment's actions that it is driven with at random."""


def load_body(name: str) -> mujoco.MjModel:
    """Load a body by name.

    Raises:
        ValueError: there is no such body.
    """
    if name not in BODIES:
        raise ValueError(f"no body '{name}'; known are {', '.join(BODIES)}")
    return mujoco.MjModel.from_xml_path(str(package_file(f"urdf/{name}.xml")))


def joint_names(model: mujoco.MjModel) -> tuple[str, ...]:
    """Return the names of its n joints."""
    return tuple(model.joint(k).name for k in range(model.njnt))


def passive_rollouts(
    name: str, config: PassiveRolloutConfig, seed: int = 0
) -> Iterator[Trajectory]:
    """Yield trajectories (steps, n) of a body, without actions; seed 123 gives the published ones.

    The first two coordinates are its place [m] and [m/s], the others angles [rad] and [rad/s].

    Raises:
        ValueError: there is no such body.
    """
    model = load_body(name)
    data, names, n = mujoco.MjData(model), joint_names(model), model.nq
    random = np.random.RandomState(seed)  # the generator of the published data
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
        none = np.empty((0, n))
        yield Trajectory(time, state[:, :n], state[:, n:], none, none, names, "N m")
