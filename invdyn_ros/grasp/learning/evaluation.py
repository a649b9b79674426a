"""Evaluation of policies in vectorized environments."""

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
    """Settings of the evaluations during training.

    Attributes:
        eval_freq: environment steps between evaluations.
        n_eval_episodes: number of episodes per evaluation, the same ones each time.
    """

    eval_freq: PositiveInt = 10_000
    n_eval_episodes: PositiveInt = 40


class EvaluationResult(NamedTuple):
    """Result of an evaluation.

    Attributes:
        timesteps: environment steps of training before the evaluation.
        seconds: wall time from the start of the run to the end of the evaluation [s].
        successes: number of successful episodes.
        episodes: number of episodes.
        mean_reward: mean return of the episodes.
    """

    timesteps: int
    seconds: float
    successes: int
    episodes: int
    mean_reward: float

    @property
    def score(self) -> tuple[int, float]:
        """Sort key: successes, then mean reward."""
        return self.successes, self.mean_reward

    def __str__(self) -> str:
        """Successes with their 95% interval."""
        low, high = success_interval(self.successes, self.episodes)
        return f"{self.successes} of {self.episodes} ({low:.0%} to {high:.0%})"


def evaluate_policy(
    act: Callable[[Any], np.ndarray], env: VecEnv, episodes: int
) -> EvaluationResult:
    """Run a policy for some episodes of each environment.

    Args:
        act: returns actions (P, a) for the observations of P environments.
        env: P environments, each wrapped in a `Monitor`.
        episodes: total number of episodes, divided evenly among the environments.

    Returns:
        The result; `timesteps` and `seconds` are 0.
    """
    remaining = [
        episodes // env.num_envs + (i < episodes % env.num_envs) for i in range(env.num_envs)
    ]
    observation, rewards, outcomes = env.reset(), [], []
    while any(remaining):
        observation, _, dones, infos = env.step(act(observation))
        for i in np.flatnonzero(dones):
            if remaining[i]:
                remaining[i] -= 1
                rewards.append(infos[i]["episode"]["r"])
                outcomes.append(bool(infos[i]["is_success"]))
    return EvaluationResult(0, 0.0, sum(outcomes), len(outcomes), float(np.mean(rewards)))
