"""`invdyn train`: train an inverse-dynamics or time-series model on a dataset."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from invdyn_ros.cli.options import override, parse, robot_option
from invdyn_ros.config import load_json, load_yaml
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.evaluation.pages.network import write_network_page
from invdyn_ros.models.drive_check import refusal
from invdyn_ros.models.timeseries.registry import TIME_SERIES_MODELS
from invdyn_ros.training.dataset_arm import urdf_warning
from invdyn_ros.training.distributed import torchrun_process_group
from invdyn_ros.training.network_recorder import NetworkRecorder
from invdyn_ros.training.run_config import find_config, parse_train_config
from invdyn_ros.training.train import train
from invdyn_ros.training.train_time_series import (
    TimeSeriesTrainConfig,
    parse_time_series_config,
    train_time_series,
)
from invdyn_ros.training.training_state import Progress
from invdyn_ros.training.validation_error import ValidationError


@dataclass(frozen=True)
class TrainOptions(OutputOptions):
    """Train a model on a dataset; `--field value` overrides a field of the config file."""

    config: Path
    """YAML file with the model family and the settings of the run, or the name of one of this
    package, such as rigid_body."""
    data: Path
    """Dataset folder."""
    out: Path
    """Checkpoint folder to write."""
    train: tuple[str, ...] = ()
    """Names of the recordings in the dataset to train on; default: all but those of --test."""
    test: tuple[str, ...] = ()
    """Names of the recordings to test on; default: all but those of --train or, without either,
    the fraction of the trajectories in `test_fraction`, which may be 0."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; default: the one of the dataset."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""
    resume: bool = False
    """Resume the interrupted run in --out."""
    watch: Path | None = None
    """Page (.html) of the network to write while it trains; families mlp, enhanced, ensemble."""
    report: Path | None = None
    """JSON file to write after the training, as 'invdyn evaluate' does."""

    def outputs(self) -> Iterator[tuple[str, Path]]:
        """Yield checkpoint, page and report, but for those of the interrupted run to resume."""
        for option, path in super().outputs():
            if not (self.resume and (option == "--watch" or self._is_interrupted())):
                yield option, path

    def _is_interrupted(self) -> bool:
        """Whether the report is that of an interrupted run."""
        if self.report is None or not self.report.is_file():
            return False
        return bool(load_json(self.report).get("run", {}).get("interrupted"))

    def __post_init__(self) -> None:
        """Check the names of page and report."""
        if self.report is not None and (self.report.suffix != ".json" or self.report.is_dir()):
            raise ValueError(f"--report {self.report} is no .json file")
        if self.watch is not None and (self.watch.suffix != ".html" or self.watch.is_dir()):
            raise ValueError(f"--watch {self.watch} is no .html file")


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options, rest = parse(TrainOptions, argv, "train", return_unknown_args=True)
    values = override(load_yaml(find_config(options.config)), rest)
    if values.get("family") in TIME_SERIES_MODELS:
        return _train_time_series(parse_time_series_config(values, str(options.config)), options)
    config = parse_train_config(values, str(options.config))
    config = replace(config, train=options.train or config.train, test=options.test or config.test)
    if options.report is not None and not (config.test_fraction or config.train or config.test):
        raise ValueError("--report: test_fraction 0 leaves nothing to test on; leave one out")
    robot = robot_option(options.arm, options.urdf)
    if warning := urdf_warning(options.data, robot.urdf if robot else None):
        print(f"warning: {warning}", file=sys.stderr)
    with closing(ProgressBar(config.family, config.trainer.epochs)) as bar:
        recorder = None if options.watch is None else NetworkRecorder(PageWriter(options.watch))
        try:
            model = train(
                config, options.data, options.out, options.resume, robot, bar.update, recorder
            )
        except KeyboardInterrupt:
            return _end_interrupted(options, bar)
    if not torchrun_process_group().is_main_process:
        return 0
    if recorder is not None and options.watch is not None:
        print(write_network_page(options.watch, [recorder.history(finished=True)]))
    action_delay = model.meta.action_delay * 1e3
    delay = f"action delay {action_delay:.1f} ms"
    if not model.meta.urdf and config.action_delay is None and model.input_type == "motion":
        delay += (
            " (estimated without a URDF)" if action_delay else " (without a URDF, none is clear)"
        )
    error = ValidationError(**model.meta.data["validation"]).text(model.meta.action_unit)
    lag = max(model.meta.effort_lag, default=0.0)
    delay += f", lag of the effort up to {lag * 1e3:.0f} ms" if lag else ""
    print(f"{options.out}: {config.family} for {model.meta.robot}, {delay}, {error}")
    if warning := model.meta.data["unit_warning"]:
        print(f"warning: {warning}", file=sys.stderr)
    if reason := refusal(model.meta.data):
        print(f"{options.out}: a live graph refuses it as a driver: {reason}")
    return 0 if options.report is None else _evaluate(options, options.report)


