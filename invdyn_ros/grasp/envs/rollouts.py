"""Rollouts of policies on numbered episodes.

Seed and index determine an episode, so every policy gets the same block positions and noise, and
the executor does not change the results.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from invdyn_ros.grasp.envs.agents import GraspAgent, PolicySpec
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.policies.failure_causes import EpisodeTrace, classify_failure


@dataclass(frozen=True)
class RolloutJob:
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
