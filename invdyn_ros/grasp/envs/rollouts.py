"""Episodes of a policy by number: who plays which ones enters, how each went leaves.

Seed and number alone make an episode, so whoever plays it meets the same block, the same noise;
and how many processes share the work changes nothing.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from invdyn_ros.grasp.envs.agents import Agent, PolicySpec
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.vector_env import START_METHOD
from invdyn_ros.grasp.policies.failure_causes import EpisodeTrace, classify_failure

CHUNK_SIZE = (
    20  # episodes at most that a process takes at once: making its environment is no episode
)


class RolloutJob(NamedTuple):
    """Episodes to be played.

    Attributes:
        player: who plays.
        noise: level of noise.
        seed: of the run they belong to.
        numbers: of the episodes, from 0.
    """

    policy: PolicySpec
    noise: str
    seed: int
    episodes: tuple[int, ...]


class EpisodeResult(NamedTuple):
    """How one episode went.

    Attributes:
        number: of the episode.
        start: where the block lay, x and y in the base frame [m].
        success: lifted or placed.
        lifted: the block was 40 mm in the air while the arm was still.
        placed: it was put at its goal.
        time: simulated, until the success [s]; None without one.
        cause: of the failure, one of CAUSES; None for a success.
        wall: that it took to simulate [s].
    """

    episode: int
    block_start: tuple[float, float]
    success: bool
    lifted: bool
    placed: bool
    success_time: float | None
    failure_cause: str | None
    wall_time: float


def rollout(job: RolloutJob) -> Iterator[EpisodeResult]:
    """Play the episodes of a job, one after the other, in this process."""
    player = job.policy
    with closing(GraspEnv(arm=player.arm, noise=job.noise, **player.env_kwargs)) as environment:
        actor = player.make_agent(environment)
        for number in job.episodes:
            yield rollout_episode(environment, actor, job.seed, number)


def rollout_episode(environment: GraspEnv, actor: Agent, seed: int, number: int) -> EpisodeResult:
    """Play one episode of a run to its end."""
    begun, rows, first = time.perf_counter(), [], None
    observation, info = environment.reset(seed=seed, options={"episode": number})
    actor.reset()
    simulation, start = (
        environment.simulation.physics,
        environment.success_detector.initial_position,
    )
    seen, over = environment.pixels, False
    while not over:
        seen = seen or bool(info["detections"])
        observation, _, placed, late, info = environment.step(actor(observation, info))
        over = placed or late
        height = simulation.block_pose()[0][2] - start[2]
        rows.append((info["time"], simulation.is_grasping(), height, simulation.state().opening))
        if first is None and info["is_success"]:
            first = float(info["time"])
    cause = None
    if not info["is_success"]:
        instants, held, height, opening = np.array(rows, float).T
        course = EpisodeTrace(instants, held.astype(bool), height, opening, seen)
        cause = classify_failure(course, environment.scene.block_size)
    where, ends = (float(start[0]), float(start[1])), (info["lifted"], info["placed"])
    wall = time.perf_counter() - begun
    return EpisodeResult(number, where, info["is_success"], *ends, first, cause, wall)


def rollout_all(
    jobs: Sequence[RolloutJob], processes: int = 1
) -> Iterator[tuple[int, EpisodeResult]]:
    """Play the episodes of jobs, in any order.

    Args:
        jobs: who plays what.
        processes: that share them; 1: none but this one.

    Yields:
        Which job, by its place in `jobs`, and how one of its episodes went.
    """
    if processes == 1:
        for index, job in enumerate(jobs):
            yield from ((index, episode) for episode in rollout(job))
        return
    context = multiprocessing.get_context(START_METHOD)
    one_thread: Any = partial(torch.set_num_threads, 1)
    with ProcessPoolExecutor(processes, context, one_thread) as pool:
        parts = {
            pool.submit(_played, part): i for i, job in enumerate(jobs) for part in split_job(job)
        }
        try:
            for part in as_completed(parts):
                yield from ((parts[part], episode) for episode in part.result())
        finally:
            pool.shutdown(cancel_futures=True)


def split_job(job: RolloutJob) -> list[RolloutJob]:
    """Return a job in parts of at most CHUNK episodes."""
    numbers = job.episodes
    starts = range(0, len(numbers), CHUNK_SIZE)
    return [job._replace(episodes=numbers[start : start + CHUNK_SIZE]) for start in starts]


def _played(job: RolloutJob) -> list[EpisodeResult]:
    return list(rollout(job))
