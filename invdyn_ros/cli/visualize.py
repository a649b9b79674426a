"""`invdyn visualize`: a dataset and a path model enter, a film of a body leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from pydantic import PositiveInt

from invdyn_ros.cli.options import parse
from invdyn_ros.config import Fraction, Validated
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.evaluation.plots.planar_body_video import MotionPredictions, write_body_video
from invdyn_ros.models.timeseries.observations import Observations, split_into_motions, subsample
from invdyn_ros.models.timeseries.registry import load_time_series_model, untrained_copy
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel
from invdyn_ros.sources.passive_rollouts import load_body
from invdyn_ros.training.train_time_series import split_trajectories

CURVES = 5  # that fit under each other


@dataclass(frozen=True)
class Config(Validated):
    """Show a body between observations, before and after training: OUT.mp4 and OUT.gif."""

    what: tyro.conf.Positional[Literal["trajectories"]]
    """What is shown."""
    data: Path
    """Dataset folder of a body, as of 'invdyn collect sim --arm hopper'."""
    checkpoint: Path
    """Folder of a path model."""
    out: Path
    """Film to write, without suffix."""
    motion: int = 0
    """Number of the motion among those for tests."""
    share: Fraction = 0.1
    """Share of its samples that are seen."""
    start: int = 0
    """First sample."""
    samples: PositiveInt = 100
    """Samples that are shown."""
    seed: int = 0
    """Of what is seen, and of the weights before training."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options = parse(Config, argv, "visualize")
    for file in _shown(options):
        print(file)
    return 0


def _shown(options: Config) -> list[Path]:
    """Say the states of one motion, and draw them."""
    model, dataset = load_time_series_model(options.checkpoint), read_dataset(options.data)
    machine = load_body(dataset.info.robot)
    test = split_trajectories(dataset.trajectories, model.meta.data["test_fraction"])[2]
    if not 0 <= options.motion < len(test):
        raise ValueError(f"motion is {options.motion}; there are 0 to {len(test) - 1}")
    whole = split_into_motions([test[options.motion]], len(test[options.motion]))
    rows = slice(options.start, options.start + options.samples)
    state, time = whole.state[:, rows], whole.time[:, rows]
    if options.start < 0 or state.shape[1] < options.samples:
        raise ValueError(
            f"samples {options.start} to {options.start + options.samples} are asked for; the "
            f"motion has {whole.time.shape[1]}"
        )
    record = subsample(state, time, options.share, options.seed)
    said = {
        "before training": _said(untrained_copy(model, options.seed), record),
        "after": _said(model, record),
    }
    true = state[0].double().numpy()
    columns = _hardest(dataset.info.joint_names, true, said["before training"])
    seen = record.mask[0].numpy()
    title = f"{dataset.info.robot}: {seen.sum()} of {len(seen)} samples seen"
    one = MotionPredictions(time[0].numpy(), true, seen, said)
    return write_body_video(options.out, machine, one, columns, title)


def _hardest(names: Sequence[str], true: np.ndarray, said: np.ndarray) -> dict[str, int]:
    """Return the columns (T, 2n) that are worst before training, by what they are called."""
    missed = np.abs(said - true).max(0) / np.maximum(np.ptp(true, axis=0), 1e-9)
    called = [*names, *(f"{name} velocity" for name in names)]
    return {called[k]: int(k) for k in sorted(np.argsort(-missed)[:CURVES])}


def _said(model: TimeSeriesModel, record: Observations) -> np.ndarray:
    return model.predict(record)[0].double().numpy()
