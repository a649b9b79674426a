"""A dataset of motions enters; a path model that knows how they go on leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import PositiveInt

from invdyn_ros.config import Fraction, Validated, to_mapping
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.leakage import fingerprint
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.checkpoint import select_device
from invdyn_ros.models.timeseries.observations import split_into_motions
from invdyn_ros.models.timeseries.registry import (
    TIME_SERIES,
    TIME_SERIES_MODELS,
    build_time_series_model,
    load_time_series_model,
    save_time_series_model,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel
from invdyn_ros.training.optimizer import OptimizerConfig
from invdyn_ros.training.train import parse_run
from invdyn_ros.training.trainer import Trainer
from invdyn_ros.training.training_state import Progress, RunState


@dataclass(frozen=True)
class TimeSeriesTrainConfig(Validated):
    """One training run; a config file also holds the fields of its family, beside these."""

    family: str
    """Path model, a key of PATHS."""
    seed: int = 0
    """Of the first weights, of what is drawn and of the batch order."""
    test_fraction: Fraction = 0.2
    """The last trajectories are for tests; as large a share of the rest decides what is kept."""
    length: PositiveInt = 200
    """Samples of the pieces that trajectories are cut into."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where to compute."""
    threads: PositiveInt = 1
    """CPU threads of torch."""
    start: str | None = None
    """Folder of a model of the same family and shape, whose weights are the first; none: fresh."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Gradient trainer."""
    model: dict[str, Any] = field(default_factory=dict)
    """The family's own fields."""


def parse_time_series_config(values: Mapping[str, Any], where: str) -> TimeSeriesTrainConfig:
    """Sort the flat fields of a config file into run, optimizer and family.

    Raises:
        ValueError: unknown family, unknown field (naming the known ones) or a wrong value.
    """
    return parse_run(TimeSeriesTrainConfig, TIME_SERIES_MODELS, values, where)


def parted(
    trajectories: Sequence[Trajectory], fraction: float
) -> tuple[list[Trajectory], list[Trajectory], list[Trajectory]]:
    """Return what is to learn from, to judge by and to test on, in order.

    Raises:
        ValueError: too few trajectories for that.
    """
    cut = int(len(trajectories) * (1 - fraction))  # as Rubanova et al. cut their hopper
    half = int(cut * (1 - fraction))
    parts = list(trajectories[:half]), list(trajectories[half:cut]), list(trajectories[cut:])
    if not all(parts):
        raise ValueError(
            f"{len(trajectories)} trajectories are too few for a test fraction of {fraction}; "
            "collect more"
        )
    return parts


def train_time_series(
    config: TimeSeriesTrainConfig,
    data: str | Path,
    out: str | Path,
    resume: bool = False,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> TimeSeriesModel:
    """Train a path model and write its folder; the same seed gives the same weights.

    Raises:
        ValueError: bad dataset, or nothing to resume.
    """
    torch.set_num_threads(config.threads)
    dataset = read_dataset(data)
    first, second, _ = parted(dataset.trajectories, config.test_fraction)
    learn, judge = (
        split_into_motions(first, config.length),
        split_into_motions(second, config.length),
    )
    info, device = dataset.info, select_device(config.device)
    content: dict[str, Any] = {
        "name": Path(data).name,
        "sha256": fingerprint(dataset.trajectories),
        "test_fraction": config.test_fraction,
    }
    meta = TimeSeriesMetadata(
        config.family, info.robot, info.joint_names, info.rate, config.model, content
    )
    torch.manual_seed(config.seed)
    model = build_time_series_model(meta)
    meta = replace(meta, config=to_mapping(model.config))
    model.meta = meta
    model.standardise(learn)
    if config.start is not None:
        _started(config.start, model)
    model.to(device)
    learn, judge = (type(part)(*(x.to(device) for x in part)) for part in (learn, judge))
    progress = Progress()
    if not model.fit(learn, judge):
        settings = {k: v for k, v in to_mapping(config).items() if k not in ("threads", "device")}
        state = RunState(Path(out), settings | {"data": content["sha256"]}, meta, TIME_SERIES)
        state.directory.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(model, learn, judge, config.optimizer, config.seed, state)
        if resume:
            trainer.resume()
        progress = trainer.run(on_epoch)
    model.meta = replace(meta, data=content | {"epochs": progress.epoch})
    save_time_series_model(model.eval(), out)
    return model


def _started(folder: str, model: TimeSeriesModel) -> None:
    """Take the weights of another model.

    Raises:
        ValueError: none there, or of another family or shape.
    """
    other = load_time_series_model(folder)
    wanted, found = (m.state_dict() for m in (model, other))
    if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in found.items()}:
        raise ValueError(
            f"start: {folder} is a {other.meta.family} of {other.n} joints and other shape "
            f"than the {model.meta.family} of {model.n} joints that is to be trained"
        )
    model.load_state_dict(found)
