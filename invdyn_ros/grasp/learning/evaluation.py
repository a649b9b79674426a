"""Trying out a policy: environments and a policy enter, successes with their interval leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pydantic import PositiveInt
from stable_baselines3.common.vec_env import VecEnv

from invdyn_ros.config import Validated
from invdyn_ros.grasp.policies.success_rate import success_interval


@dataclass(frozen=True)
class PolicyEvaluationConfig(Validated):
    """How a policy is tried out while it learns.

    Attributes:
        every: steps of the environments between evaluations.
        episodes: of one evaluation, always the same ones.
    """

    eval_freq: PositiveInt = 10_000
    n_eval_episodes: PositiveInt = 40


class EvaluationResult(NamedTuple):
    """How a policy did.

    Attributes:
        step: when.
        seconds: of learning and evaluating until then.
        successes: in so many
        episodes: of an evaluation.
        reward: mean sum of an episode.
    """

    timesteps: int
    seconds: float
    successes: int
    episodes: int
    mean_reward: float

    @property
    def score(self) -> tuple[int, float]:
        """What the better of two results of the same episodes has more of."""
        return self.successes, self.mean_reward

    def __str__(self) -> str:
        """Successes with their 95% interval."""
        low, high = success_interval(self.successes, self.episodes)
        return f"{self.successes} of {self.episodes} ({low:.0%} to {high:.0%})"


def evaluate_policy(
    act: Callable[[Any], np.ndarray], env: VecEnv, episodes: int
) -> EvaluationResult:
    """Return how a policy does, each environment in its next episodes."""
    left = [episodes // env.num_envs + (i < episodes % env.num_envs) for i in range(env.num_envs)]
    observation, rewards, outcomes = env.reset(), [], []
    while any(left):
        observation, _, dones, infos = env.step(act(observation))
        for i in np.flatnonzero(dones):
            if left[i]:
                left[i] -= 1
                rewards.append(infos[i]["episode"]["r"])
                outcomes.append(bool(infos[i]["is_success"]))
    return EvaluationResult(0, 0.0, sum(outcomes), len(outcomes), float(np.mean(rewards)))
