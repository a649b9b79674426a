"""`invdyn train_block_pose`: an arm enters, a network that sees blocks without markers leaves."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from invdyn_ros.cli.options import override, parse
from invdyn_ros.config import from_mapping, load_yaml
from invdyn_ros.grasp.pose_training.train import (
    CONFIG_FILE,
    BlockPoseTrainConfig,
    train_block_pose,
)
from invdyn_ros.robots.robot import package_file


@dataclass(frozen=True)
class TrainBlockPoseOptions:
    """Train a network that sees; --field value overrides a field of the config file."""

    out: Path
    """Folder for the network, its report block_pose.json and the pictures it learns from."""
    arm: str | None = None
    """Name of the arm; the config says it unless given."""
    config: Path | None = None
    """YAML file; by default the shipped one."""
    resume: bool = False
    """Go on with an interrupted run in --out: what it has drawn and each round it ended stay."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options, rest = parse(
        TrainBlockPoseOptions, argv, "train_block_pose", return_unknown_args=True
    )
    config = read_config(options, rest)
    if (options.out / CONFIG_FILE).exists() and not options.resume:
        raise ValueError(f"{options.out} holds a run already; give --resume or another --out")
    torch.set_num_threads(1)
    with closing(Bars()) as bars:
        report = train_block_pose(config, options.out, bars.show)
    test = report["test"]["default"]
    print(f"{options.out}: sees blocks for {config.arm}; test, noise default: {test}")
    for level, trial in report.get("rollouts", {}).items():
        print(
            f"script, noise {level}: {trial['successes']} of {trial['episodes']} {trial['ci95']}"
        )
    return 0


class Bars:
    """A progress bar for each part of a run."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        self.bar: tqdm | None = None

    def show(self, what: str, done: int, total: int, note: str) -> None:
        """Draw how much of something is done."""
        if self.bar is None or self.bar.desc != what:
            self.close()
            self.bar = tqdm(total=total, file=sys.stderr, mininterval=1)
            self.bar.desc = what
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()


def read_config(options: TrainBlockPoseOptions, rest: list[str]) -> BlockPoseTrainConfig:
    """Return the config file with what the command line changes.

    Raises:
        ValueError: no such file, arm or field.
    """
    file = options.config or package_file("config/grasp/block_pose.yaml")
    values = load_yaml(file)
    if options.arm is not None:
        values["arm"] = options.arm
    return from_mapping(BlockPoseTrainConfig, override(values, rest), str(file))
