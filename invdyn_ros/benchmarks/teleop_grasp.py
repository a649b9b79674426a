"""Benchmark of grasps by teleoperation, by a scripted person who moves the hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from tqdm import tqdm

from invdyn_ros.arms.domain_randomization import load_randomization
from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions, Measurement
from invdyn_ros.benchmarks.report import Row
from invdyn_ros.benchmarks.scripted_person import ScriptedPersonConfig
from invdyn_ros.benchmarks.teleop_episode import TeleopEpisode, run_episode
from invdyn_ros.grasp.learning.demonstration_dataset import write_demonstrations
from invdyn_ros.grasp.learning.recorded_episodes import EpisodeReplayer, ReplayedEpisode
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.grasp.policies.success_rate import success_interval
from invdyn_ros.robots.registry import load_grasp_spec, load_scene
from invdyn_ros.robots.robot import load_robot


@dataclass(frozen=True)
class TeleopGraspBenchmarkConfig(BenchmarkOptions):
    """Grasps of a scripted person through retargeting, inverse dynamics and motion guard."""

    arm: str = "ur5"
    """Name of an arm with a shipped checkpoint and a gripper."""
    episodes: PositiveInt = 50
    """Number of blocks."""
    noise: Literal["none", "default", "hard"] = "default"
    """Domain randomization level of arm and block."""
    landmark_noise: NonNegativeFloat = 1.0
    """Noise of the landmarks, as a multiple of that of MediaPipe."""
    age: Annotated[float, Field(ge=0, le=0.2)] = 0.03
    """Time from an image to its target, as of camera and pose network [s]."""
    seed: NonNegativeInt = 0
    """Seed of the first episode."""
    person: ScriptedPersonConfig = field(default_factory=ScriptedPersonConfig)
    """Abilities of the person."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Dataset folder to write, with the demonstrations of all placed blocks."""
    control_mode: Literal["joint", "cartesian"] = "cartesian"
    """Meaning of the actions in the demonstrations, as in training."""
    action_space: ActionSpaceConfig = field(default_factory=ActionSpaceConfig)
    """Scale and period of the actions in the demonstrations, as in training."""

    def __post_init__(self) -> None:
        """Check that the arm can grasp."""
        super().__post_init__()
        load_grasp_spec(self.arm)


def measure_teleop_grasp(config: TeleopGraspBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and write the demonstrations if the config has a folder for them.

    Raises:
        ValueError: no block was placed, so that there is nothing to write.
    """
    measured, episodes = config.begin("teleop_grasp", "% of episodes"), list[TeleopEpisode]()
    measured.so_far = lambda: _report(config, measured, episodes)
    demonstrations = _Demonstrations(config)
    for episode in _episodes(config):
        demonstrations.add(episode)
        episodes.append(episode.without_recording())
    demonstrations.write()
    return _report(config, measured, episodes)


def _report(
    config: TeleopGraspBenchmarkConfig, measured: Measurement, episodes: list[TeleopEpisode]
) -> dict[str, Any]:
    measured.rows = {config.arm: _row(episodes)} if episodes else {}
    return measured.report(
        failures=[
            {"episode": i, "phase": episode.phase, "faults": list(episode.faults)}
            for i, episode in enumerate(episodes)
            if not episode.placed
        ]
    )


def _episodes(config: TeleopGraspBenchmarkConfig) -> Iterator[TeleopEpisode]:
    noise = load_randomization(config.noise)
    style = {"unit": "episode", "desc": "grasping", "file": sys.stderr}
    for index in tqdm(range(config.episodes), **style):
        seed = config.seed + index
        yield run_episode(
            config.arm, noise, seed, config.landmark_noise, config.age, config.person
        )


class _Demonstrations:
    """Transitions of the placed blocks, for the dataset."""

    def __init__(self, config: TeleopGraspBenchmarkConfig) -> None:
        self.out = config.out
        self.spec = SpaceSpec(config.arm, config.control_mode, config.action_space)
        robot, scene = load_robot(config.arm), load_scene(config.arm)
        self.replayer = EpisodeReplayer(robot, scene, config.control_mode, config.action_space)
        self.episodes: list[ReplayedEpisode] = []

    def add(self, episode: TeleopEpisode) -> None:
        """Add an episode if its block was placed and it is wanted."""
        if self.out is not None and episode.placed:
            replayed = self.replayer(episode.grasp)
            if replayed.placed:
                self.episodes.append(replayed)

    def write(self) -> None:
        """Write the dataset."""
        if self.out is None:
            return
        if not self.episodes:
            raise ValueError("nothing to write: no block was placed")
        write_demonstrations(self.out, self.episodes, self.spec)


def _row(episodes: list[TeleopEpisode]) -> Row:
    """Return the figures of all episodes."""
    n, placed = len(episodes), sum(episode.placed for episode in episodes)
    low, high = success_interval(placed, n)
    seconds = [episode.seconds for episode in episodes if episode.placed]
    row: dict[str, float] = {
        "n": n,
        "placed": 100 * placed / n,
        "ci_low": 100 * low,
        "ci_high": 100 * high,
        "lifted": 100 * float(np.mean([episode.lifted for episode in episodes])),
        "violations": sum(episode.violations for episode in episodes),
        "contacts": sum(episode.contacts for episode in episodes),
        "faults": sum(len(episode.faults) for episode in episodes),
    }
    if seconds:
        row["median_seconds"] = float(np.median(seconds))
    return {key: round(float(value), 2) for key, value in row.items()}
