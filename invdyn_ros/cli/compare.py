"""`invdyn compare`: a dataset enters; a table, a picture and a checkpoint of each family leave."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from invdyn_ros.cli.options import parse
from invdyn_ros.cli.train import ProgressBar
from invdyn_ros.config import Validated
from invdyn_ros.data.dataset import DatasetInfo, read_dataset
from invdyn_ros.evaluation.closed_loop_tracking import TrackingTask
from invdyn_ros.evaluation.compare import (
    ComparisonJob,
    TrainedRun,
    comparison_report,
    family_configs,
    load_trajectories,
    train_seeds,
)
from invdyn_ros.evaluation.comparison_table import markdown
from invdyn_ros.evaluation.plots.comparison import plot_comparison
from invdyn_ros.graph.arguments import ARMS
from invdyn_ros.models.checkpoint import write_atomically
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.training.train import TrainConfig, check_joints
from invdyn_ros.training.training_state import Progress


@dataclass(frozen=True)
class Config(Validated):
    """Train every family on a dataset and compare them on motion that none has seen."""

    data: Path
    """Dataset folder."""
    out: Path
    """Folder for compare.json, compare.md, compare.png and the checkpoints FAMILY_SEED; what is
    there already and matches is not trained again."""
    families: tuple[str, ...] = ()
    """Families to compare; default: all."""
    seeds: PositiveInt = 3
    """Trainings of each family, on the same split; the best on validation counts."""
    configs: Path | None = None
    """Folder with a FAMILY.yaml of each; default: those that come with the package."""
    drive: bool | None = None
    """Also drive the simulated arm with each model; default: where there is such an arm."""
    payload: float | None = None
    """Mass at the tool of the simulated arm [kg]: that of the data; default: the plant's own."""
    arm: str | None = None
    """Arm of the data; the dataset says it unless given."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options: Config = parse(Config, argv, "compare")
    configs = family_configs(options.families, options.configs)
    dataset = read_dataset(options.data)
    name = options.arm or (options.urdf.stem if options.urdf else dataset.info.robot)
    robot = load_robot(name, options.urdf)
    check_joints(dataset, robot, options.data)
    job = ComparisonJob(options.data, options.out, robot, _course(options, robot, dataset.info))
    found = {}
    for family, config in configs.items():
        with closing(Progression()) as bar:
            whole = load_trajectories(options.data)
            found[family] = train_seeds(job, config, options.seeds, whole, bar.show, bar.end)
    result = comparison_report(job, found)
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out / "compare.json", (json.dumps(result, indent=2) + "\n").encode())
    text = markdown(result)
    write_atomically(options.out / "compare.md", text.encode())
    plot_comparison(result, options.out / "compare.png")
    print(f"\n{text}")
    return 0


class Progression:
    """A bar while a model trains, and a line when it is done."""

    def __init__(self) -> None:
        self.bar: ProgressBar | None = None

    def show(self, config: TrainConfig, progress: Progress) -> None:
        """Draw where the training stands."""
        if self.bar is None:
            self.bar = ProgressBar(config.family, config.trainer.epochs)
        self.bar.show(progress)

    def end(self, run: TrainedRun) -> None:
        """Say how a model has done."""
        self.close()
        how = "was there" if run.seconds is None else f"trained in {run.seconds:.0f} s"
        errors = (_percent(row["nmse"]["mean"]) for row in (run.val, run.test))
        text = "{}: {}, nMSE {} on validation, {} on test"
        print(text.format(run.checkpoint.name, how, *errors), flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None


def _course(options: Config, robot: Robot, info: DatasetInfo) -> TrackingTask | None:
    """Return where to drive; a motor's current cannot be simulated."""
    known = robot.name in ARMS and info.action_unit != "A"
    drive = known if options.drive is None else options.drive
    return TrackingTask.for_robot(robot, info.action_unit, options.payload) if drive else None


def _percent(share: Any) -> str:
    return "n/a" if share is None else f"{100 * share:.3g}%"
