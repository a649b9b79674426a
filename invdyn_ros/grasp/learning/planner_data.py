"""Training data of a grasp planner, made from demonstrations."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.learning.demonstration_dataset import read_demonstration_episodes
from invdyn_ros.grasp.policies.planned import TargetExtractor
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.models.planner.planner import PlannerMetadata
from invdyn_ros.models.planner.segments import PlanSegments
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.training.train_planner import PlannerData, PlannerTrainConfig

GRIPPER_JOINT = "gripper"  # last entry of the planned positions: -1 closed, 1 open


def load_planner_data(config: PlannerTrainConfig, data: str | Path) -> PlannerData:
    """Read demonstrations as planner training data, split into training and validation episodes.

    Args:
        config: training settings of the planner.
        data: dataset folder.

    Raises:
        ValueError: no demonstrations, a damaged dataset, or less than two episodes.
    """
    spec, episodes = read_demonstration_episodes(data)
    val_count = max(round(config.test_fraction * len(episodes)), 1)
    if val_count >= len(episodes):
        raise ValueError(f"{data} holds {len(episodes)} episode; a planner needs at least 2")
    order = np.random.default_rng(config.seed).permutation(len(episodes))
    horizon = config.network.horizon
    val, train = (
        planning_segments([episodes[k] for k in indices], horizon, spec)
        for indices in (order[:val_count], order[val_count:])
    )
    digest = hashlib.sha256(b"".join(e.observations.tobytes() for e in episodes)).hexdigest()
    content = {"name": Path(data).name, "sha256": digest, "samples": train.size}
    names = (*load_robot(spec.arm).joint_names, GRIPPER_JOINT)
    rate, size = 1 / spec.action_space.action_period, spec.sizes[0]
    meta = PlannerMetadata(spec.arm, names, size, rate, config.network, spec.to_dict(), content)
    return PlannerData(train, val, meta)


def planning_segments(
    episodes: Sequence[Transitions], horizon: int, spec: SpaceSpec
) -> PlanSegments:
    """Return the state, the observation and the next `horizon` desired states of each step.

    The desired states are relative to the state of the step. After the end of an episode, the last
    state repeats with zero velocity. The planner is conditioned on the whole observation, because
    it contains block and goal.

    Args:
        episodes: demonstrations.
        horizon: number of desired states per segment.
        spec: arm and action space of the demonstrations.
    """
    targets, parts = TargetExtractor(spec), []
    for episode in episodes:
        observations = np.concatenate([episode.observations, episode.next_observations[-1:]])
        states = targets.states(targets.position(observations))
        at_rest = states[-1:].copy()
        at_rest[:, targets.n + 1 :] = 0.0
        states = np.concatenate([states, np.repeat(at_rest, horizon, axis=0)])
        current = states[: len(episode.rewards)]
        index = np.arange(len(current))[:, None] + np.arange(1, horizon + 1)
        parts.append((current, episode.observations, states[index] - current[:, None]))
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return PlanSegments(*(torch.as_tensor(column, dtype=torch.float32) for column in columns))
