"""`invdyn collect grasp` and `invdyn collect expert`: write demonstrations of a grasp.

The former reads recordings, the latter runs the visual-servo expert in simulation.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from tqdm import tqdm

from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.grasp.envs.env_config import GraspEnvConfig
from invdyn_ros.grasp.learning.adapted_grasp import NO_GRASP, Leg, read_recorded_grasps
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
from invdyn_ros.grasp.learning.simulated_detections import (
    lacks_detections,
    with_simulated_detections,
)
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.perception.hand_eye.camera_pose import nominal_scene
from invdyn_ros.robots.registry import load_grasp_spec
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.sources.bag_files import find_bags
from invdyn_ros.sources.grasp_bag import GraspBag, read_grasp_bag
from invdyn_ros.workers import WorkerOptions

NOT_PLACED = "did not bring the block to its goal"
NOT_PLACED_AFTER_PUSH = "failed, or ended before the push did"
CUT_OFF = "cut off by the end of the recording"


@dataclass(frozen=True)
class CollectGraspOptions(OutputOptions):
    """Convert recorded grasps to demonstrations for 'invdyn train_grasp'.

    Record them with 'invdyn launch grasp_sim record:=DIR'. With policy:=none a person drives,
    through any node that publishes joint_target, stamped as the newest joint state, and
    gripper/command. Only episodes that end with the block at its goal are used.
    """

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """The recordings, or folders of several."""
    out: Path
    """Dataset folder to write."""
    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    control_mode: Literal["joint", "cartesian"] = "cartesian"
    """Meaning of the actions, as in training."""
    namespace: str = ""
    """Namespace of the recorded graph, given as namespace:= in the launch."""
    tf_prefix: str = ""
    """Prefix of its joints, given as tf_prefix:= in the launch."""
    camera_pose: str = ""
    """File given as camera_pose:= in the launch; default: the pose of the simulated camera."""
    action_space: ActionSpaceConfig = field(default_factory=ActionSpaceConfig)
    """Scale and period of the actions, as in training."""


@dataclass(frozen=True)
class CollectExpertOptions(OutputOptions, WorkerOptions):
    """Collect demonstrations by the expert of the shipped policies in simulation.

    They are for 'invdyn train_planner' and 'invdyn train_grasp'.
    """

    out: Path
    """Dataset folder to write."""
    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    control_mode: Literal["joint", "cartesian"] = "cartesian"
    """Meaning of the actions, as in training."""
    action_space: ActionSpaceConfig = field(default_factory=ActionSpaceConfig)
    """Scale and period of the actions, as in training."""
    recordings: Path | None = None
    """Dataset folder of recorded grasps, by a person or a policy, one of which each episode adapts
    to its block and goal, without its pauses. By default the expert grasps."""
    demonstrations: ExpertDemonstrationConfig = field(default_factory=ExpertDemonstrationConfig)
    """Episodes and perturbations."""


def collect_expert(options: CollectExpertOptions) -> None:
    """Write the expert's successful episodes, and print how many failed.

    Raises:
        ValueError: the arm has no block, no recording is a grasp of it, or no episode succeeded.
    """
    spec = SpaceSpec(options.arm, options.control_mode, options.action_space)
    config = options.demonstrations
    GraspEnvConfig(spec.arm)
    recorded = _read_recordings(options) if options.recordings is not None else []
    with options.executor() as executor:
        results = collect_expert_episodes(spec, config, executor, recorded)
        style = {"unit": "episode", "desc": "demonstrating", "file": sys.stderr}
        episodes = list(tqdm(results, total=config.episodes, **style))
    successful = [episode for episode in episodes if episode is not None]
    failures = len(episodes) - len(successful)
    if not successful:
        raise ValueError(f"nothing to write: none of {len(episodes)} episodes ended at the goal")
    write_demonstrations(options.out, successful, spec)
    steps = sum(len(episode.time) for episode in successful)
    print(
        f"{len(episodes)} episodes in, {len(successful)} out; -{failures} {NOT_PLACED_AFTER_PUSH}"
    )
    print(f"{options.out}: {len(successful)} episodes of {spec.arm}, {steps} steps")


def _read_recordings(options: CollectExpertOptions) -> list[list[Leg]]:
    """Return the paths of the recorded grasps, and print how many are left out."""
    assert options.recordings is not None
    paths = read_recorded_grasps(options.recordings, options.arm)
    used = [path for path in paths if path]
    print(f"{len(paths)} recordings in, {len(used)} out; -{len(paths) - len(used)}: {NO_GRASP}")
    return used


def collect_grasps(options: CollectGraspOptions) -> None:
    """Write the recorded episodes that end at the goal, and print why the others do not.

    Raises:
        ValueError: no recording, no episode at the goal, or a recording that is not of a grasp.
    """
    if not options.paths:
        raise ValueError("no recording to read; give one or more folders of record:=DIR")
    load_grasp_spec(options.arm)  # refuses an arm that has no block to grasp
    robot, scene = load_robot(options.arm), nominal_scene(options.arm, options.camera_pose)
    if scene.camera_on_hand:
        raise ValueError(
            f"{options.camera_pose} has mounting eye_in_hand; policies are trained with a camera "
            "beside the arm"
        )
    replayer = EpisodeReplayer(robot, scene, options.control_mode, options.action_space)
    episodes: list[ReplayedEpisode] = []
    rng, num_simulated = np.random.default_rng(0), 0
    left_out, files = Counter[str](), [bag for path in options.paths for bag in find_bags(path)]
    bags = [GraspBag(file, options.namespace, options.tf_prefix) for file in files]
    for bag in tqdm(bags, unit="recording", desc="reading", file=sys.stderr):
        grasps = read_grasp_bag(bag, robot, scene)
        num_simulated += sum(map(lacks_detections, grasps))
        grasps = [
            with_simulated_detections(grasp, scene, rng) if lacks_detections(grasp) else grasp
            for grasp in grasps
        ]
        episodes += _placed_episodes(grasps, replayer, left_out)
    summary = _summary(episodes, left_out, num_simulated)
    if not episodes:
        raise ValueError(f"nothing to write: {summary}")
    spec = SpaceSpec(robot.name, options.control_mode, options.action_space)
    write_demonstrations(options.out, episodes, spec)
    print(summary)
    steps = sum(len(episode.time) for episode in episodes)
    print(f"{options.out}: {len(episodes)} episodes of {robot.name}, {steps} steps")


def _placed_episodes(
    grasps: list[RecordedGrasp], replayer: EpisodeReplayer, left_out: Counter[str]
) -> list[ReplayedEpisode]:
    """Return the episodes of one recording that end at the goal; count the others by reason."""
    placed = []
    for k, grasp in enumerate(grasps):
        is_last = 0 < k == len(grasps) - 1
        try:
            episode = replayer(grasp)
        except ValueError as error:
            left_out[CUT_OFF if is_last else str(error)] += 1
            continue
        if episode.placed:
            placed.append(episode)
        else:
            left_out[CUT_OFF if is_last else NOT_PLACED] += 1
    return placed


def _summary(episodes: list[ReplayedEpisode], left_out: Counter[str], num_simulated: int) -> str:
    """Return the number of episodes read, written and left out for each reason, in one line.

    Args:
        episodes: those that are written.
        left_out: number of the others by reason.
        num_simulated: number of episodes without detections.
    """
    line = f"{len(episodes) + left_out.total()} episodes in, {len(episodes)} out"
    parts = [line, *(f"-{count} {reason}" for reason, count in sorted(left_out.items()))]
    estimated = sum(episode.estimated_reward for episode in episodes)
    if estimated:
        parts.append(f"{estimated} without true block poses: their reward uses the detections")
    if num_simulated:
        parts.append(
            f"{num_simulated} without detections: they are simulated from the true block poses"
        )
    return "; ".join(parts)


DEMONSTRATIONS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "grasp": (CollectGraspOptions, collect_grasps),
    "expert": (CollectExpertOptions, collect_expert),
}
"""Sub-commands of `invdyn collect` that write demonstrations: their options and function."""
