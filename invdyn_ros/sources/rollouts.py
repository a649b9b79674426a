"""Roll-outs of Gymnasium's MuJoCo machines: the name of one enters, its trajectories leave.

Random controls move it from a start that is off the usual one (Towers et al. 2024, arXiv
2407.17032). Episodes go on where the task of the environment would end them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from invdyn_ros.config import Checked, Count, NotNegative
from invdyn_ros.trajectory import Trajectory

MAKER = "gymnasium.envs.mujoco"  # package of the environments that are machines


@dataclass(frozen=True)
class RolloutConfig(Checked):
    """How a Gymnasium environment is recorded."""

    episodes: Count = 100
    """Trajectories."""
    steps: Count = 200
    """Samples of each, one per step of the environment."""
    perturbation: NotNegative = 0.2
    """Largest offset of each position [m, rad] and velocity [m/s, rad/s] at the start."""
    seed: int = 0
    """Of starts and controls."""


def machine(name: str) -> Any:
    """Return the environment of a machine, without its wrappers.

    Raises:
        ValueError: no such environment, none of MuJoCo, or one that turns freely in space.
    """
    known = sorted(
        k for k, v in gymnasium.registry.items() if str(v.entry_point).startswith(MAKER)
    )
    latest = sorted(k for k in known if k.endswith("-v5"))
    if name not in known:
        raise ValueError(f"no MuJoCo environment '{name}'; known are {', '.join(latest)}")
    try:
        environment: Any = gymnasium.make(name).unwrapped
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(
            f"{name} cannot start: {error}; take one of {', '.join(latest)}"
        ) from error
    if environment.model.nq != environment.model.nv:
        raise ValueError(f"{name} has joints of more than one angle, which no trajectory holds")
    return environment


def rollouts(name: str, config: RolloutConfig) -> Iterator[Trajectory]:
    """Yield trajectories (steps, n); actions are the generalised forces of all motors.

    Raises:
        ValueError: as `machine`.
    """
    environment = machine(name)
    model, data = environment.model, environment.data
    names = tuple(model.joint(k).name or f"joint{k}" for k in range(model.njnt))
    random, none = np.random.default_rng(config.seed), np.empty((0, model.nv))
    environment.action_space.seed(config.seed)
    time = environment.dt * np.arange(config.steps)
    start = np.stack([environment.init_qpos, environment.init_qvel])
    for _ in range(config.episodes):
        environment.reset(seed=int(random.integers(2**31)))
        offset = random.uniform(-config.perturbation, config.perturbation, start.shape)
        environment.set_state(*(start + offset))
        rows = []
        for _ in range(config.steps):
            state = data.qpos.copy(), data.qvel.copy()
            environment.step(environment.action_space.sample())
            rows.append((*state, data.qfrc_actuator.copy()))
        position, velocity, force = map(np.stack, zip(*rows, strict=True))
        yield Trajectory(time, position, velocity, none, force, names, "N m")
