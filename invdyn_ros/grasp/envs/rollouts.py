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

from invdyn_ros.grasp.envs.agents import Actor, PolicySpec
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.vector_env import START
from invdyn_ros.grasp.policies.failure_causes import EpisodeTrace, cause_of_failure

CHUNK = 20  # episodes at most that a process takes at once: making its environment is no episode


class Job(NamedTuple):
    """Episodes to be played.

    Attributes:
        player: who plays.
        noise: level of noise.
        seed: of the run they belong to.
        numbers: of the episodes, from 0.
    """

    player: PolicySpec
    noise: str
    seed: int
    numbers: tuple[int, ...]


class Episode(NamedTuple):
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

    number: int
    start: tuple[float, float]
    success: bool
    lifted: bool
    placed: bool
    time: float | None
    cause: str | None
    wall: float


def play(job: Job) -> Iterator[Episode]:
    """Play the episodes of a job, one after the other, in this process."""
    player = job.player
    with closing(GraspEnv(arm=player.arm, noise=job.noise, **player.environment)) as environment:
        actor = player.act_in(environment)
        for number in job.numbers:
            yield play_episode(environment, actor, job.seed, number)


def play_episode(environment: GraspEnv, actor: Actor, seed: int, number: int) -> Episode:
    """Play one episode of a run to its end."""
    begun, rows, first = time.perf_counter(), [], None
    observation, info = environment.reset(seed=seed, options={"episode": number})
    actor.reset()
    simulation, start = environment.world.simulation, environment.judge.start
    seen, over = environment.pixels, False
    while not over:
        seen = seen or bool(info["sightings"])
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
        cause = cause_of_failure(course, environment.scene.block_size)
    where, ends = (float(start[0]), float(start[1])), (info["lifted"], info["placed"])
    wall = time.perf_counter() - begun
    return Episode(number, where, info["is_success"], *ends, first, cause, wall)


def play_all(jobs: Sequence[Job], processes: int = 1) -> Iterator[tuple[int, Episode]]:
    """Play the episodes of jobs, in any order.

    Args:
        jobs: who plays what.
        processes: that share them; 1: none but this one.

    Yields:
        Which job, by its place in `jobs`, and how one of its episodes went.
    """
    if processes == 1:
        for index, job in enumerate(jobs):
            yield from ((index, episode) for episode in play(job))
        return
    context = multiprocessing.get_context(START)
    one_thread: Any = partial(torch.set_num_threads, 1)
    with ProcessPoolExecutor(processes, context, one_thread) as pool:
        parts = {pool.submit(_played, part): i for i, job in enumerate(jobs) for part in cut(job)}
        try:
            for part in as_completed(parts):
                yield from ((parts[part], episode) for episode in part.result())
        finally:
            pool.shutdown(cancel_futures=True)


def cut(job: Job) -> list[Job]:
    """Return a job in parts of at most CHUNK episodes."""
    numbers = job.numbers
    starts = range(0, len(numbers), CHUNK)
    return [job._replace(numbers=numbers[start : start + CHUNK]) for start in starts]


def _played(job: Job) -> list[Episode]:
    return list(play(job))
