"""`invdyn collect grasp` and `teacher`: demonstrations for a learner leave.

The first reads recordings of a grasp, the second lets a teacher grasp in simulation.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro
from tqdm import tqdm

from invdyn_ros.arms.pybullet_scene import nominal_scene
from invdyn_ros.grasp.envs.env_config import GraspEnvConfig
from invdyn_ros.grasp.learning.demonstration_dataset import write_demonstrations
from invdyn_ros.grasp.learning.expert_demonstrations import (
    ExpertDemonstrationConfig,
    collect_expert_episodes,
)
from invdyn_ros.grasp.learning.recorded_episodes import (
    EpisodeReplayer,
    RecordedGrasp,
    ReplayedEpisode,
)
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.robots.registry import load_grasp_spec
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.sources.grasp_bag import read_grasp_bag
from invdyn_ros.sources.rosbag import find_bags
from invdyn_ros.sources.source import num_workers

FAILED = "did not bring the block to its goal"
UNSHOWN = "failed, or ended before the push did"
CUT = "cut off by the end of the recording"


@dataclass(frozen=True)
class CollectGraspOptions:
    """Read grasps, by whoever drove grasp_sim, as demonstrations for 'invdyn train_grasp'.

    Record them with record:=DIR. With policy:=none a person drives, through any node that
    publishes /joint_target, stamped as the newest joint state, and /gripper/command. Only
    episodes that end with the block at its goal are kept.
    """

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """The recordings, or folders of several."""
    out: Path
    """Dataset folder to write."""
    arm: str = "ur5"
    """Name of the arm."""
    control_mode: Literal["joint", "cartesian"] = "joint"
    """What actions shall mean, as in the training."""
    camera_pose: str = ""
    """The file that camera_pose:= named; by default where the simulated camera stands."""
    action_space: ActionSpaceConfig = field(default_factory=ActionSpaceConfig)
    """How far one action goes, as in the training."""


@dataclass(frozen=True)
class CollectExpertOptions:
    """Let the teacher of the shipped policies grasp in simulation, as demonstrations.

    They are for 'invdyn train_planner' and 'invdyn train_grasp'.
    """

    out: Path
    """Dataset folder to write."""
    arm: str = "ur5"
    """Name of the arm."""
    control_mode: Literal["joint", "cartesian"] = "joint"
    """What actions shall mean, as in the training; a planner takes joint."""
    action_space: ActionSpaceConfig = field(default_factory=ActionSpaceConfig)
    """How far one action goes, as in the training."""
    workers: int | None = None
    """Processes that simulate; all cores by default. The data do not depend on it."""
    demonstrations: ExpertDemonstrationConfig = field(default_factory=ExpertDemonstrationConfig)
    """What is shown."""


def collect_expert(options: CollectExpertOptions) -> None:
    """Write what the teacher shows, and say how many episodes show nothing.

    Raises:
        ValueError: an arm without a block, or nothing to write.
    """
    of, config = (
        SpaceSpec(options.arm, options.control_mode, options.action_space),
        options.demonstrations,
    )
    GraspEnvConfig(of.arm)
    episodes = collect_expert_episodes(of, config, num_workers(options.workers))
    made = list(
        tqdm(episodes, total=config.episodes, unit="episode", desc="teaching", file=sys.stderr)
    )
    shown = [one for one in made if one is not None]
    failed = len(made) - len(shown)
    if not shown:
        raise ValueError(f"nothing to write: none of {len(made)} episodes ended at the goal")
    write_demonstrations(options.out, shown, of)
    steps = sum(len(one.time) for one in shown)
    print(f"{len(made)} episodes in, {len(shown)} out; -{failed} {UNSHOWN}")
    print(f"{options.out}: {len(shown)} episodes of {of.arm}, {steps} steps")


def collect_grasps(options: CollectGraspOptions) -> None:
    """Write what the recordings show, and say what became of every episode.

    Raises:
        ValueError: nothing to read or to write, or a recording of something else.
    """
    if not options.paths:
        raise ValueError("no recording to read; give one or more that record:=DIR made")
    load_grasp_spec(options.arm)  # refuses an arm that has no block to grasp
    robot, scene = load_robot(options.arm), nominal_scene(options.arm, options.camera_pose)
    replay = EpisodeReplayer(robot, scene, options.control_mode, options.action_space)
    shown: list[ReplayedEpisode] = []
    left_out, bags = Counter[str](), [bag for path in options.paths for bag in find_bags(path)]
    for bag in tqdm(bags, unit="recording", desc="reading", file=sys.stderr):
        shown += _shown(read_grasp_bag(bag, robot, scene), replay, left_out)
    account = _account(shown, left_out)
    if not shown:
        raise ValueError(f"nothing to write: {account}")
    write_demonstrations(
        options.out, shown, SpaceSpec(robot.name, options.control_mode, options.action_space)
    )
    print(account)
    steps = sum(len(one.time) for one in shown)
    print(f"{options.out}: {len(shown)} episodes of {robot.name}, {steps} steps")


def _shown(
    grasps: list[RecordedGrasp], replay: EpisodeReplayer, left_out: Counter[str]
) -> list[ReplayedEpisode]:
    """Return the episodes of one recording that end at the goal; count the others by reason."""
    kept = []
    for k, grasp in enumerate(grasps):
        last = 0 < k == len(grasps) - 1
        try:
            one = replay(grasp)
        except ValueError as error:
            left_out[CUT if last else str(error)] += 1
            continue
        if one.placed:
            kept.append(one)
        else:
            left_out[CUT if last else FAILED] += 1
    return kept


def _account(shown: list[ReplayedEpisode], left_out: Counter[str]) -> str:
    """Return where every episode went, in one line."""
    line = f"{len(shown) + left_out.total()} episodes in, {len(shown)} out"
    parts = [line, *(f"-{count} {reason}" for reason, count in sorted(left_out.items()))]
    believed = sum(one.estimated_reward for one in shown)
    if believed:
        parts.append(f"{believed} without true block poses: their reward is for what was seen")
    return "; ".join(parts)


DEMONSTRATIONS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "grasp": (CollectGraspOptions, collect_grasps),
    "expert": (CollectExpertOptions, collect_expert),
}
"""Sub-commands of `invdyn collect` that write demonstrations: their options and what runs them."""
