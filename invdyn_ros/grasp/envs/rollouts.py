"""Rollouts of policies on numbered episodes.

Seed and index determine an episode, so every policy gets the same block positions and noise, and
the executor does not change the results.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from invdyn_ros.grasp.envs.agents import GraspAgent, PolicySpec
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.policies.failure_causes import EpisodeTrace, classify_failure
from invdyn_ros.workers import JobExecutor, parallel_map

EPISODES_PER_JOB = 20  # maximum for one worker process, which creates an environment per job


class RolloutJob(NamedTuple):
    """Episodes to run.

    Attributes:
        policy: the policy.
        noise: domain randomization level.
        seed: seed of the run.
        episodes: indices of the episodes in the run.
    """

    policy: PolicySpec
    noise: str
    seed: int
    episodes: tuple[int, ...]


class EpisodeResult(NamedTuple):
    """Outcome of an episode.

    Attributes:
        episode: index in the run.
        block_start: initial x and y of the block in the base frame [m].
        success: the block was released at its goal; see `SuccessDetector`.
        lifted: the block was lifted by 40 mm while the arm was static.
        success_time: simulated time of the success [s]; None without one.
        failure_cause: one of `FAILURE_CAUSES`; None for a success.
        wall_time: time that the simulation took [s].
    """

    episode: int
    block_start: tuple[float, float]
    success: bool
    lifted: bool
    success_time: float | None
    failure_cause: str | None
    wall_time: float


def rollout(job: RolloutJob) -> Iterator[EpisodeResult]:
    """Run the episodes of a job one after the other in this process."""
    policy = job.policy
    with closing(GraspEnv(arm=policy.arm, noise=job.noise, **policy.env_kwargs)) as env:
        agent = policy.make_agent(env)
        for episode in job.episodes:
            yield rollout_episode(env, agent, job.seed, episode)


def rollout_episode(env: GraspEnv, agent: GraspAgent, seed: int, episode: int) -> EpisodeResult:
    """Run one episode.

    Args:
        env: the environment.
        agent: the agent that acts in it.
        seed: seed of the run.
        episode: index of the episode in the run.
    """
    start_time, rows, success_time = time.perf_counter(), [], None
    observation, info = env.reset(seed=seed, options={"episode": episode})
    agent.reset()
    physics, start = env.simulation.physics, env.simulation.success_detector.initial_position
    detected, over = env.pixels, False
    while not over:
        detected = detected or bool(info["detections"])
        observation, _, terminated, truncated, info = env.step(agent.act(observation, info))
        over = terminated or truncated
        height = physics.block_pose()[0][2] - start[2]
        opening = physics.state().opening
        rows.append((info["time"], physics.is_grasping(), height, opening, env.is_stopped))
        if success_time is None and info["is_success"]:
            success_time = float(info["time"])
    cause = None
    if not info["is_success"]:
        cause = classify_failure(EpisodeTrace.from_rows(rows, detected), env.scene.block_size)
    return EpisodeResult(
        episode,
        (float(start[0]), float(start[1])),
        info["is_success"],
        info["lifted"],
        success_time,
        cause,
        time.perf_counter() - start_time,
    )


def rollout_all(
    jobs: Sequence[RolloutJob], executor: JobExecutor | None = None
) -> Iterator[tuple[int, EpisodeResult]]:
    """Run the episodes of several jobs in order.

    Args:
        jobs: the jobs.
        executor: runs parts of the jobs; None: this process, which yields after each episode.

    Yields:
        Index of the job and result of one of its episodes.
    """
    if executor is None:
        for index, job in enumerate(jobs):
            yield from ((index, result) for result in rollout(job))
        return
    parts = [(index, part) for index, job in enumerate(jobs) for part in split_job(job)]
    outcomes = parallel_map(_rollout_list, [part for _, part in parts], executor)
    for (index, _), results in zip(parts, outcomes, strict=True):
        yield from ((index, result) for result in results)


def split_job(job: RolloutJob) -> list[RolloutJob]:
    """Split a job into jobs of at most `EPISODES_PER_JOB` episodes."""
    episodes = job.episodes
    starts = range(0, len(episodes), EPISODES_PER_JOB)
    return [job._replace(episodes=episodes[start : start + EPISODES_PER_JOB]) for start in starts]


def _rollout_list(job: RolloutJob) -> list[EpisodeResult]:
    return list(rollout(job))
