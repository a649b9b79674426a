"""Rollouts of planar bodies and Gymnasium environments with MuJoCo physics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import mujoco
import numpy as np

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.passive_rollouts import (
    BODIES,
    PassiveRolloutConfig,
    joint_names,
    passive_rollouts,
)


def has_rollouts(name: str) -> bool:
    """Return whether a body or a Gymnasium environment, such as Hopper-v5, has this name."""
    return name in BODIES or name in gymnasium.registry


def simulate_rollouts(
    name: str, config: PassiveRolloutConfig, seed: int = 0
) -> Iterator[Trajectory]:
    """Return the trajectories (steps, n) of a body or an environment with MuJoCo physics.

    Args:
        name: of the body or environment.
        config: number and length of the rollouts.
        seed: random seed.

    Raises:
        ValueError: an environment without MuJoCo, or with more coordinates than joints.
    """
    return (
        passive_rollouts(name, config, seed)
        if name in BODIES
        else _environment_rollouts(name, config, seed)
    )


def _environment_rollouts(
    name: str, config: PassiveRolloutConfig, seed: int
) -> Iterator[Trajectory]:
    """Yield rollouts of an environment, perturbed at the start and never terminated early.

    The actions are not stored: they belong to actuators, not to joints.
    """
    # MuJoCo would write its warnings about Gymnasium's models to a file in the current folder
    mujoco.set_mju_user_warning(lambda message: None)
    environment: Any = gymnasium.make(name).unwrapped
    model = getattr(environment, "model", None)
    if model is None or not hasattr(environment, "set_state"):
        raise ValueError(f"{name} has no MuJoCo physics; choose an environment such as Hopper-v5")
    if model.nq != model.njnt:
        raise ValueError(
            f"{name} has {model.nq} coordinates for {model.njnt} joints; choose an environment "
            "with one per joint"
        )
    random, n = np.random.default_rng(seed), model.nq
    time = environment.dt * np.arange(config.steps)
    space, absent = environment.action_space, np.empty((0, n))
    for episode in range(config.episodes):
        environment.reset(seed=seed * 100_003 + episode)
        q, qd = environment.data.qpos, environment.data.qvel
        perturbation = config.perturbation * random.uniform(-1, 1, (2, n))
        environment.set_state(q + perturbation[0], qd + perturbation[1])
        rows = []
        for action in config.action_scale * random.uniform(-1, 1, (config.steps, *space.shape)):
            rows.append(np.concatenate([environment.data.qpos, environment.data.qvel]))
            middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
            environment.step((middle + action * half).astype(np.float32))
        q, qd = np.split(np.stack(rows), 2, axis=1)
        yield Trajectory(time, q, qd, absent, absent, joint_names(model), "N m")
    environment.close()
