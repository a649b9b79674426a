"""Benchmark of damaged files: each must be read, or refused in one line.

A file is damaged at random and read in a worker process with limits of time and memory, by the
functions that the commands use and through their handling of errors.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.file_commands import COMMANDS, run_command
from invdyn_ros.benchmarks.file_mutations import mutate
from invdyn_ros.benchmarks.file_readers import KINDS, Kind, WrongAcceptance
from invdyn_ros.benchmarks.file_specimens import sign
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, settings_of
from invdyn_ros.config import error_line

REFUSED, ACCEPTED = "refused", "accepted"
TRACEBACK, LINES, HANG, CRASH = "traceback", "several_lines", "hang", "crash"
WRONG, UNNAMED = "wrong_acceptance", "file_not_named"
OUTCOMES = (REFUSED, ACCEPTED, TRACEBACK, LINES, HANG, CRASH, WRONG, UNNAMED)
FAILURES = OUTCOMES[2:]
MAX_LENGTH = 600  # characters of a message
COMMAND_OFFSET = 1_000_000  # of the numbers of the files that the command line reads
POLL_PERIOD, WALL_TIME_FACTOR = 0.5, 12.0  # [s], and limit of the wall time to that of CPU time
SIGNED_FRACTION, SIGNED = 0.5, ", signed"  # checkpoints whose checksums match the damage


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


class Case(NamedTuple):
    """One damaged file."""

    kind: str
    number: int
    seed: int


class Outcome(NamedTuple):
    """How a damaged file was read."""

    case: Case
    name: str
    damage: str
    message: str


def measure_files(config: FilesBenchmarkConfig) -> dict[str, Any]:
    """Read damaged files and return the report."""
    with tempfile.TemporaryDirectory(prefix="invdyn_") as folder:
        valid = write_specimens(Path(folder) / "valid", config.kinds)
        outcomes = run_cases(config, Path(folder))
        commands = _run_commands(config, Path(folder))
    rows = {kind: _row([o for o in outcomes if o.case.kind == kind]) for kind in valid}
    rows["all"] = _row(outcomes)
    rows["command line"] = _row(commands)
    return benchmark_report(
        "files",
        unit="damaged files",
        machine=machine_info(1),
        settings=settings_of(config),
        rows=rows,
        failures=[
            {"kind": o.case.kind, "seed": o.case.seed, "number": o.case.number}
            | {"outcome": o.name, "damage": o.damage, "message": o.message[:MAX_LENGTH]}
            for o in [*outcomes, *commands]
            if o.name in FAILURES
        ],
    )


def _row(outcomes: list[Outcome]) -> Row:
    """Count outcomes by name."""
    count = Counter(outcome.name for outcome in outcomes)
    return {"files": float(len(outcomes)), **{name: float(count[name]) for name in OUTCOMES}}


def write_specimens(folder: Path, kinds: tuple[str, ...]) -> list[str]:
    """Write the valid files of some kinds, and return the names of the kinds."""
    context = get_context("fork")  # libraries with threads do not survive a later fork
    process = context.Process(target=_write, args=(folder, kinds))
    process.start()
    process.join()
    if process.exitcode:
        raise ValueError("the valid files could not be written")
    return list(kinds)


def _write(folder: Path, kinds: tuple[str, ...]) -> None:
    for write in {KINDS[kind].write for kind in kinds}:
        (folder / write.__name__).mkdir(parents=True)
        write(folder / write.__name__)
    for kind in kinds:  # undamaged, all of them are accepted
        KINDS[kind].read(folder / KINDS[kind].write.__name__)


def run_cases(config: FilesBenchmarkConfig, folder: Path) -> list[Outcome]:
    """Read all damaged files, in several processes."""
    weight = sum(KINDS[kind].weight for kind in config.kinds)
    cases = [
        Case(kind, number, config.seed)
        for kind in config.kinds
        for number in range(max(1, round(config.files * KINDS[kind].weight / weight)))
    ]
    random.Random(config.seed).shuffle(cases)
    parts = [cases[k :: config.workers] for k in range(config.workers)]
    with ThreadPoolExecutor(config.workers) as pool:
        results = pool.map(lambda part: list(_supervise(part, config, folder)), parts)
        return [outcome for part in results for outcome in part]


def _run_commands(config: FilesBenchmarkConfig, folder: Path) -> list[Outcome]:
    """Read some damaged files by the command line."""
    kinds = [kind for kind in COMMANDS if kind in config.kinds]
    outcomes = []
    for number in range(config.commands if kinds else 0):
        case = Case(kinds[number % len(kinds)], COMMAND_OFFSET + number, config.seed)
        work = folder / f"command_{number}"
        damage = _damaged(case, folder, work)
        name, message = run_command(case.kind, work, WALL_TIME_FACTOR * config.time_limit)
        outcomes.append(Outcome(case, name, damage, message))
    return outcomes


def _supervise(cases: list[Case], config: FilesBenchmarkConfig, folder: Path) -> Iterator[Outcome]:
    """Yield the outcomes of cases in a worker, which is replaced when it hangs or crashes."""
    worker = None
    for case in cases:
        worker = worker or Worker(config, folder)
        outcome = worker.run(case)
        if outcome.name in (HANG, CRASH):
            worker.kill()
            worker = None
        if outcome.name in FAILURES and config.keep is not None:
            target = config.keep / f"{case.kind} {case.seed} {case.number}"
            shutil.rmtree(target, ignore_errors=True)
            _damaged(case, folder, target)
        yield outcome
    if worker is not None:
        worker.kill()


class Worker:
    """A process that reads damaged files, one after the other."""

    def __init__(self, config: FilesBenchmarkConfig, folder: Path) -> None:
        self.config = config
        context = get_context("fork")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, folder, config))
        self.process.start()
        other.close()

    def run(self, case: Case) -> Outcome:
        """Return the outcome of a case."""
        try:
            self.connection.send(case)
            start, waited, limit = self.cpu_time(), 0.0, self.config.time_limit
            while not self.connection.poll(min(limit, POLL_PERIOD)):
                waited += POLL_PERIOD
                if self.cpu_time() - start > limit or waited > WALL_TIME_FACTOR * limit:
                    return Outcome(case, HANG, "", f"no result in {limit} s")
            return Outcome(case, *self.connection.recv())
        except (EOFError, OSError):
            self.process.join()
            return Outcome(case, CRASH, "", f"exit code {self.process.exitcode}")

    def cpu_time(self) -> float:
        """Return the CPU time of the process [s]; other load does not make it hang."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        ticks = sum(map(int, stat.rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, folder: Path, config: FilesBenchmarkConfig) -> None:
    """Read the damaged files that arrive."""
    for category in (RuntimeWarning, UserWarning, FutureWarning):
        warnings.simplefilter("always", category)  # else printed once per process
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + int(config.memory * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    output = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    for kind in config.kinds:  # libraries print when they are imported
        _original(KINDS[kind], folder)
    while True:
        case: Case = connection.recv()
        work = folder / f"worker_{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        damage = _damaged(case, folder, work)
        output.truncate(0)
        output.seek(0)
        original = None if damage.endswith(SIGNED) else _original(KINDS[case.kind], folder)
        name, message = read(KINDS[case.kind], work, original)
        sys.stdout.flush()
        sys.stderr.flush()
        output.seek(0)
        printed = output.read().decode("utf-8", "replace").strip()
        if printed and name in (REFUSED, ACCEPTED):
            name, message = LINES, f"printed: {printed}"
        connection.send((name, damage, message))


def _damaged(case: Case, folder: Path, target: Path) -> str:
    """Copy the valid files of a kind, damage one, and return the name of the damage."""
    kind = KINDS[case.kind]
    shutil.copytree(folder / "valid" / kind.write.__name__, target)
    rng = random.Random(f"{case.kind} {case.seed} {case.number}")
    files = sorted(path for path in target.glob(kind.file) if path.is_file())
    file = rng.choice(files)
    other = rng.choice(sorted(p for p in (folder / "valid").rglob("*") if p.is_file()))
    damage = f"{file.relative_to(target)}: {mutate(file, rng, other.read_bytes())}"
    if rng.random() < SIGNED_FRACTION:
        sign(target)
        damage += SIGNED
    return damage


def read(kind: Kind, work: Path, original: str | None) -> tuple[str, str]:
    """Read the files of a kind as a command does, and return the outcome and its message.

    Args:
        kind: the kind.
        work: folder with the damaged files.
        original: description of the valid content, if a checksum protects it.
    """
    try:
        content = kind.read(work)
    except WrongAcceptance as error:
        return WRONG, str(error)
    except (ValueError, OSError, MemoryError) as error:
        message = error_line(error)
        if "\n" in str(error) or len(message) > MAX_LENGTH:
            return LINES, message
        return (REFUSED, message) if work.name in message else (UNNAMED, message)
    except Exception:
        return TRACEBACK, traceback.format_exc()[-MAX_LENGTH:]
    if original is not None and content != original:
        return WRONG, "other content than before the damage"
    return ACCEPTED, ""


@cache
def _original(kind: Kind, folder: Path) -> str | None:
    """Return the description of the valid files of a kind."""
    return kind.read(folder / "valid" / kind.write.__name__)
