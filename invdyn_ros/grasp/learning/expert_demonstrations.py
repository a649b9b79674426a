"""Simulated demonstrations, with perturbations: of an expert, or adapted from recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from invdyn_ros.grasp.learning.adapted_grasp import AdaptedGrasp, Leg
from invdyn_ros.grasp.learning.recorded_episodes import ReplayedEpisode
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.workers import JobExecutor, parallel_map

EXPERT_SEED_OFFSET = 4_000_000  # from the seed of training
PUSH_START = 0.0, 5.0  # [s] earliest and latest start of a push
PUSH_DURATION = 0.2, 0.8  # [s] shortest and longest push
EPISODES_PER_JOB = 10  # building an environment takes longer than an episode


@dataclass(frozen=True)
class ExpertDemonstrationConfig(Validated):
    """Demonstrations by the visual-servoing expert, which uses the camera's detections."""

    episodes: PositiveInt = 400
    """Number of episodes, including those that fail and are not recorded."""
    noise: str = "hard"
    """Domain randomization: none, default or hard."""
    random_goal: bool = True
    """Whether each episode has a goal of its own; otherwise that of the scene."""
    push_fraction: Probability = 0.75
    """Fraction of the episodes with one push; only their steps after the push are recorded."""
    push_std: NonNegativeFloat = 0.1
    """Standard deviation of a push, a constant offset of all actions but the gripper's."""
    seed: NonNegativeInt = 0
    """Seed of the episodes and of the pushes."""

    def __post_init__(self) -> None:
        """Check that the noise level exists."""
        super().__post_init__()
        load_randomization(self.noise)


class DemonstrationJob(NamedTuple):
    """Episodes that one worker simulates.

    Attributes:
        episode_numbers: indices of the episodes in the run.
        spec: arm and action space.
        config: settings of the demonstrations.
        recorded: paths of the recorded grasps; none: the expert.
    """

    episode_numbers: range
    spec: SpaceSpec
    config: ExpertDemonstrationConfig
    recorded: Sequence[list[Leg]]


def collect_expert_episodes(
    spec: SpaceSpec,
    config: ExpertDemonstrationConfig,
    executor: JobExecutor | None = None,
    recorded: Sequence[list[Leg]] = (),
) -> Iterator[ReplayedEpisode | None]:
    """Yield the episodes of the expert in order.

    None stands for an episode that fails or ends before its push is over.

    Args:
        spec: arm and action space.
        config: settings of the demonstrations.
        executor: runs the jobs; None: this process.
        recorded: recorded grasps, one of which each episode adapts to its block and goal; none:
            the expert grasps.

    Raises:
        ValueError: the arm has no block to grasp.
    """
    starts = range(0, config.episodes, EPISODES_PER_JOB)
    numbers = [range(k, min(k + EPISODES_PER_JOB, config.episodes)) for k in starts]
    jobs = [DemonstrationJob(part, spec, config, recorded) for part in numbers]
    for episodes in parallel_map(_run_job, jobs, executor):
        yield from episodes


def _run_job(job: DemonstrationJob) -> list[ReplayedEpisode | None]:
    spec, config = job.spec, job.config
    env = GraspEnv(
        arm=spec.arm,
        control_mode=spec.control_mode,
        action_space=spec.action_space,
        noise=config.noise,
        random_goal=config.random_goal,
    )
    with closing(env):
        return [_run_episode(env, job, number) for number in job.episode_numbers]


def _run_episode(env: GraspEnv, job: DemonstrationJob, number: int) -> ReplayedEpisode | None:
    """Return an episode from the end of its push on; None if it fails or ends before that."""
    config = job.config
    rng = np.random.default_rng((config.seed, number))
    period = env.config.action_space.action_period
    start = end = 0
    if rng.random() < config.push_fraction:
        start = round(rng.uniform(*PUSH_START) / period)
        end = start + round(rng.uniform(*PUSH_DURATION) / period)
    push = np.append(config.push_std * rng.standard_normal(env.robot_action_space.size - 1), 0.0)
    seed = config.seed + EXPERT_SEED_OFFSET
    observation, _ = env.reset(seed=seed, options={"episode": number})
    adapted = None
    if job.recorded:
        adapted = AdaptedGrasp(job.recorded[int(rng.integers(len(job.recorded)))])
    rows = []
    for step in count():
        action = env.expert_action("detections") if adapted is None else adapted.action(env)
        if start <= step < end:
            action = (action + push).clip(-1, 1).astype(np.float32)
        next_observation, reward, terminated, truncated, _ = env.step(action)
        if step >= end:
            rows.append((observation, next_observation, action, reward, float(terminated)))
        if terminated or truncated:
            break
        observation = next_observation
    if not (rows and terminated):
        return None
    time = np.arange(len(rows), dtype=float) * period
    return ReplayedEpisode(time, Transitions.from_rows(rows), estimated_reward=False)