def _end_interrupted(options: TrainOptions, bar: ProgressBar) -> int:
    """Say what an interrupted training has left, and evaluate it; return the exit code."""
    bar.close()
    if not bar.epoch or not torchrun_process_group().is_main_process:
        raise KeyboardInterrupt
    print(
        f"{options.out}: interrupted after {bar.epoch} of {bar.epochs} epochs; it holds the best "
        "weights so far, and --resume goes on"
    )
    if options.report is not None:
        _evaluate(options, options.report)
    return 130


def _evaluate(options: TrainOptions, report: Path) -> int:
    """Evaluate the model like `invdyn evaluate` and return the exit code."""
    from invdyn_ros.cli import evaluate

    words: list[Path | str] = ["--checkpoint", options.out, "--data", options.data]
    words += ["--report", report, "--overwrite"]  # checked before the training
    words += ["--arm", options.arm] if options.arm else []
    words += ["--urdf", options.urdf] if options.urdf else []
    return evaluate.main([str(word) for word in words])


def _train_time_series(config: TimeSeriesTrainConfig, options: TrainOptions) -> int:
    """Train a time-series model of the robot that the dataset names."""
    if options.watch is not None:
        raise ValueError(f"--watch draws inverse-dynamics networks, not family {config.family}")
    if options.report is not None:
        raise ValueError(
            f"--report is for inverse dynamics; 'invdyn benchmark time_series' evaluates "
            f"{config.family}"
        )
    if options.arm or options.urdf:
        raise ValueError(
            f"family {config.family} takes neither --arm nor --urdf; the dataset names the robot"
        )
    with closing(ProgressBar(config.family, config.trainer.epochs)) as bar:
        model = train_time_series(config, options.data, options.out, options.resume, bar.update)
    error = ValidationError(**model.meta.data["validation"]).text("")
    print(f"{options.out}: {config.family} for {model.meta.robot}, {error}")
    return 0


class PageWriter:
    """Page of a network, written every few seconds while it trains.

    Writing takes at most a fiftieth of the time.
    """

    INTERVAL, FRACTION = 5.0, 0.02  # [s] at least, and of the time at most

    def __init__(self, path: Path) -> None:
        """Write to `path` after the first epoch, and again later."""
        self.path, self.next_time = path, 0.0

    def __call__(self, recorder: NetworkRecorder) -> None:
        """Write the page if it is time."""
        start = time.monotonic()
        if start < self.next_time:
            return
        write_network_page(self.path, [recorder.history(finished=False)])
        seconds = time.monotonic() - start
        self.next_time = start + max(self.INTERVAL, seconds / self.FRACTION)


class ProgressBar:
    """Progress bar of the epochs; it does not appear for a closed-form fit, without epochs."""

    def __init__(self, name: str, epochs: int) -> None:
        """Create a bar that appears with the first epoch."""
        self.name, self.epochs, self.epoch = name, epochs, 0
        self.bar: tqdm | None = None

    def update(self, progress: Progress) -> None:
        """Update the bar."""
        self.epoch = progress.epoch
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
