"""Motion that no arm makes: a body or a gymnasium environment enters, its trajectories leave."""

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
    """Say whether a name is that of a body, or of what gymnasium knows, such as Hopper-v5."""
    return name in BODIES or name in gymnasium.registry


def simulate_rollouts(
    name: str, config: PassiveRolloutConfig, seed: int = 0
) -> Iterator[Trajectory]:
    """Return the trajectories (steps, n) of a body or of an environment with MuJoCo physics.

    Raises:
        ValueError: an environment without that physics, or with more coordinates than joints.
    """
    return (
        passive_rollouts(name, config, seed)
        if name in BODIES
        else _environment_rollouts(name, config, seed)
    )


def _environment_rollouts(
    name: str, config: PassiveRolloutConfig, seed: int
) -> Iterator[Trajectory]:
    """Yield episodes of an environment; none ends before its steps are over.

    They start near where it starts them. Its actuators are not its joints, so no action is kept.
    """
    # MuJoCo would write what it thinks of gymnasium's models to a file in the folder of the user
    mujoco.set_mju_user_warning(lambda message: None)
    environment: Any = gymnasium.make(name).unwrapped
    model = getattr(environment, "model", None)
    if model is None or not hasattr(environment, "set_state"):
        raise ValueError(f"{name} has no MuJoCo physics; take one such as Hopper-v5")
    if model.nq != model.njnt:
        raise ValueError(
            f"{name} has {model.nq} coordinates of {model.njnt} joints; this takes one per joint"
        )
    random, n = np.random.default_rng(seed), model.nq
    time = environment.dt * np.arange(config.steps)
    space, none = environment.action_space, np.empty((0, n))
    for episode in range(config.episodes):
        environment.reset(seed=seed * 100_003 + episode)
        q, qd = environment.data.qpos, environment.data.qvel
        changed = config.perturbation * random.uniform(-1, 1, (2, n))
        environment.set_state(q + changed[0], qd + changed[1])
        rows = []
        for action in config.action_scale * random.uniform(-1, 1, (config.steps, *space.shape)):
            rows.append(np.concatenate([environment.data.qpos, environment.data.qvel]))
            middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
            environment.step((middle + action * half).astype(np.float32))
        q, qd = np.split(np.stack(rows), 2, axis=1)
        yield Trajectory(time, q, qd, none, none, joint_names(model), "N m")
    environment.close()
