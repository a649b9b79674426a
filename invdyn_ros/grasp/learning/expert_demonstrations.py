"""A teacher grasps in simulation and is pushed off its way; how it goes on from there leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from invdyn_ros.arms.domain_randomization import load_randomization
from invdyn_ros.config import Probability, Validated
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.learning.recorded_episodes import ReplayedEpisode
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.workers import parallel_map

SPAN = 4_000_000  # seeds of lessons start this far from those of training
EARLIEST, LATEST = 0.0, 5.0  # [s] when a push begins
SHORTEST, LONGEST = 0.2, 0.8  # [s] how long it lasts
CHUNK = 10  # episodes that a process plays at once: making its environment is no episode


@dataclass(frozen=True)
class ExpertDemonstrationConfig(Validated):
    """What a teacher shows.

    It is the servoed grasp, on what the camera says (`grasp.servo`).
    """

    episodes: PositiveInt = 400
    """How many it tries."""
    noise: str = "hard"
    """Level of noise: none, default, hard."""
    push_fraction: Probability = 0.75
    """Share of the episodes in which it is pushed once; they are shown from then on only."""
    push_std: NonNegativeFloat = 0.1
    """Standard deviation of what a push adds to each action but the grip."""
    seed: NonNegativeInt = 0
    """Of the episodes and of the pushes."""

    def __post_init__(self) -> None:
        """Refuse an unknown level of noise."""
        super().__post_init__()
        load_randomization(self.noise)


class DemonstrationJob(NamedTuple):
    """Episodes of a teacher: their numbers, what their steps are of, and how it shows them."""

    numbers: range
    of: SpaceSpec
    config: ExpertDemonstrationConfig


def collect_expert_episodes(
    of: SpaceSpec, config: ExpertDemonstrationConfig, workers: int
) -> Iterator[ReplayedEpisode | None]:
    """Yield what each episode shows, in their order.

    None where it did not reach the goal, or ended before the push did.

    Args:
        of: arm, meaning of actions and how far they go.
        config: what is shown.
        workers: processes that simulate; the episodes do not depend on how many.

    Raises:
        ValueError: an arm without a block, or less than one worker.
    """
    starts = range(0, config.episodes, CHUNK)
    numbers = [range(k, min(k + CHUNK, config.episodes)) for k in starts]
    lessons = [DemonstrationJob(part, of, config) for part in numbers]
    for shown in parallel_map(_teach, lessons, workers):
        yield from shown


def _teach(lesson: DemonstrationJob) -> list[ReplayedEpisode | None]:
    of, config = lesson.of, lesson.config
    made = GraspEnv(
        arm=of.arm, control_mode=of.control_mode, action_space=of.action_space, noise=config.noise
    )
    with closing(made) as environment:
        return [_show(environment, config, number) for number in lesson.numbers]


def _show(
    environment: GraspEnv, config: ExpertDemonstrationConfig, number: int
) -> ReplayedEpisode | None:
    """Return one episode from the end of the push on; None if nothing follows, or not the goal."""
    random = np.random.default_rng((config.seed, number))
    period = environment.config.action_space.action_period
    begin = end = 0
    if random.random() < config.push_fraction:
        begin = round(random.uniform(EARLIEST, LATEST) / period)
        end = begin + round(random.uniform(SHORTEST, LONGEST) / period)
    push = np.append(
        config.push_std * random.standard_normal(environment.robot_action_space.size - 1), 0.0
    )
    seen, _ = environment.reset(seed=config.seed + SPAN, options={"episode": number})
    rows = []
    for step in count():
        action = environment.expert_action("detections")
        if begin <= step < end:
            action = (action + push).clip(-1, 1).astype(np.float32)
        following, reward, placed, late, _ = environment.step(action)
        if step >= end:
            rows.append((seen, following, action, reward, float(placed)))
        if placed or late:
            break
        seen = following
    if not (rows and placed):
        return None
    return ReplayedEpisode(
        np.arange(len(rows)) * period, Transitions.from_rows(rows), estimated_reward=False
    )
