"""`invdyn train_planner`: train a planner on motion or demonstrations."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from tqdm import tqdm

from invdyn_ros.cli.options import parse
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.grasp.learning.demonstration_dataset import is_demonstration_dataset
from invdyn_ros.grasp.learning.planner_data import load_planner_data
from invdyn_ros.training.train_planner import PlannerTrainConfig, planner_data, train_planner
from invdyn_ros.training.training_state import Progress


@dataclass(frozen=True)
class TrainPlannerOptions(OutputOptions):
    """Train a planner, which predicts a sequence of desired states towards a goal."""

    data: Path
    """Dataset folder of motions or of grasp demonstrations."""
    out: Path
    """Folder for the planner."""
    resume: bool = False
    """Resume the run in --out."""
    planner: PlannerTrainConfig = field(default_factory=PlannerTrainConfig)
    """Settings of the training."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    kind = tyro.conf.configure(tyro.conf.OmitArgPrefixes)(TrainPlannerOptions)
    options = parse(kind, argv, "train_planner")
    load = load_planner_data if is_demonstration_dataset(options.data) else planner_data
    data = load(options.planner, options.data)
    epochs = options.planner.trainer.epochs
    with tqdm(total=epochs, unit="epoch", desc="planner", file=sys.stderr) as bar:

        def callback(progress: Progress) -> None:
            bar.set_postfix(val_loss=f"{progress.best_val_loss:.4g}", refresh=False)
            bar.update(progress.epoch - bar.n)

        planner = train_planner(options.planner, data, options.out, options.resume, callback)
    seconds = planner.meta.network.horizon / planner.meta.rate
    print(f"{options.out}: plans of {seconds:.2f} s for {planner.meta.robot}")
    return 0
