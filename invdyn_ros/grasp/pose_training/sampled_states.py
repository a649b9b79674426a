"""States of arm and block in simulated episodes of the scripted policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np

from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.scripted_agent import ScriptedAgent
from invdyn_ros.robots.scene import quaternion_pose
from invdyn_ros.typing import Array
from invdyn_ros.workers import JobExecutor, parallel_map

SAMPLE_PERIOD = 0.1  # [s] between sampled states of an episode
EPISODES_PER_JOB = 5  # of a worker process, which creates an environment for each job


class StateSamples(NamedTuple):
    """N states of arm and block from simulated episodes.

    Attributes:
        q: (N, n) true joint positions [rad].
        measured_q: (N, n) measured joint positions [rad].
        opening: (N,) distance between the finger pads [m].
        T_base_block: (N, 4, 4) true pose of the block.
    """

    q: Array
    measured_q: Array
    opening: Array
    T_base_block: Array


class EpisodeJob(NamedTuple):
    """Episodes to sample.

    Attributes:
        arm: name of the arm.
        noise: domain randomization level.
        block_pose_model: folder of the network whose detections the policy uses; empty: markers.
        seed: seed of the run.
        episodes: indices of the episodes in the run.
    """

    arm: str
    noise: str
    block_pose_model: str
    seed: int
    episodes: range


def collect_states(
    job: EpisodeJob,
    callback: Callable[[int, int], None],
    executor: JobExecutor | None = None,
) -> StateSamples:
    """Roll out the scripted policy and sample the states that it visits.

    Args:
        job: the episodes.
        callback: called with the number of episodes and of successes so far.
        executor: runs parts of the job; None: this process.
    """
    starts = range(0, len(job.episodes), EPISODES_PER_JOB)
    parts = [
        job._replace(episodes=job.episodes[start : start + EPISODES_PER_JOB]) for start in starts
    ]
    samples, successes = [], 0
    for part, (states, count) in zip(
        parts, parallel_map(_run_episodes, parts, executor), strict=True
    ):
        samples.append(states)
        successes += count
        callback(part.episodes.stop - job.episodes.start, successes)
    return concatenate_states(samples)


def concatenate_states(parts: Sequence[StateSamples]) -> StateSamples:
    """Concatenate several state samples in order."""
    return StateSamples(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _run_episodes(job: EpisodeJob) -> tuple[StateSamples, int]:
    """Return the states of episodes, and how many of them succeed."""
    samples, successes = [], 0
    env = GraspEnv(arm=job.arm, noise=job.noise, block_pose_model=job.block_pose_model)
    with closing(env):
        policy = ScriptedAgent(env)
        stride = round(SAMPLE_PERIOD / env.config.action_space.action_period)
        for episode in job.episodes:
            _, info = env.reset(seed=job.seed, options={"episode": episode})
            policy.reset()
            done, step = False, 0
            while not done:
                if step % stride == 0:
                    samples.append(_sample_state(env))
                _, _, terminated, truncated, info = env.step(policy.act(None, info))
                done, step = terminated or truncated, step + 1
            successes += info["is_success"]
    return StateSamples(*(np.array(part) for part in zip(*samples, strict=True))), successes


def _sample_state(env: GraspEnv) -> tuple[Array, Array, float, Array]:
    simulation = env.simulation.physics
    state, (q, _) = simulation.state(), simulation.true_state()
    return q, state.q, state.opening, quaternion_pose(*simulation.block_pose())
