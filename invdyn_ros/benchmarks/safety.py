"""Benchmark of safety: fuzz of the guard, fault table, late commands, random persons, live faults.

Every part drives the arm controller of the live node; the last one the whole graph.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from tqdm import tqdm

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions, Measurement
from invdyn_ros.benchmarks.report import Row
from invdyn_ros.benchmarks.safety_fault_runs import FaultRun, run_faults
from invdyn_ros.benchmarks.safety_faults import FAULT_TABLE
from invdyn_ros.benchmarks.safety_fuzz import FuzzJob, FuzzResult, run_fuzz
from invdyn_ros.benchmarks.safety_live import LiveRun, run_live_faults
from invdyn_ros.benchmarks.safety_rig import shipped_setups
from invdyn_ros.benchmarks.safety_runs import DrivenResult, run_delay, run_persons
from invdyn_ros.robots.registry import ROBOTS
from invdyn_ros.workers import LocalProcesses, parallel_map

Part = Literal["fuzz", "faults", "delay", "persons", "live"]
PARTS: tuple[Part, ...] = ("fuzz", "faults", "delay", "persons", "live")
DELAYS = (0, 8, 16, 24, 32, 48, 64, 100)  # [ms]
FUZZ_SLICE = 20_000  # ticks of one job at most, so that a worker is never left alone for long
J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class SafetyBenchmarkConfig(BenchmarkOptions):
    """Whether any input moves an arm where it must not go."""

    parts: tuple[Part, ...] = PARTS
    """Parts to run; `live` needs ROS 2 and takes about half a minute per fault."""
    arms: tuple[str, ...] = ()
    """Arms; default: all."""
    ticks: PositiveInt = 100_000
    """Control ticks of the fuzz, over all arms and units."""
    seconds: PositiveFloat = 60.0
    """Duration of the random persons of each arm [s]."""
    video: Path | None = None
    """Video of a person for the live faults; default: the arm grasps blocks instead."""
    live: tuple[str, ...] = ()
    """Names of live faults; default: all."""
    seed: NonNegativeInt = 0
    """Seed of all random numbers."""
    workers: PositiveInt = 1
    """Number of processes; more of them raise the measured times."""


def measure_safety(config: SafetyBenchmarkConfig) -> dict[str, Any]:
    """Return the report: one row per arm and part, and per fault.

    Raises:
        ValueError: an arm is unknown or, but for the fuzz, has no checkpoint.
    """
    unit = "ticks, violations; ms, mrad; speed in fractions of the rated one"
    measured = config.begin("safety", unit)
    details: dict[str, Any] = {}
    for part in dict.fromkeys(config.parts):
        _measure_part(part, config, measured, details)
    return measured.report(details=details)


def _measure_part(
    part: str, config: SafetyBenchmarkConfig, measured: Measurement, details: dict[str, Any]
) -> None:
    """Add rows and details of a part of the benchmark."""
    measure, summarise = _PARTS[part]
    results: list[Any] = []

    def add() -> dict[str, Any]:
        if results:
            rows, details[part] = summarise(results)
            measured.rows |= rows
        return measured.report(details=details)

    measured.so_far = add
    for result in measure(config):
        results.append(result)
    add()


def _progress(
    run: Callable[[J], R], jobs: Sequence[J], config: SafetyBenchmarkConfig, name: str
) -> Iterator[R]:
    """Yield the results of all jobs, in order, with a progress bar."""
    results = parallel_map(run, jobs, LocalProcesses(config.workers))
    yield from tqdm(results, total=len(jobs), desc=name, file=sys.stderr, mininterval=2)


def run_all_fuzz(config: SafetyBenchmarkConfig) -> Iterator[tuple[FuzzJob, FuzzResult]]:
    """Yield the jobs of the fuzz with their results."""
    pairs = [(arm, unit) for arm in config.arms or tuple(ROBOTS) for unit in ("N m", "rad")]
    ticks = -(-config.ticks // len(pairs))
    count = -(-ticks // FUZZ_SLICE)
    jobs = [
        FuzzJob(arm, unit, -(-ticks // count), config.seed * 1_000_003 + k)
        for k in range(count)
        for arm, unit in pairs
    ]
    yield from zip(jobs, _progress(run_fuzz, jobs, config, "fuzz"), strict=True)


def fuzz_rows(results: Sequence[tuple[FuzzJob, FuzzResult]]) -> tuple[dict[str, Row], Any]:
    """Return a row per arm and unit, and details."""
    sums: dict[str, FuzzResult] = {}
    for job, result in results:
        _merge(sums.setdefault(f"fuzz {job.arm} [{job.unit}]", FuzzResult()), result)
    rows = {name: _fuzz_row(result) for name, result in sums.items()}
    details = {
        name: {
            "violations": result.tally.violations,
            "worst, relative to the limit": _rounded(result.tally.worst),
            "faults": dict(result.faults),
            "holds": dict(result.reasons.most_common(20)),
            "refused to engage": result.refusals,
            "examples": result.examples,
        }
        for name, result in sums.items()
    }
    return rows, details


def _merge(total: FuzzResult, part: FuzzResult) -> None:
    """Add a result of the fuzz to another."""
    total.tally.merge(part.tally)
    total.ticks += part.ticks
    total.driven += part.driven
    total.moving += part.moving
    total.faults += part.faults
    total.reasons += part.reasons
    total.refusals += part.refusals
    total.cost += part.cost
    total.examples += part.examples


def _fuzz_row(result: FuzzResult) -> Row:
    cost = 1e3 * np.concatenate(result.cost)
    return {
        "ticks": float(result.ticks),
        "moving": float(result.moving),
        "violations": float(result.tally.total),
        "faults": float(sum(result.faults.values())),
        "p50 ms": round(float(np.percentile(cost, 50)), 4),
        "p99 ms": round(float(np.percentile(cost, 99)), 4),
    }


def run_all_faults(config: SafetyBenchmarkConfig) -> Iterator[FaultRun]:
    """Yield the runs of all faults and arms."""
    setups = shipped_setups(config.arms)
    jobs = [(setup, (fault,)) for fault in FAULT_TABLE for setup in setups]
    for runs in _progress(run_faults, jobs, config, "faults"):
        yield from runs


def fault_rows(results: Sequence[FaultRun]) -> tuple[dict[str, Row], Any]:
    """Return a row per fault, worst over all arms, and details per arm."""
    rows = {}
    for fault in FAULT_TABLE:
        if runs := [run for run in results if run.fault == fault]:
            rows[f"fault: {fault}"] = _fault_row(runs)
    return rows, [asdict_run(run) for run in results]


def asdict_run(run: FaultRun) -> dict[str, Any]:
    """Return a fault run as JSON takes it."""
    return {k: None if v != v else v for k, v in run._asdict().items()}


def _fault_row(runs: list[FaultRun]) -> Row:
    """Return the worst of the runs of one fault, and how many passed."""
    row = {
        "passed": float(sum(not run.problems for run in runs)),
        "runs": float(len(runs)),
        "excursion mrad": round(1e3 * max(run.excursion for run in runs), 1),
        "peak speed": round(max(run.peak_speed for run in runs), 3),
    }
    detections = [run.detection for run in runs if run.detection == run.detection]
    if detections:
        row["detection ms"] = round(1e3 * max(detections), 1)
    firsts = [run.first_command for run in runs if run.first_command == run.first_command]
    if firsts:
        row["first command mrad"] = round(1e3 * max(firsts), 1)
    return row


def run_all_delays(config: SafetyBenchmarkConfig) -> Iterator[tuple[str, DrivenResult]]:
    """Yield the name of each arm and delay with its result."""
    jobs = [
        (setup, 1e-3 * delay)
        for setup in shipped_setups(config.arms)
        if not setup.is_servo
        for delay in DELAYS
    ]
    names = [f"delay {setup.checkpoint} {1e3 * delay:.0f} ms" for setup, delay in jobs]
    yield from zip(names, _progress(run_delay, jobs, config, "delay"), strict=True)


def run_all_persons(config: SafetyBenchmarkConfig) -> Iterator[tuple[str, DrivenResult]]:
    """Yield the name of each arm with its result."""
    jobs = [(setup, config.seconds, config.seed) for setup in shipped_setups(config.arms)]
    names = [f"persons {setup.checkpoint}" for setup, *_ in jobs]
    yield from zip(names, _progress(run_persons, jobs, config, "persons"), strict=True)


def driven_rows(results: Sequence[tuple[str, DrivenResult]]) -> tuple[dict[str, Row], Any]:
    """Return a row of each result, and details."""
    rows = {name: _driven_row(result) for name, result in results}
    return rows, {name: _driven_details(result) for name, result in results}


def _driven_row(result: DrivenResult) -> Row:
    return {
        "targets": float(result.targets),
        "violations": float(result.tally.total),
        "faults": float(sum(result.faults.values())),
        "contacts": float(result.contacts),
        "rms mrad": round(1e3 * result.rms, 3),
        "peak speed": round(result.peak_speed, 3),
        "held": round(result.held, 4),
    }


def _driven_details(result: DrivenResult) -> dict[str, Any]:
    return {
        "violations": result.tally.violations,
        "worst, relative to the limit": _rounded(result.tally.worst),
        "faults": dict(result.faults),
        "holds": dict(result.reasons),
        "beyond a joint limit [rad]": round(result.beyond, 6),
    }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}


def run_all_live(config: SafetyBenchmarkConfig) -> Iterator[LiveRun]:
    """Yield the runs of the whole graph, each with a fault."""
    results = run_live_faults(config.video, config.seed, config.live)
    yield from tqdm(results, desc="live", file=sys.stderr, mininterval=2)


def live_rows(runs: Sequence[LiveRun]) -> tuple[dict[str, Row], Any]:
    """Return a row per live fault, and details."""
    rows = {f"live: {run.fault}, {run.checkpoint}": run.row() for run in runs}
    return rows, [{k: None if v != v else v for k, v in asdict(run).items()} for run in runs]


_PARTS: dict[str, tuple[Callable[..., Iterator[Any]], Callable[..., tuple[dict[str, Row], Any]]]]
_PARTS = {
    "fuzz": (run_all_fuzz, fuzz_rows),
    "faults": (run_all_faults, fault_rows),
    "delay": (run_all_delays, driven_rows),
    "persons": (run_all_persons, driven_rows),
    "live": (run_all_live, live_rows),
}
"""Name -> function that yields results, and the rows and details of some of them."""
