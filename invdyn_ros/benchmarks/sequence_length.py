"""What path models cost on long records: names enter, seconds and memory by length leave.

Each figure is of a process of its own, that has done the same on a short record before: the time
of one call, and by how much the peak of its memory then rises (Linux only).
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import PositiveInt
from tqdm import tqdm

from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, settings_of
from invdyn_ros.config import Fraction, PositiveInts, Validated
from invdyn_ros.evaluation.plots.time_series import plot_cost_by_length
from invdyn_ros.models.timeseries.encoder_model import EncoderDecoder
from invdyn_ros.models.timeseries.observations import Motions, subsample
from invdyn_ros.models.timeseries.registry import (
    TIME_SERIES_MODELS,
    build_time_series_model,
    load_time_series_model,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel

JOINTS, RATE = tuple("abcdefg"), 200.0  # as many as a hopper has, and as often [Hz]
WARMUP_LENGTH = 30  # samples of the record before
PREDICT, TRAIN = "predict", "train"
MEGABYTE = 1024  # kB
SLOPE_POINTS = 3  # longest lengths that tell the slope


@dataclass(frozen=True)
class SequenceLengthBenchmarkConfig(Validated):
    """Seconds and memory of path models on records of many lengths, one motion each."""

    families: tuple[str, ...] = ("bridge", "gru_dt", "latent_ode", "ode_rnn")
    """Path models with fresh weights, keys of PATHS."""
    models: tuple[Path, ...] = ()
    """Folders of trained path models, which predict only."""
    lengths: PositiveInts = (100, 300, 1000, 3000, 10_000)
    """Samples of the records."""
    observed_fraction: Fraction = 0.1
    """Share of the samples that are seen."""
    threads: PositiveInt = 1
    """CPU threads of torch."""
    report: Path | None = None
    """JSON file to write, and a picture beside it."""


def measure_sequence_length(config: SequenceLengthBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and draw it where one is wanted.

    Raises:
        ValueError: unknown family, two models of one name, no model, or fewer than two lengths.
    """
    if unknown := set(config.families) - set(TIME_SERIES_MODELS):
        raise ValueError(
            f"no path model {sorted(unknown)}; they are {', '.join(TIME_SERIES_MODELS)}"
        )
    if len(config.lengths) < 2:
        raise ValueError("a slope takes two lengths or more")
    about = machine_info(config.threads)
    names = [*config.families, *(folder.name for folder in config.models)]
    if len(set(names)) < len(names):
        raise ValueError(f"models are {', '.join(names)}; give each another name")
    for folder in config.models:
        load_time_series_model(folder)
    works = [(name, what) for name in config.families for what in (PREDICT, TRAIN)]
    works += [(str(folder.resolve()), PREDICT) for folder in config.models]  # never a family
    tasks = [(name, what, length) for name, what in works for length in config.lengths]
    costs: dict[str, list[tuple[float, float]]] = {}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    for name, what, length in tqdm(tasks, unit="record", file=sys.stderr):
        with context.Pool(1) as pool:
            cost = pool.apply(
                measure_cost, (name, what, length, config.observed_fraction, config.threads)
            )
        costs.setdefault(f"{Path(name).name}, {what}", []).append(cost)
    if config.report is not None:
        config.report.parent.mkdir(parents=True, exist_ok=True)
        plot_cost_by_length(config.lengths, costs, config.report.with_suffix(".png"))
    return benchmark_report(
        "sequence_length",
        unit="s and MB by samples; slope of both against samples, logarithms",
        machine=about,
        settings=settings_of(config),
        rows={name: _row(config.lengths, values) for name, values in costs.items()},
    )


def measure_cost(
    name: str, task: str, length: int, observed_fraction: float, threads: int
) -> tuple[float, float]:
    """Return the seconds of one call in this process, and the memory it takes [MB]."""
    torch.set_num_threads(threads)
    _make_call(name, task, WARMUP_LENGTH, observed_fraction)()
    work = _make_call(name, task, length, observed_fraction)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak
    before = _memory_kb("VmRSS")
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun, (_memory_kb("VmHWM") - before) / MEGABYTE


def _make_call(name: str, what: str, length: int, share: float) -> Any:
    """Return a call that predicts, or that computes a loss and its gradients."""
    torch.manual_seed(0)
    model = (
        _untrained(name, length, share)
        if name in TIME_SERIES_MODELS
        else load_time_series_model(name)
    )
    time_ = torch.arange(length, dtype=torch.float64)[None] / model.meta.rate
    phase = torch.arange(2.0 * model.n)
    state = torch.sin(time_[..., None] * (1 + phase / 5) + phase).float()
    if name in TIME_SERIES_MODELS:
        model.standardise(Motions(state, time_))
    if what == PREDICT:
        record = subsample(state, time_, share, 0)
        model.eval()
        return lambda: model.predict(record)
    return lambda: model.loss(state, time_).backward()


def _untrained(family: str, length: int, share: float) -> TimeSeriesModel:
    shape = (
        {"sequence_length": length, "observed_fractions": [share]}
        if issubclass(TIME_SERIES_MODELS[family], EncoderDecoder)
        else {}
    )
    return build_time_series_model(TimeSeriesMetadata(family, "long", JOINTS, RATE, shape))


def _memory_kb(name: str) -> int:
    """Return a figure of this process's memory [kB]."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def slope(lengths: PositiveInts, values: list[float]) -> float:
    """Return the power of the length that values grow with, of the longest records."""
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
