"""Demonstrations by the scripted policy, and a replay buffer that contains them.

Each batch mixes demonstrations and online data as in RLPD (Ball et al. 2023, arXiv:2302.02948).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeInt
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from invdyn_ros.config import Probability, Validated
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.scripted_agent import ScriptedAgent
from invdyn_ros.grasp.envs.transitions import Transitions

DEMONSTRATION_SEED_OFFSET = 1_000_000  # from the seed of training


@dataclass(frozen=True)
class DemonstrationConfig(Validated):
    """Demonstrations for an RL algorithm.

    Attributes:
        data: folder that `invdyn collect grasp` or `expert` wrote; empty: none.
        episodes: number of further demonstrations, successful episodes of the scripted policy.
        demo_fraction: fraction of each batch that an off-policy algorithm draws from
            demonstrations.
        bc_steps: gradient steps of behavior cloning before the first environment step.
    """

    data: str = ""
    episodes: NonNegativeInt = 0
    demo_fraction: Probability = 0.25
    bc_steps: NonNegativeInt = 0

    @property
    def enabled(self) -> bool:
        """Whether there are any demonstrations."""
        return bool(self.data or self.episodes)


def record_demonstrations(env: GraspEnv, episodes: int, seed: int) -> Transitions:
    """Run the scripted policy and return its successful episodes.

    Args:
        env: environment to run it in.
        episodes: number of successful episodes to return.
        seed: seed of the training run.

    Raises:
        ValueError: the policy fails in more than half of the episodes.
    """
    policy, rows, successes = ScriptedAgent(env), [], 0
    for attempt in range(2 * episodes):
        first_seed = seed + DEMONSTRATION_SEED_OFFSET if attempt == 0 else None
        episode, success = _run_episode(env, policy, first_seed)
        if success:
            rows += episode
            successes += 1
        if successes == episodes:
            return Transitions.from_rows(rows)
    raise ValueError(
        f"the scripted policy succeeded in {successes} of {2 * episodes} episodes, "
        f"less than the required {episodes}; lower demonstrations.episodes, or collect data with "
        "'invdyn collect expert'"
    )


def _run_episode(
    env: GraspEnv, policy: ScriptedAgent, seed: int | None
) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the transitions of one episode, and whether the block was placed."""
    observation, info = env.reset(seed=seed)
    policy.reset()
    rows, done = [], False
    while not done:
        action = policy.act(observation, info)
        next_observation, reward, terminated, truncated, info = env.step(action)
        rows.append((observation, next_observation, action, reward, float(terminated)))
        observation, done = next_observation, terminated or truncated
    return rows, bool(info["is_success"])


class DemonstrationReplayBuffer(ReplayBuffer):
    """Replay buffer that draws a fixed fraction of each batch from demonstrations."""

    def __init__(
        self,
        *args: Any,
        demonstrations: Transitions | None = None,
        demo_fraction: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """Create a buffer; see `ReplayBuffer`.

        Args:
            *args: arguments of `ReplayBuffer`.
            demonstrations: transitions to draw from; None: a plain replay buffer.
            demo_fraction: fraction of each batch that is drawn from the demonstrations.
            **kwargs: arguments of `ReplayBuffer`.
        """
        super().__init__(*args, **kwargs)
        self.demonstrations = demonstrations
        self.demo_fraction = demo_fraction if demonstrations is not None else 0.0

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Return a batch: demonstrations first, then transitions of the learner."""
        count = round(self.demo_fraction * batch_size)
        if self.demonstrations is None or not count:
            return super().sample(batch_size, env)
        demonstrations = self.demonstrations
        # NumPy's global generator, as in the base class, so that one seed determines both
        index = np.random.randint(len(demonstrations.rewards), size=count)  # noqa: NPY002
        columns = (
            demonstrations.observations[index],
            demonstrations.actions[index],
            demonstrations.next_observations[index],
            demonstrations.dones[index, None],
            demonstrations.rewards[index, None],
        )
        demo = [self.to_torch(column) for column in columns]
        if count == batch_size:
            return ReplayBufferSamples(*demo)
        replay = super().sample(batch_size - count, env)
        online = (
            replay.observations,
            replay.actions,
            replay.next_observations,
            replay.dones,
            replay.rewards,
        )
        return ReplayBufferSamples(*(torch.cat(pair) for pair in zip(demo, online, strict=True)))
