"""What the script would have done: a run of another policy enters, its own successes leave."""

from __future__ import annotations

import sys

from tqdm import tqdm

from invdyn_ros.grasp.envs.agents import SCRIPTED, load_policy_spec
from invdyn_ros.grasp.envs.rollouts import RolloutJob, rollout_all


def scripted_successes(
    arm: str,
    noise: str,
    seed: int,
    episodes: int,
    checkpoint: str = "",
    block_pose_model: str = "",
) -> list[bool]:
    """Play the first episodes of a simulated run by the script, in the environment.

    Args:
        arm: name of the arm.
        noise: level of the run.
        seed: of the run.
        episodes: how many.
        checkpoint: of the model that drives the arm; empty: the shipped one.
        sight: folder of the network that sees the block; empty: its markers are seen.

    Returns:
        (episodes,) which of them were successes.
    """
    script = load_policy_spec(SCRIPTED, arm)._replace(
        env_kwargs={"checkpoint": checkpoint, "block_pose_model": block_pose_model}
    )
    job = RolloutJob(script, noise, seed, tuple(range(episodes)))
    bar = tqdm(rollout_all([job]), total=episodes, unit="episode", desc="script", file=sys.stderr)
    return [episode.success for _, episode in bar]
