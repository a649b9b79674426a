"""Benchmark of time-series models: interpolation between observations and extrapolation.

The protocol is that of Rubanova et al. 2019 (arXiv 1907.03907, section 4.3 and table 3): of 100
consecutive samples of each test motion some are observed and all are predicted; or some of the
first are observed, and the rest of the motion is predicted. Errors are of states divided by the
maximum of their column, squared and averaged over all predicted samples, observed ones included.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor
from tqdm import tqdm

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import Row, ratios
from invdyn_ros.config import Fraction
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.evaluation.plots.time_series import plot_error_by_gap
from invdyn_ros.models.timeseries.encoder_model import EncoderDecoder, Fractions
from invdyn_ros.models.timeseries.interpolation_baselines import INTERPOLATORS, interpolate
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    max_scale,
    split_into_motions,
    subsample,
    surrounding_observations,
)
from invdyn_ros.models.timeseries.registry import load_time_series_model, untrained_copy
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel
from invdyn_ros.training.train_time_series import split_trajectories

SEQUENCE_LENGTH = 100  # samples of a sequence for interpolation
PERCENT = 100  # the paper gives errors times 10^2
BATCH_SIZE = 500  # motions
GAPS = (2, 4, 7, 11, 16, 22, 30)  # [samples] bounds of the gaps by which errors are reported
RESAMPLES = 1000  # of the bootstrap
# Table 3 of the paper, at 10, 20, 30 and 50%: interpolation, extrapolation
PAPER = {
    "paper: RNN-VAE": ((6.514, 6.408, 6.305, 6.100), (2.378, 2.135, 2.021, 1.782)),
    "paper: ODE-RNN": ((1.647, 1.209, 0.986, 0.665), (13.508, 31.950, 15.465, 26.463)),
    "paper: latent ODE": ((0.360, 0.295, 0.300, 0.285), (1.441, 1.400, 1.175, 1.258)),
}
PAPER_FRACTIONS = (0.1, 0.2, 0.3, 0.5)
PAPER_ROBOT, PAPER_CONTEXT_LENGTH = "hopper", 66  # its code uses a third of 200 samples

Predict = Callable[[Observations], Tensor]
Methods = dict[str, list[tuple[TimeSeriesModel | None, Predict]]]
ContextLengths = tuple[PositiveInt, ...]


@dataclass(frozen=True)
class TimeSeriesBenchmarkConfig(BenchmarkOptions):
    """Errors of states between irregular observations, and after the last one."""

    data: Path
    """Dataset folder, as of 'invdyn collect sim --arm hopper --seed 123'."""
    models: tuple[Path, ...] = ()
    """Folders of time-series models; those of one family and task share a row."""
    observed_fractions: Fractions = PAPER_FRACTIONS
    """Fractions of the samples that are observed."""
    context_lengths: ContextLengths = (66, 100)
    """Samples at the start that may be observed, the rest is extrapolated; may be empty."""
    test_fraction: Fraction = 0.2
    """The last trajectories, which no model may have been trained on."""
    seed: int = 0
    """Random seed of the sequences and of the observed samples."""
    threads: PositiveInt = 1
    """CPU threads of torch."""


class Task(NamedTuple):
    """A prediction task."""

    name: str
    observations: Observations
    start: int  # first row that is evaluated
    context_length: int | None  # samples that may be observed; None: all


class TaskErrors(NamedTuple):
    """Errors of one method in one task, times PERCENT."""

    mse: Tensor  # (N,) of each motion
    hidden: float  # of the unobserved rows
    by_gap: list[float]  # of the rows in gaps of each length
    outside: float  # before the first observation and after the last


def measure_time_series(config: TimeSeriesBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and plot errors against gaps if a report file is given.

    Raises:
        ValueError: bad dataset, bad model, or a model of another robot.
    """
    unit = "mean squared error x 10^2 of scaled states"
    measured = config.begin("time_series", unit, config.threads)
    rows = measured.rows
    torch.set_num_threads(config.threads)
    dataset = read_dataset(config.data)
    info, trajectories = dataset.info, dataset.trajectories
    length = min(map(len, trajectories))
    scale = max_scale(split_into_motions(trajectories, length).state)
    test = split_into_motions(split_trajectories(trajectories, config.test_fraction)[2], length)
    tasks = list(_tasks(config, test))
    methods = _methods(config, info.joint_names)
    details = _measure(methods, tasks, scale, rows)
    if info.robot == PAPER_ROBOT:
        rows |= _paper(config)
    if config.report is not None:
        config.report.parent.mkdir(parents=True, exist_ok=True)
        first = tasks[0].name
        plotted = {name: by_task[first] for name, by_task in details.items() if first in by_task}
        plot_error_by_gap(
            plotted, _gap_names(), config.report.with_name(f"{config.report.stem}_gaps.png")
        )
    shared = [task.name for task in tasks if task.name in rows.get("bridge", {})]
    ratio = {"bridge to linear": ratios(rows["bridge"], rows["linear"], shared)} if shared else {}
    return measured.report(ratio=ratio, details=details, gap_bounds=list(GAPS))


