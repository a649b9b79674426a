"""Benchmark of damaged files: each must be read, or refused in one line.

A file is damaged at random and read in a worker process with limits of time and memory, by the
functions that the commands use and through their handling of errors.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions, Measurement
from invdyn_ros.benchmarks.file_commands import COMMANDS, run_command
from invdyn_ros.benchmarks.file_readers import KINDS
from invdyn_ros.benchmarks.file_worker import (
    CRASH,
    FAILURES,
    HANG,
    MAX_LENGTH,
    OUTCOMES,
    WALL_TIME_FACTOR,
    Case,
    Outcome,
    Worker,
    WorkerSettings,
    copy_damaged,
)
from invdyn_ros.benchmarks.report import Row

COMMAND_OFFSET = 1_000_000  # of the numbers of the files that the command line reads


@dataclass(frozen=True)
class FilesBenchmarkConfig(BenchmarkOptions):
    """Damaged files of every kind that a command reads, and how they are refused."""

    files: PositiveInt = 20_000
    """Number of damaged files."""
    seed: int = 0
    """Random seed of the damage."""
    kinds: tuple[str, ...] = tuple(KINDS)
    """Kinds of files."""
    workers: PositiveInt = 2
    """Worker processes."""
    time_limit: PositiveFloat = 10.0
    """Longest CPU time to read one file [s]."""
    memory: PositiveFloat = 2.0
    """Memory that a worker may allocate in addition to its own [GiB]."""
    commands: NonNegativeInt = 24
    """Number of further damaged files that are read by the command line."""
    keep: Path | None = None
    """Folder for the files that fail, to reproduce a failure; default: none is kept."""

    def __post_init__(self) -> None:
        """Check the names of the kinds."""
        super().__post_init__()
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise ValueError(f"no kind '{unknown[0]}'; there are {', '.join(KINDS)}")


def measure_files(config: FilesBenchmarkConfig) -> dict[str, Any]:
    """Read damaged files and return the report."""
    measured = config.begin("files", "damaged files")
    outcomes, commands = list[Outcome](), list[Outcome]()
    measured.so_far = lambda: _report(measured, outcomes, commands)
    with tempfile.TemporaryDirectory(prefix="invdyn_") as folder:
        write_specimens(Path(folder) / "valid", config.kinds)
        run_cases(config, Path(folder), outcomes)
        for outcome in _run_commands(config, Path(folder)):
            commands.append(outcome)
    return measured.so_far()


def _report(
    measured: Measurement, outcomes: list[Outcome], commands: list[Outcome]
) -> dict[str, Any]:
    outcomes = sorted(outcomes, key=lambda o: (o.case.kind, o.case.number))
    for kind in dict.fromkeys(o.case.kind for o in outcomes):
        measured.rows[kind] = _row([o for o in outcomes if o.case.kind == kind])
    if outcomes:
        measured.rows |= {"all": _row(outcomes), "command line": _row(commands)}
    failures = [
        {"kind": o.case.kind, "seed": o.case.seed, "number": o.case.number}
        | {"outcome": o.name, "damage": o.damage, "message": o.message[:MAX_LENGTH]}
        for o in [*outcomes, *commands]
        if o.name in FAILURES
    ]
    return measured.report(failures=failures)


def _row(outcomes: list[Outcome]) -> Row:
    """Count outcomes by name."""
    count = Counter(outcome.name for outcome in outcomes)
    return {"files": float(len(outcomes)), **{name: float(count[name]) for name in OUTCOMES}}


def write_specimens(folder: Path, kinds: tuple[str, ...]) -> None:
    """Write the valid files of some kinds, and read them, as all of them are accepted."""
    for write in {KINDS[kind].write for kind in kinds}:
        (folder / write.__name__).mkdir(parents=True)
        write(folder / write.__name__)
    for kind in kinds:
        KINDS[kind].read(folder / KINDS[kind].write.__name__)


def run_cases(config: FilesBenchmarkConfig, folder: Path, outcomes: list[Outcome]) -> None:
    """Read all damaged files, in several processes.

    Args:
        config: of the benchmark.
        folder: with the valid files.
        outcomes: gets the outcomes, in any order.
    """
    weight = sum(KINDS[kind].weight for kind in config.kinds)
    cases = [
        Case(kind, number, config.seed)
        for kind in config.kinds
        for number in range(max(1, round(config.files * KINDS[kind].weight / weight)))
    ]
    random.Random(config.seed).shuffle(cases)
    is_interrupted = Event()

    def read(part: list[Case]) -> None:
        with closing(_supervise(part, config, folder)) as results:
            for outcome in results:
                outcomes.append(outcome)
                if is_interrupted.is_set():
                    return

    with ThreadPoolExecutor(config.workers) as pool:
        parts = [cases[k :: config.workers] for k in range(config.workers)]
        try:
            list(pool.map(read, parts))
        except KeyboardInterrupt:
            is_interrupted.set()
            raise


def _run_commands(config: FilesBenchmarkConfig, folder: Path) -> Iterator[Outcome]:
    """Read some damaged files by the command line, and yield the outcomes."""
    kinds = [kind for kind in COMMANDS if kind in config.kinds]
    for number in range(config.commands if kinds else 0):
        case = Case(kinds[number % len(kinds)], COMMAND_OFFSET + number, config.seed)
        work = folder / f"command_{number}"
        damage = copy_damaged(case, folder, work)
        name, message = run_command(case.kind, work, WALL_TIME_FACTOR * config.time_limit)
        yield Outcome(case, name, damage, message)


def _supervise(
    cases: list[Case], config: FilesBenchmarkConfig, folder: Path
) -> Generator[Outcome, None, None]:
    """Yield the outcomes of cases in a worker, which is replaced when it hangs or crashes."""
    worker, settings = None, WorkerSettings(config.kinds, config.time_limit, config.memory)
    try:
        for case in cases:
            worker = worker or Worker(settings, folder)
            outcome = worker.run(case)
            if outcome.name in (HANG, CRASH):
                worker.kill()
                worker = None
            if outcome.name in FAILURES and config.keep is not None:
                target = config.keep / f"{case.kind} {case.seed} {case.number}"
                shutil.rmtree(target, ignore_errors=True)
                copy_damaged(case, folder, target)
            yield outcome
    finally:
        if worker is not None:
            worker.kill()
