"""End of a graph whose launcher is interrupted or killed, at any moment of its start."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

MARK = "INVDYN_INTERRUPTION"  # environment variable by which the processes of a run are found
TIMEOUT = 15.0  # [s] until processes that still run count as orphans
POLL_INTERVAL = 0.005  # [s]


class Interruption(NamedTuple):
    """How a graph ended.

    Attributes:
        seconds: from the signal until its last process ended.
        output: all that it printed.
        orphans: process ids of those that did not end, killed since.
    """

    seconds: float
    output: str
    orphans: list[int]

    @property
    def tracebacks(self) -> int:
        """Number of tracebacks in the output."""
        return self.output.count("Traceback (most recent call last)")


def interrupt(words: Sequence[str], moment: float, number: signal.Signals) -> Interruption:
    """Launch a graph, send its launcher a signal, and wait for the end of all processes.

    Args:
        words: of `invdyn launch`.
        moment: time from the launch to the signal [s].
        number: SIGINT, or SIGKILL, which only the launcher gets.
    """
    mark = uuid.uuid4().hex
    launcher = subprocess.Popen(
        [sys.executable, "-m", "invdyn_ros", "launch", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, MARK: mark},
    )
    time.sleep(moment)
    start = time.monotonic()
    launcher.send_signal(number)
    while (running := _processes(mark)) and time.monotonic() - start < TIMEOUT:
        launcher.poll()  # else it stays as a zombie
        time.sleep(POLL_INTERVAL)
    seconds = time.monotonic() - start
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return Interruption(seconds, launcher.communicate()[0], running)


def _processes(mark: str) -> list[int]:
    """Return the process ids of a run."""
    word, pids = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            if word in (folder / "environ").read_bytes().split(b"\0"):
                pids.append(int(folder.name))
        except OSError:  # it has ended, or is somebody else's
            continue
    return pids
