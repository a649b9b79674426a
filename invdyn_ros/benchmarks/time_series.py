"""States between observations and beyond them: a dataset and path models enter, a table leaves.

The protocol is that of Rubanova et al. 2019 (arXiv 1907.03907, section 4.3 and table 3): of 100
consecutive samples of each test motion some are seen, all are to be said; or some of the first are
seen, and the rest of the motion is to be said. Errors are of states divided by the maximum of
their column, squared and averaged over everything that is asked for, what is seen included.
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

from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios, settings_of
from invdyn_ros.config import Fraction, Validated
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

SEQUENCE_LENGTH = 100  # samples of which some are seen
PERCENT = 100  # the paper gives errors times 10^2
BATCH_SIZE = 500  # motions
GAPS = (2, 4, 7, 11, 16, 22, 30)  # [samples] bounds of the gaps that errors are reported by
RESAMPLES = 1000
# Table 3 of the paper, at 10, 20, 30 and 50%
PAPER = {
    "paper: RNN-VAE": ((6.514, 6.408, 6.305, 6.100), (2.378, 2.135, 2.021, 1.782)),
    "paper: ODE-RNN": ((1.647, 1.209, 0.986, 0.665), (13.508, 31.950, 15.465, 26.463)),
    "paper: latent ODE": ((0.360, 0.295, 0.300, 0.285), (1.441, 1.400, 1.175, 1.258)),
}
PAPER_FRACTIONS = (0.1, 0.2, 0.3, 0.5)
PAPER_ROBOT, PAPER_CONTEXT_LENGTH = "hopper", 66  # its code shows a third of 200 samples

Predict = Callable[[Observations], Tensor]
ContextLengths = tuple[PositiveInt, ...]


@dataclass(frozen=True)
class TimeSeriesBenchmarkConfig(Validated):
    """States between observations at irregular times, and after the last one."""

    data: Path
    """Dataset folder, as of 'invdyn collect sim --arm hopper --seed 123'."""
    models: tuple[Path, ...] = ()
    """Folders of path models; those of one family and task share a row."""
    observed_fractions: Fractions = PAPER_FRACTIONS
    """Shares of the samples that are seen."""
    context_lengths: ContextLengths = (66, 100)
    """Samples at the start of which some are seen, where the rest is to be said; may be none."""
    test_fraction: Fraction = 0.2
    """The last trajectories, which no model may have learned from."""
    seed: int = 0
    """Of the pieces, and of what is seen."""
    threads: PositiveInt = 1
    """CPU threads of torch."""
    report: Path | None = None
    """JSON file to write, and pictures beside it."""


class Task(NamedTuple):
    """What is asked for."""

    name: str
    observations: Observations
    start: int  # first row that counts
    context_length: int | None  # samples of which some are seen; none: all


class TaskErrors(NamedTuple):
    """What one way of saying has wrong in one task."""

    mse: Tensor  # (N,) of each motion, times PERCENT
    hidden: float  # of the rows that were not seen
    by_gap: list[float]  # by how long the gap around a row is
    outside: float  # before the first observation and after the last


def measure_time_series(config: TimeSeriesBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and draw errors against gaps where one is wanted.

    Raises:
        ValueError: bad dataset, bad model, or a model of another machine.
    """
    about = machine_info(config.threads)
    torch.set_num_threads(config.threads)
    dataset = read_dataset(config.data)
    info, trajectories = dataset.info, dataset.trajectories
    length = min(map(len, trajectories))
    scale = max_scale(split_into_motions(trajectories, length).state)
    test = split_into_motions(split_trajectories(trajectories, config.test_fraction)[2], length)
    tasks = list(_tasks(config, test))
    sayers = _methods(config, info.joint_names)
    rows: dict[str, Row] = {}
    details: dict[str, Any] = {}
    bar = tqdm(total=len(tasks) * len(sayers), unit="task", desc="saying", file=sys.stderr)
    with bar:
        for name, ways in sayers.items():
            for task in tasks:
                answers = [_evaluate(say, task, scale) for m, say in ways if _supports(m, task)]
                bar.update()
                if answers:
                    means = [float(a.mse.mean()) for a in answers]
                    rows.setdefault(name, {})[task.name] = _significant(np.mean(means))
                    details.setdefault(name, {})[task.name] = _details(answers, means)
    if info.robot == PAPER_ROBOT:
        rows |= _paper(config)
    if config.report is not None:
        config.report.parent.mkdir(parents=True, exist_ok=True)
        first = tasks[0].name
        drawn = {name: own[first] for name, own in details.items() if first in own}
        plot_error_by_gap(
            drawn, _gap_names(), config.report.with_name(f"{config.report.stem}_gaps.png")
        )
    shared = [task.name for task in tasks if task.name in rows.get("bridge", {})]
    ratio = {"bridge to linear": ratios(rows["bridge"], rows["linear"], shared)} if shared else {}
    return benchmark_report(
        "time_series",
        unit="mean squared error x 10^2 of scaled states",
        machine=about,
        settings=settings_of(config),
        rows=rows,
        ratio=ratio,
        details=details,
        gap_bounds=list(GAPS),
    )