def _measure(
    methods: Methods, tasks: list[Task], scale: Tensor, rows: dict[str, Row]
) -> dict[str, Any]:
    """Add the rows of all methods, and return details of each by the name of the task."""
    details: dict[str, Any] = {}
    bar = tqdm(total=len(tasks) * len(methods), unit="task", desc="predicting", file=sys.stderr)
    with bar:
        for name, predictors in methods.items():
            for task in tasks:
                errors = [
                    _evaluate(predict, task, scale)
                    for model, predict in predictors
                    if _supports(model, task)
                ]
                bar.update()
                if errors:
                    means = [float(e.mse.mean()) for e in errors]
                    rows.setdefault(name, {})[task.name] = _significant(np.mean(means))
                    details.setdefault(name, {})[task.name] = _details(errors, means)
    return details


def _methods(config: TimeSeriesBenchmarkConfig, joint_names: tuple[str, ...]) -> Methods:
    """Return all methods by name; models of one family together, trained and untrained."""
    methods: Methods = {name: [(None, _interpolator(name))] for name in INTERPOLATORS}
    for folder in config.models:
        model = load_time_series_model(folder)
        meta, name = model.meta, model.meta.family
        if meta.joint_names != joint_names:
            actual, expected = ", ".join(meta.joint_names), ", ".join(joint_names)
            raise ValueError(f"{folder} is of joints {actual}; {config.data} has {expected}")
        if meta.data["test_fraction"] < config.test_fraction:
            raise ValueError(
                f"{folder} was trained with a test fraction of {meta.data['test_fraction']}, less "
                f"than {config.test_fraction}; give --test-fraction {meta.data['test_fraction']}"
            )
        methods.setdefault(f"{name}, untrained", []).append((model, untrained_copy(model).predict))
        methods.setdefault(name, []).append((model, model.predict))
    return methods


def _tasks(config: TimeSeriesBenchmarkConfig, test: Motions) -> Iterator[Task]:
    """Yield the tasks, the same ones for all methods."""
    count, length = test.time.shape
    size = min(SEQUENCE_LENGTH, length)
    generator = torch.Generator().manual_seed(config.seed)
    rows = torch.randint(length - size + 1, (count, 1), generator=generator) + torch.arange(size)
    batch = torch.arange(count)[:, None]
    state, time = test.state[batch, rows], test.time[batch, rows]
    for fraction in config.observed_fractions:
        yield Task(f"{fraction:.0%}", subsample(state, time, fraction, config.seed), 0, None)
    for context in config.context_lengths:
        for fraction in config.observed_fractions:
            observed = subsample(
                test.state[:, :context], test.time[:, :context], fraction, config.seed
            )
            future = torch.zeros(count, length - context, dtype=torch.bool)
            observations = Observations(
                test.state, test.time, torch.cat([observed.mask, future], 1)
            )
            name = f"{context}->{length - context} {fraction:.0%}"
            yield Task(name, observations, context, context)


