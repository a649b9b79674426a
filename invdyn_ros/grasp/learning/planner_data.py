"""Demonstrations of a grasp enter; what a planner of it learns leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.learning.demonstration_dataset import read_episodes
from invdyn_ros.grasp.policies.planned import TargetExtractor
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.models.planner.planner import PlannerMetadata
from invdyn_ros.models.planner.segments import PlanSegments
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.training.train_planner import PlannerConfig, PlannerData

GRIPPER_JOINT = "gripper"  # the joint after those of the arm: -1 closed, 1 open


def load_planner_data(config: PlannerConfig, data: str | Path) -> PlannerData:
    """Return demonstrations of a grasp as what a planner learns; some episodes judge it.

    Raises:
        ValueError: none there, damaged ones, of other actions than joint velocities or of one
            episode only.
    """
    of, episodes = read_episodes(data)
    few = max(round(config.test_fraction * len(episodes)), 1)
    if few >= len(episodes):
        raise ValueError(f"{data} holds {len(episodes)} episode; a planner needs at least 2")
    order = np.random.default_rng(config.seed).permutation(len(episodes))
    horizon = config.network.horizon
    judge, learn = (
        planning_segments([episodes[k] for k in chosen], horizon, of)
        for chosen in (order[:few], order[few:])
    )
    digest = hashlib.sha256(b"".join(e.observations.tobytes() for e in episodes)).hexdigest()
    content = {"name": Path(data).name, "sha256": digest, "samples": learn.size}
    names = (*load_robot(of.arm).joint_names, GRIPPER_JOINT)
    rate, size = 1 / of.action_space.action_period, of.sizes[0]
    meta = PlannerMetadata(of.arm, names, size, rate, config.network, of.to_dict, content)
    return PlannerData(learn, judge, meta)


def planning_segments(
    episodes: Sequence[Transitions], horizon: int, of: SpaceSpec
) -> PlanSegments:
    """Return all steps with what was wanted in the next `horizon` ones; at the end, to stay.

    The condition is the whole observation: it tells of block and goal.

    Raises:
        ValueError: actions that are no joint velocities.
    """
    wanted, parts = TargetExtractor(of), []
    for episode in episodes:
        seen = np.concatenate([episode.observations, episode.next_observations[-1:]])
        states = wanted(seen)
        still = states[-1:].copy()
        still[:, wanted.n + 1 :] = 0.0
        states = np.concatenate([states, np.repeat(still, horizon, axis=0)])
        now = states[: len(episode.rewards)]
        index = np.arange(len(now))[:, None] + np.arange(1, horizon + 1)
        parts.append((now, episode.observations, states[index] - now[:, None]))
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return PlanSegments(*(torch.as_tensor(column, dtype=torch.float32) for column in columns))