def _methods(
    config: TimeSeriesBenchmarkConfig, joint_names: tuple[str, ...]
) -> dict[str, list[tuple[TimeSeriesModel | None, Predict]]]:
    """Return all ways of saying by name, models of one family together, trained and not."""
    sayers: dict[str, list[tuple[TimeSeriesModel | None, Predict]]] = {
        name: [(None, _interpolator(name))] for name in INTERPOLATORS
    }
    for folder in config.models:
        model = load_time_series_model(folder)
        meta, name = model.meta, model.meta.family
        if meta.joint_names != joint_names:
            found, right = ", ".join(meta.joint_names), ", ".join(joint_names)
            raise ValueError(f"{folder} is of joints {found}; {config.data} has {right}")
        if meta.data["test_fraction"] < config.test_fraction:
            raise ValueError(
                f"{folder} set {meta.data['test_fraction']} of its data aside, and the last "
                f"{config.test_fraction} are asked for; give --test-fraction "
                f"{meta.data['test_fraction']}"
            )
        sayers.setdefault(f"{name}, untrained", []).append((model, untrained_copy(model).predict))
        sayers.setdefault(name, []).append((model, model.predict))
    return sayers


def _tasks(config: TimeSeriesBenchmarkConfig, test: Motions) -> Iterator[Task]:
    """Yield what is asked for; everybody is asked the same."""
    count, length = test.time.shape
    sight = min(SEQUENCE_LENGTH, length)
    random = torch.Generator().manual_seed(config.seed)
    rows = torch.randint(length - sight + 1, (count, 1), generator=random) + torch.arange(sight)
    each = torch.arange(count)[:, None]
    state, time = test.state[each, rows], test.time[each, rows]
    for share in config.observed_fractions:
        yield Task(f"{share:.0%}", subsample(state, time, share, config.seed), 0, None)
    for first in config.context_lengths:
        for share in config.observed_fractions:
            part = subsample(test.state[:, :first], test.time[:, :first], share, config.seed)
            rest = torch.zeros(count, length - first, dtype=torch.bool)
            record = Observations(test.state, test.time, torch.cat([part.mask, rest], 1))
            yield Task(f"{first}->{length - first} {share:.0%}", record, first, first)


def _supports(model: TimeSeriesModel | None, task: Task) -> bool:
    """Say whether a model was trained for a task; curves and bridges are for all of them."""
    return (
        not isinstance(model, EncoderDecoder) or model.config.context_length == task.context_length
    )


def _interpolator(name: str) -> Predict:
    return lambda record: interpolate(INTERPOLATORS[name], record)


def _evaluate(say: Predict, task: Task, scale: Tensor) -> TaskErrors:
    """Return the errors of one who does not know what was not seen."""
    state, time, seen = task.observations
    blind = torch.where(seen[..., None], state, torch.nan)
    parts = zip(*(x.split(BATCH_SIZE) for x in (blind, time, seen)), strict=True)
    found = torch.cat([say(Observations(*part)) for part in parts])
    wrong = PERCENT * ((found - state) / scale).square().mean(2)[:, task.start :]  # (N, T)
    before, after = (x[:, task.start :] for x in surrounding_observations(seen))
    unseen = ~seen[:, task.start :]
    outside = (before < 0) | (after >= time.shape[1])
    gap = after - before
    inside = [(gap >= a) & (gap < b) & ~outside & unseen for a, b in pairwise((*GAPS, 10**9))]
    means = [_mean(wrong, chosen) for chosen in inside]
    return TaskErrors(wrong.mean(1), _mean(wrong, unseen), means, _mean(wrong, outside))


def _mean(values: Tensor, chosen: Tensor) -> float:
    return float(values[chosen].mean()) if chosen.any() else float("nan")


def _details(answers: list[TaskErrors], means: list[float]) -> dict[str, Any]:
    """Return what the table has no room for: 95% interval over motions, and parts of the error."""
    motions_ = torch.stack([answer.mse for answer in answers]).mean(0).numpy()
    picks = np.random.default_rng(0).integers(len(motions_), size=(RESAMPLES, len(motions_)))
    low, high = np.percentile(motions_[picks].mean(1), [2.5, 97.5])
    return {
        "each": [_significant(x) for x in means],
        "ci95": [_significant(low), _significant(high)],
        "hidden": _rounded_mean([a.hidden for a in answers]),
        "outside": _rounded_mean([a.outside for a in answers]),
        "by_gap": [
            _rounded_mean(column) for column in zip(*(a.by_gap for a in answers), strict=True)
        ],
    }


def _rounded_mean(values: list[float] | tuple[float, ...]) -> float | None:
    mean = float(np.mean(values))
    return _significant(mean) if np.isfinite(mean) else None


def _significant(value: Any) -> float:
    """Return three digits of a number; best and worst are four orders apart."""
    return float(f"{float(value):.3g}")


def _gap_names() -> list[str]:
    bounds = [f"{a}" if b == a + 1 else f"{a}-{b - 1}" for a, b in pairwise(GAPS)]
    return [*bounds, f"{GAPS[-1]} or more"]


def _paper(config: TimeSeriesBenchmarkConfig) -> dict[str, Row]:
    """Return the published figures of the tasks that were asked."""
    rows: dict[str, Row] = {}
    for name, (within, beyond) in PAPER.items():
        row: Row = {}
        for share, inside, ahead in zip(PAPER_FRACTIONS, within, beyond, strict=True):
            if share in config.observed_fractions:
                row[f"{share:.0%}"] = inside
                if PAPER_CONTEXT_LENGTH in config.context_lengths:
                    row[f"{PAPER_CONTEXT_LENGTH}->{200 - PAPER_CONTEXT_LENGTH} {share:.0%}"] = (
                        ahead
                    )
        rows[name] = row
    return rows