def _supports(model: TimeSeriesModel | None, task: Task) -> bool:
    """Return whether a model was trained for a task; only encoders are trained for one."""
    return (
        not isinstance(model, EncoderDecoder) or model.config.context_length == task.context_length
    )


def _interpolator(name: str) -> Predict:
    return lambda observations: interpolate(INTERPOLATORS[name], observations)


def _evaluate(predict: Predict, task: Task, scale: Tensor) -> TaskErrors:
    """Return the errors of a method; unobserved states are NaN in its input."""
    state, time, mask = task.observations
    visible = torch.where(mask[..., None], state, torch.nan)
    parts = zip(*(x.split(BATCH_SIZE) for x in (visible, time, mask)), strict=True)
    predicted = torch.cat([predict(Observations(*part)) for part in parts])
    error = PERCENT * ((predicted - state) / scale).square().mean(2)[:, task.start :]  # (N, T)
    before, after = (x[:, task.start :] for x in surrounding_observations(mask))
    hidden = ~mask[:, task.start :]
    outside = (before < 0) | (after >= time.shape[1])
    gap = after - before
    by_gap = [(gap >= a) & (gap < b) & ~outside & hidden for a, b in pairwise((*GAPS, 10**9))]
    means = [_mean(error, selected) for selected in by_gap]
    return TaskErrors(error.mean(1), _mean(error, hidden), means, _mean(error, outside))


def _mean(values: Tensor, selected: Tensor) -> float:
    return float(values[selected].mean()) if selected.any() else float("nan")


def _details(errors: list[TaskErrors], means: list[float]) -> dict[str, Any]:
    """Return details of a row: 95% interval over motions, and parts of the error."""
    by_motion = torch.stack([e.mse for e in errors]).mean(0).numpy()
    picks = np.random.default_rng(0).integers(len(by_motion), size=(RESAMPLES, len(by_motion)))
    low, high = np.percentile(by_motion[picks].mean(1), [2.5, 97.5])
    return {
        "per_model": [_significant(x) for x in means],
        "ci95": [_significant(low), _significant(high)],
        "hidden": _rounded_mean([e.hidden for e in errors]),
        "outside": _rounded_mean([e.outside for e in errors]),
        "by_gap": [
            _rounded_mean(column) for column in zip(*(e.by_gap for e in errors), strict=True)
        ],
    }


def _rounded_mean(values: list[float] | tuple[float, ...]) -> float | None:
    mean = float(np.mean(values))
    return _significant(mean) if np.isfinite(mean) else None


def _significant(value: Any) -> float:
    """Round to three significant digits, as errors span four orders of magnitude."""
    return float(f"{float(value):.3g}")


def _gap_names() -> list[str]:
    bounds = [f"{a}" if b == a + 1 else f"{a}-{b - 1}" for a, b in pairwise(GAPS)]
    return [*bounds, f"{GAPS[-1]} or more"]


def _paper(config: TimeSeriesBenchmarkConfig) -> dict[str, Row]:
    """Return the published results of the configured tasks."""
    rows: dict[str, Row] = {}
    for name, (interpolation, extrapolation) in PAPER.items():
        row: Row = {}
        for fraction, mse_interpolation, mse_extrapolation in zip(
            PAPER_FRACTIONS, interpolation, extrapolation, strict=True
        ):
            if fraction in config.observed_fractions:
                row[f"{fraction:.0%}"] = mse_interpolation
                if PAPER_CONTEXT_LENGTH in config.context_lengths:
                    task = f"{PAPER_CONTEXT_LENGTH}->{200 - PAPER_CONTEXT_LENGTH} {fraction:.0%}"
                    row[task] = mse_extrapolation
        rows[name] = row
    return rows
