"""`invdyn train_block_pose`: train a network that detects blocks without markers."""

from __future__ import annotations

import shutil
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from invdyn_ros.cli.options import override, parse
from invdyn_ros.config import from_mapping, load_yaml
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.grasp.pose_training.train import (
    CONFIG_FILE,
    BlockPoseTrainConfig,
    train_block_pose,
)
from invdyn_ros.robots.robot import package_file
from invdyn_ros.workers import WorkerOptions


@dataclass(frozen=True)
class TrainBlockPoseOptions(OutputOptions, WorkerOptions):
    """Train a block pose network; `--field value` overrides a field of the config file."""

    out: Path
    """Folder for the network, its evaluation block_pose.json and its training images."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; by default that of the config file."""
    config: Path | None = None
    """YAML file; by default the shipped one."""
    resume: bool = False
    """Resume the run in --out, with its rendered images and finished rounds."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options, rest = parse(
        TrainBlockPoseOptions, argv, "train_block_pose", return_unknown_args=True
    )
    config = read_config(options, rest)
    if options.overwrite and not options.resume and (options.out / CONFIG_FILE).is_file():
        shutil.rmtree(options.out)  # else its rounds would be gone on with
    torch.set_num_threads(1)
    with options.executor() as executor, closing(ProgressBars()) as bars:
        report = train_block_pose(config, options.out, bars.update, executor)
    test = report["test"]["noise_default"]
    print(f"{options.out}: block pose network for {config.arm}; test at noise default: {test}")
    for name, result in report.get("rollouts", {}).items():
        successes = f"{result['successes']} of {result['episodes']} {result['ci95']}"
        print(f"scripted policy on its detections, {name.replace('_', ' ')}: {successes}")
    return 0


class ProgressBars:
    """Progress bars of the parts of a run, one after the other."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def update(self, label: str, completed: int, total: int, note: str) -> None:
        """Update the bar of a part of the run.

        Args:
            label: name of the part.
            completed: number of finished steps of the part.
            total: number of steps of the part.
            note: text after the bar.
        """
        if self.bar is None or self.bar.desc != label:
            self.close()
            self.bar = tqdm(total=total, file=sys.stderr, mininterval=1)
            self.bar.desc = label
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(completed - self.bar.n)

    def close(self) -> None:
        """Close the current bar."""
        if self.bar is not None:
            self.bar.close()


def read_config(options: TrainBlockPoseOptions, rest: list[str]) -> BlockPoseTrainConfig:
    """Return the settings of the config file, overridden by those of the command line.

    Raises:
        ValueError: no such file, arm or field.
    """
    file = options.config or package_file("config/grasp/block_pose.yaml")
    values = load_yaml(file)
    if options.arm is not None:
        values["arm"] = options.arm
    return from_mapping(BlockPoseTrainConfig, override(values, rest), str(file))
