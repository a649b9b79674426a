"""Process that reads damaged files, one after the other."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from functools import cache, partialmethod
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from invdyn_ros.benchmarks.file_mutations import mutate
from invdyn_ros.benchmarks.file_readers import KINDS, Kind, WrongAcceptance
from invdyn_ros.benchmarks.file_specimens import sign
from invdyn_ros.config import error_line
from invdyn_ros.workers import fork_server_context

REFUSED, ACCEPTED = "refused", "accepted"
TRACEBACK, LINES, HANG, CRASH = "traceback", "several_lines", "hang", "crash"
WRONG, UNNAMED = "wrong_acceptance", "file_not_named"
OUTCOMES = (REFUSED, ACCEPTED, TRACEBACK, LINES, HANG, CRASH, WRONG, UNNAMED)
FAILURES = OUTCOMES[2:]
MAX_LENGTH = 600  # characters of a message
POLL_PERIOD, WALL_TIME_FACTOR = 0.5, 12.0  # [s], and limit of the wall time to that of CPU time
SIGNED_FRACTION, SIGNED = 0.5, ", signed"  # checkpoints whose checksums match the damage


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


class WorkerSettings(NamedTuple):
    """Settings of a worker.

    Attributes:
        kinds: kinds of the files.
        time_limit: longest CPU time to read one file [s].
        memory: that it may allocate in addition to its own [GiB].
    """

    kinds: tuple[str, ...]
    time_limit: float
    memory: float


class Worker:
    """A process that reads damaged files, one after the other."""

    def __init__(self, settings: WorkerSettings, folder: Path) -> None:
        self.settings = settings
        context = fork_server_context(_serve)  # a fork of a process with threads may hang
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, folder, settings))
        self.process.start()
        other.close()

    def run(self, case: Case) -> Outcome:
        """Return the outcome of a case."""
        try:
            self.connection.send(case)
            start, waited, limit = self.cpu_time(), 0.0, self.settings.time_limit
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


def _serve(connection: Connection, folder: Path, settings: WorkerSettings) -> None:
    """Read the damaged files that arrive."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C would count as a crash; the parent ends
    for category in (RuntimeWarning, UserWarning, FutureWarning):
        warnings.simplefilter("always", category)  # else printed once per process
    tqdm.__init__ = partialmethod(tqdm.__init__, disable=True)  # a bar is no message
    tqdm.set_lock(threading.RLock())  # a killed process would leave a semaphore behind
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + int(settings.memory * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    output = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    for kind in settings.kinds:  # libraries print when they are imported
        _original(KINDS[kind], folder)
    while True:
        case: Case = connection.recv()
        work = folder / f"worker_{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        damage = copy_damaged(case, folder, work)
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


def copy_damaged(case: Case, folder: Path, target: Path) -> str:
    """Copy the valid files of a kind, damage one, and return the name of the damage.

    Args:
        case: tells the kind and the damage.
        folder: with the valid files.
        target: folder to write.
    """
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
