"""`invdyn visualize trajectories`: write a video of a body and a model's predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import PositiveInt

from invdyn_ros.config import Fraction, Validated
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.evaluation.plots.planar_body_video import (
    VIDEO_SUFFIXES,
    MotionPredictions,
    write_body_video,
)
from invdyn_ros.models.timeseries.observations import Observations, split_into_motions, subsample
from invdyn_ros.models.timeseries.registry import load_time_series_model, untrained_copy
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel
from invdyn_ros.sources.passive_rollouts import load_body
from invdyn_ros.training.train_time_series import split_trajectories

MAX_CURVES = 5


@dataclass(frozen=True)
class TrajectoryOptions(OutputOptions, Validated):
    """Write OUT.mp4 and OUT.gif with predictions of a model before and after its training."""

    data: Path
    """Dataset folder of a body, such as from 'invdyn collect sim --arm hopper'."""
    checkpoint: Path
    """Checkpoint folder of a time-series model."""
    out: Path
    """Video to write, without suffix."""
    motion: int = 0
    """Index of the motion in the test split."""
    observed_fraction: Fraction = 0.1
    """Fraction of the samples that is observed."""
    start: int = 0
    """First sample."""
    samples: PositiveInt = 100
    """Number of samples."""
    seed: int = 0
    """Random seed of the observations, and of the weights before training."""

    def outputs(self) -> Iterator[tuple[str, Path]]:
        """Yield the videos."""
        for suffix in VIDEO_SUFFIXES:
            yield "--out", self.out.with_suffix(suffix)


def write_trajectories(options: TrajectoryOptions) -> list[Path]:
    """Predict the states of one motion, write its video and return the files.

    Raises:
        ValueError: no such motion or samples.
    """
    model, dataset = load_time_series_model(options.checkpoint), read_dataset(options.data)
    body = load_body(dataset.info.robot)
    test = split_trajectories(dataset.trajectories, model.meta.data["test_fraction"])[2]
    if not 0 <= options.motion < len(test):
        raise ValueError(f"motion is {options.motion}; there are 0 to {len(test) - 1}")
    motion = split_into_motions([test[options.motion]], len(test[options.motion]))
    rows = slice(options.start, options.start + options.samples)
    state, time = motion.state[:, rows], motion.time[:, rows]
    if options.start < 0 or state.shape[1] < options.samples:
        raise ValueError(
            f"samples {options.start} to {options.start + options.samples} are out of range; the "
            f"motion has {motion.time.shape[1]}"
        )
    observations = subsample(state, time, options.observed_fraction, options.seed)
    predictions = {
        "before training": _predict(untrained_copy(model, options.seed), observations),
        "after": _predict(model, observations),
    }
    true_states = state[0].double().numpy()
    columns = _largest_errors(
        dataset.info.joint_names, true_states, predictions["before training"]
    )
    mask = observations.mask[0].numpy()
    title = f"{dataset.info.robot}: {mask.sum()} of {len(mask)} samples observed"
    video = MotionPredictions(time[0].numpy(), true_states, mask, predictions)
    return write_body_video(options.out, body, video, columns, title)


def _largest_errors(
    names: Sequence[str], true_states: np.ndarray, predictions: np.ndarray
) -> dict[str, int]:
    """Return name -> column of the states (T, 2n) with the largest errors."""
    error = np.abs(predictions - true_states).max(0) / np.maximum(
        np.ptp(true_states, axis=0), 1e-9
    )
    labels = [*names, *(f"{name} velocity" for name in names)]
    return {labels[k]: int(k) for k in sorted(np.argsort(-error)[:MAX_CURVES])}


def _predict(model: TimeSeriesModel, observations: Observations) -> np.ndarray:
    return model.predict(observations)[0].double().numpy()
