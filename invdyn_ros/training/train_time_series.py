"""Training of time-series models, from a config and a dataset to a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import PositiveInt

from invdyn_ros.config import Fraction, Validated, to_mapping
from invdyn_ros.data.dataset import DatasetInfo, read_dataset
from invdyn_ros.data.leakage import fingerprint
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.checkpoint import select_device
from invdyn_ros.models.timeseries.observations import Motions, split_into_motions
from invdyn_ros.models.timeseries.registry import (
    TIME_SERIES,
    TIME_SERIES_MODELS,
    build_time_series_model,
    load_time_series_model,
    save_time_series_model,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel
from invdyn_ros.training.run_config import parse_run_config
from invdyn_ros.training.trainer import Trainer, TrainerConfig
from invdyn_ros.training.training_state import Progress, RunState
from invdyn_ros.training.validation_error import time_series_validation_error


@dataclass(frozen=True)
class TimeSeriesTrainConfig(Validated):
    """Settings of a training run; a config file has all fields at one level.

    It contains those of the trainer and of the model family too.
    """

    family: str
    """Model family, a key of TIME_SERIES_MODELS."""
    seed: int = 0
    """Random seed of the initial weights, the noise and the batch order."""
    test_fraction: Fraction = 0.2
    """Fraction of the trajectories for testing, the last ones, and of the rest for validation."""
    motion_length: PositiveInt = 200
    """Samples per motion; trajectories are cut into motions of this length."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Device of the training."""
    threads: PositiveInt = 1
    """CPU threads of torch."""
    init_from: str | None = None
    """Folder of a model of the same family and shape with the initial weights; None: random."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Training by gradient descent, for families without a closed form."""
    model: dict[str, Any] = field(default_factory=dict)
    """Config of the family."""


def parse_time_series_config(values: Mapping[str, Any], source: str) -> TimeSeriesTrainConfig:
    """Build the config of a run from the flat fields of a config file.

    Raises:
        ValueError: unknown family, unknown field (naming the known ones) or a wrong value.
    """
    return parse_run_config(TimeSeriesTrainConfig, TIME_SERIES_MODELS, values, source)


def split_trajectories(
    trajectories: Sequence[Trajectory], fraction: float
) -> tuple[list[Trajectory], list[Trajectory], list[Trajectory]]:
    """Return training, validation and test trajectories, cut in this order.

    Raises:
        ValueError: too few trajectories.
    """
    cut = int(len(trajectories) * (1 - fraction))  # as Rubanova et al. split the hopper data
    train_end = int(cut * (1 - fraction))
    parts = (
        list(trajectories[:train_end]),
        list(trajectories[train_end:cut]),
        list(trajectories[cut:]),
    )
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
    """Train a time-series model and write its folder; the same seed gives the same weights.

    Args:
        config: settings of the run.
        data: dataset folder.
        out: folder of the model.
        resume: continue from the state that an interrupted run left in `out`.
        on_epoch: called after each epoch.

    Raises:
        ValueError: bad dataset, or nothing to resume.
    """
    torch.set_num_threads(config.threads)
    dataset = read_dataset(data)
    device = select_device(config.device)
    train, val = (
        split_into_motions(part, config.motion_length)
        for part in split_trajectories(dataset.trajectories, config.test_fraction)[:2]
    )
    content: dict[str, Any] = {
        "name": Path(data).name,
        "sha256": fingerprint(dataset.trajectories),
        "test_fraction": config.test_fraction,
    }
    model = _initial_model(config, dataset.info, content, train).to(device)
    train, val = (type(part)(*(x.to(device) for x in part)) for part in (train, val))
    progress = Progress()
    if not model.fit(train, val):
        settings = {k: v for k, v in to_mapping(config).items() if k not in ("threads", "device")}
        state = RunState(
            Path(out), settings | {"data": content["sha256"]}, model.meta, TIME_SERIES
        )
        state.directory.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(model, train, val, config.trainer, config.seed, state)
        if resume:
            trainer.resume()
        progress = trainer.run(on_epoch)
    error = time_series_validation_error(model.eval(), val)._asdict()
    result = {"epochs": progress.epoch, "validation": error}
    model.meta = replace(model.meta, data=content | result)
    save_time_series_model(model, out)
    return model


def _initial_model(
    config: TimeSeriesTrainConfig, info: DatasetInfo, content: dict[str, Any], train: Motions
) -> TimeSeriesModel:
    """Return the model before its training, with the scales of the motions to train on."""
    meta = TimeSeriesMetadata(
        config.family, info.robot, info.joint_names, info.rate, config.model, content
    )
    torch.manual_seed(config.seed)
    model = build_time_series_model(meta)
    model.meta = replace(meta, config=to_mapping(model.config))
    model.standardise(train)
    if config.init_from is not None:
        _load_initial_weights(config.init_from, model)
    return model


def _load_initial_weights(folder: str, model: TimeSeriesModel) -> None:
    """Copy the weights of another model.

    Raises:
        ValueError: no model in the folder, or one of another family or shape.
    """
    other = load_time_series_model(folder)
    expected, loaded = (m.state_dict() for m in (model, other))
    if {k: v.shape for k, v in expected.items()} != {k: v.shape for k, v in loaded.items()}:
        raise ValueError(
            f"init_from: {folder} is a {other.meta.family} of {other.n} joints; its tensors "
            f"do not fit the {model.meta.family} of {model.n} joints to be trained"
        )
    model.load_state_dict(loaded)
