"""Benchmark of the time and memory of time-series models against the sequence length.

Each value is measured in a process of its own, which has processed a short sequence before: the
time of one call, and the increase of the peak memory during it (Linux only).
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import PositiveInt
from tqdm import tqdm

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import (
    Row,
    peak_memory,
)
from invdyn_ros.config import Fraction, PositiveInts
from invdyn_ros.evaluation.plots.time_series import plot_cost_by_length
from invdyn_ros.models.timeseries.encoder_model import EncoderDecoder
from invdyn_ros.models.timeseries.observations import Motions, subsample
from invdyn_ros.models.timeseries.registry import (
    TIME_SERIES_MODELS,
    build_time_series_model,
    load_time_series_model,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel
from invdyn_ros.workers import run_in_new_process

JOINTS, RATE = tuple("abcdefg"), 200.0  # number of joints and rate [Hz] of the hopper
WARMUP_LENGTH = 30  # samples of the sequence processed before
PREDICT, TRAIN = "predict", "train"
SLOPE_POINTS = 3  # longest lengths from which the slope is computed


@dataclass(frozen=True)
class SequenceLengthBenchmarkConfig(BenchmarkOptions):
    """Seconds and memory of time-series models on one motion of several lengths."""

    families: tuple[str, ...] = ("bridge", "gru_dt", "latent_ode", "ode_rnn")
    """Families of untrained models, keys of `TIME_SERIES_MODELS`."""
    models: tuple[Path, ...] = ()
    """Folders of trained models, of which prediction only is measured."""
    lengths: PositiveInts = (100, 300, 1000, 3000, 10_000)
    """Samples of the sequences."""
    observed_fraction: Fraction = 0.1
    """Fraction of the samples that are observed."""
    threads: PositiveInt = 1
    """CPU threads of torch."""


def measure_sequence_length(config: SequenceLengthBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and plot it if a report file is given.

    Raises:
        ValueError: unknown family, two models of one name, no model, or fewer than two lengths.
    """
    if unknown := set(config.families) - set(TIME_SERIES_MODELS):
        raise ValueError(
            f"no time-series model {sorted(unknown)}; known are {', '.join(TIME_SERIES_MODELS)}"
        )
    if len(config.lengths) < 2:
        raise ValueError("a slope takes two lengths or more")
    unit = "s and MB by samples; slope of both against samples, logarithms"
    measured = config.begin("sequence_length", unit, config.threads)
    names = [*config.families, *(folder.name for folder in config.models)]
    if len(set(names)) < len(names):
        raise ValueError(f"models are {', '.join(names)}; give each another name")
    for folder in config.models:
        load_time_series_model(folder)
    pairs = [(name, task) for name in config.families for task in (PREDICT, TRAIN)]
    pairs += [(str(folder.resolve()), PREDICT) for folder in config.models]  # never a family
    runs = [(name, task, length) for name, task in pairs for length in config.lengths]
    costs: dict[str, list[tuple[float, float]]] = {}
    rows = measured.rows
    for name, task, length in tqdm(runs, unit="sequence", file=sys.stderr):
        cost = run_in_new_process(
            measure_cost, name, task, length, config.observed_fraction, config.threads
        )
        values = costs.setdefault(f"{Path(name).name}, {task}", [])
        values.append(cost)
        rows[f"{Path(name).name}, {task}"] = _row(config.lengths[: len(values)], values)
    if config.report is not None:
        config.report.parent.mkdir(parents=True, exist_ok=True)
        plot_cost_by_length(config.lengths, costs, config.report.with_suffix(".png"))
    return measured.report()


def measure_cost(
    name: str, task: str, length: int, observed_fraction: float, threads: int
) -> tuple[float, float]:
    """Return the seconds of one call in this process, and its memory [MB].

    Args:
        name: family of an untrained model, or folder of a trained one.
        task: PREDICT or TRAIN.
        length: samples of the sequence.
        observed_fraction: fraction of the samples that are observed.
        threads: CPU threads of torch.
    """
    torch.set_num_threads(threads)
    _make_call(name, task, WARMUP_LENGTH, observed_fraction)()
    call = _make_call(name, task, length, observed_fraction)
    with peak_memory() as megabytes:
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
    return seconds, megabytes()


def _make_call(name: str, task: str, length: int, observed_fraction: float) -> Any:
    """Return a call that predicts, or that computes a loss and its gradients."""
    torch.manual_seed(0)
    model = (
        _untrained(name, length, observed_fraction)
        if name in TIME_SERIES_MODELS
        else load_time_series_model(name)
    )
    time_ = torch.arange(length, dtype=torch.float64)[None] / model.meta.rate
    phase = torch.arange(2.0 * model.n)
    state = torch.sin(time_[..., None] * (1 + phase / 5) + phase).float()
    if name in TIME_SERIES_MODELS:
        model.standardise(Motions(state, time_))
    if task == PREDICT:
        observations = subsample(state, time_, observed_fraction, 0)
        model.eval()
        return lambda: model.predict(observations)
    return lambda: model.loss(state, time_).backward()


def _untrained(family: str, length: int, observed_fraction: float) -> TimeSeriesModel:
    config = (
        {"sequence_length": length, "observed_fractions": [observed_fraction]}
        if issubclass(TIME_SERIES_MODELS[family], EncoderDecoder)
        else {}
    )
    return build_time_series_model(TimeSeriesMetadata(family, "long", JOINTS, RATE, config))


def slope(lengths: PositiveInts, values: list[float]) -> float:
    """Return the exponent of the power law of values against length, for the longest sequences."""
    x, y = (np.log(np.maximum(part[-SLOPE_POINTS:], 1e-9)) for part in (lengths, values))
    return float(np.polyfit(x, y, 1)[0])


def _row(lengths: PositiveInts, values: list[tuple[float, float]]) -> Row:
    row: Row = {}
    for unit, digits, column in zip(("s", "MB"), (4, 1), zip(*values, strict=True), strict=True):
        row |= {
            f"{unit} {n}": round(value, digits) for n, value in zip(lengths, column, strict=True)
        }
        row[f"slope of {unit}"] = round(slope(lengths, list(column)), 2)
    return row
