"""A script acts, transitions leave; a buffer draws a share of each batch from such as these."""

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
from invdyn_ros.grasp.envs.scripted_expert import ScriptedPolicy
from invdyn_ros.grasp.envs.transitions import Transitions

DEMONSTRATION_SEED_OFFSET = (
    1_000_000  # seeds of demonstrations start this far from those of training
)


@dataclass(frozen=True)
class DemonstrationConfig(Validated):
    """How a script, or whoever was recorded, helps an algorithm.

    Attributes:
        data: folder of `invdyn collect grasp`, all of which is shown; empty: none.
        episodes: how many successful ones of the script are shown besides; 0: none.
        share: of each batch that is drawn from them, by an algorithm with a memory.
        cloning: steps of imitating them before the first step in the environment.
    """

    data: str = ""
    episodes: NonNegativeInt = 0
    demo_fraction: Probability = 0.25
    bc_steps: NonNegativeInt = 0

    @property
    def enabled(self) -> bool:
        """Whether anything is shown."""
        return bool(self.data or self.episodes)


def record_demonstrations(environment: GraspEnv, episodes: int, seed: int) -> Transitions:
    """Let the script act in an environment, and keep the episodes in which it succeeds.

    Raises:
        ValueError: it fails in more than half of all tries.
    """
    script, rows, kept = ScriptedPolicy(environment), [], 0
    for tries in range(2 * episodes):
        episode, success = _episode(
            environment, script, seed + DEMONSTRATION_SEED_OFFSET if tries == 0 else None
        )
        if success:
            rows += episode
            kept += 1
        if kept == episodes:
            return Transitions.from_rows(rows)
    raise ValueError(f"the script succeeded in {kept} of {2 * episodes} episodes; too few to show")


def _episode(
    environment: GraspEnv, script: ScriptedPolicy, seed: int | None
) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the rows of one episode, and whether it was a success."""
    observation, info = environment.reset(seed=seed)
    script.reset()
    rows, over = [], False
    while not over:
        action = script(info)
        following, reward, placed, late, info = environment.step(action)
        rows.append((observation, following, action, reward, float(placed)))
        observation, over = following, placed or late
    return rows, bool(info["placed"])


class DemonstrationReplayBuffer(ReplayBuffer):
    """A replay buffer that takes a fixed share of each batch from demonstrations."""

    def __init__(
        self,
        *arguments: Any,
        demonstrations: Transitions | None = None,
        demo_fraction: float = 0.0,
        **named: Any,
    ) -> None:
        """Make a buffer; see `ReplayBuffer`.

        Args:
            *arguments: of a plain buffer.
            shown: the demonstrations; None: a plain buffer.
            share: of each batch that is drawn from them.
            **named: of a plain buffer.
        """
        super().__init__(*arguments, **named)
        self.shown, self.share = (
            demonstrations,
            demo_fraction if demonstrations is not None else 0.0,
        )

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Return a batch: first the demonstrations, then what the learner did itself."""
        count = round(self.share * batch_size)
        if self.shown is None or not count:
            return super().sample(batch_size, env)
        shown = self.shown  # drawn as the base draws, so that one seed rules both
        at = np.random.randint(len(shown.rewards), size=count)  # noqa: NPY002
        columns = (
            shown.observations[at],
            shown.actions[at],
            shown.next_observations[at],
            shown.dones[at, None],
            shown.rewards[at, None],
        )
        old = [self.to_torch(column) for column in columns]
        if count == batch_size:
            return ReplayBufferSamples(*old)
        own = super().sample(batch_size - count, env)
        new = (own.observations, own.actions, own.next_observations, own.dones, own.rewards)
        return ReplayBufferSamples(*(torch.cat(pair) for pair in zip(old, new, strict=True)))
