"""Success of the scripted policy in the episodes of another policy's run."""

from __future__ import annotations

import sys

from tqdm import tqdm

from invdyn_ros.grasp.envs.agents import SCRIPTED, load_policy_spec
from invdyn_ros.grasp.envs.episode_jobs import run_jobs
from invdyn_ros.grasp.envs.rollouts import RolloutJob, rollout


def scripted_successes(
    arm: str,
    noise: str,
    seed: int,
    episodes: int,
    checkpoint: str = "",
    block_pose_model: str = "",
) -> list[bool]:
    """Run the scripted policy on the first episodes of a simulated run.

    Args:
        arm: name of the arm.
        noise: domain randomization level of the run.
        seed: seed of the run.
        episodes: number of episodes.
        checkpoint: inverse-dynamics model that drives the arm; empty: the shipped one.
        block_pose_model: folder of the network that detects the block; empty: marker detections.

    Returns:
        (episodes,) whether each episode was a success.
    """
    env_kwargs = {"checkpoint": checkpoint, "block_pose_model": block_pose_model}
    script = load_policy_spec(SCRIPTED, arm)._replace(env_kwargs=env_kwargs)
    job = RolloutJob(script, noise, seed, tuple(range(episodes)))
    bar = tqdm(
        run_jobs([job], rollout), total=episodes, unit="episode", desc="script", file=sys.stderr
    )
    return [result.success for _, result in bar]
