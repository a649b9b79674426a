"""`invdyn train`: train an inverse-dynamics or time-series model on a dataset."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from invdyn_ros.cli.options import override, parse, robot_option
from invdyn_ros.config import load_yaml
from invdyn_ros.models.timeseries.registry import TIME_SERIES_MODELS
from invdyn_ros.training.distributed import torchrun_process_group
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train
from invdyn_ros.training.train_time_series import (
    TimeSeriesTrainConfig,
    parse_time_series_config,
    train_time_series,
)
from invdyn_ros.training.training_state import Progress


@dataclass(frozen=True)
class TrainOptions:
    """Train a model on a dataset; `--field value` overrides a field of the config file."""

    config: Path
    """YAML file with the model family and the settings of the run."""
    data: Path
    """Dataset folder."""
    out: Path
    """Checkpoint folder to write."""
    arm: str | None = None
    """Name of the arm; default: the one of the dataset."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name."""
    resume: bool = False
    """Resume the interrupted run in --out."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options, rest = parse(TrainOptions, argv, "train", return_unknown_args=True)
    values = override(load_yaml(options.config), rest)
    if values.get("family") in TIME_SERIES_MODELS:
        return _train_time_series(parse_time_series_config(values, str(options.config)), options)
    config = parse_train_config(values, str(options.config))
    robot = robot_option(options.arm, options.urdf)
    with closing(ProgressBar(config.family, config.trainer.epochs)) as bar:
        model = train(config, options.data, options.out, options.resume, robot, bar.update)
    if not torchrun_process_group().is_main_process:
        return 0
    action_delay = model.meta.action_delay * 1e3
    delay = f"action delay {action_delay:.1f} ms"
    print(f"{options.out}: {config.family} for {model.meta.robot}, {delay}")
    return 0


def _train_time_series(config: TimeSeriesTrainConfig, options: TrainOptions) -> int:
    """Train a time-series model of the robot that the dataset names."""
    if options.arm or options.urdf:
        raise ValueError(
            f"family {config.family} takes neither --arm nor --urdf; the dataset names the robot"
        )
    with closing(ProgressBar(config.family, config.trainer.epochs)) as bar:
        model = train_time_series(config, options.data, options.out, options.resume, bar.update)
    print(f"{options.out}: {config.family} for {model.meta.robot}")
    return 0


class ProgressBar:
    """Progress bar of the epochs; it does not appear for a closed-form fit, without epochs."""

    def __init__(self, name: str, epochs: int) -> None:
        """Create a bar that appears with the first epoch."""
        self.name, self.epochs = name, epochs
        self.bar: tqdm | None = None

    def update(self, progress: Progress) -> None:
        """Update the bar."""
        if self.bar is None:
            self.bar = tqdm(total=self.epochs, unit="epoch", desc=self.name, file=sys.stderr)
        self.bar.set_postfix(
            val_loss=f"{progress.best_val_loss:.4g}", best_epoch=progress.best_epoch, refresh=False
        )
        self.bar.update(progress.epoch - self.bar.n)

    def close(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
