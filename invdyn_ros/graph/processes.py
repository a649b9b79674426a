"""A group of processes that live and die together: command lines enter, one exit code leaves.

Their output is shown line by line under the name of each. Nothing outlives the group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

POLL_INTERVAL = 0.05  # [s] between looks at the processes
TERMINATE_TIMEOUT = 10.0  # [s] between SIGTERM and SIGKILL; a report may have a video to finish
PR_SET_PDEATHSIG = 1  # from linux/prctl.h


@dataclass
class Child:
    """One running process."""

    name: str
    process: subprocess.Popen[bytes]
    ends_group: bool
    partial_line: bytes = b""


class Processes:
    """Processes started together; leaving the context ends them all.

    Ctrl-C and SIGTERM end the group: SIGTERM to each process and what it started, then SIGKILL; a
    second Ctrl-C goes straight to SIGKILL. On Linux the processes also get SIGTERM when this
    process is killed.
    """

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.signals: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Processes:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._selector.close()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def start(
        self, name: str, command: list[str], environment: Mapping[str, str], ends_group: bool
    ) -> None:
        """Start a process; when it `ends_group` and exits with 0, the whole run has gone well."""
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the terminal's Ctrl-C reaches us only; we pass it on
            preexec_fn=_set_parent_death_signal(),  # safe: no threads here
        )
        child = Child(name, process, ends_group)
        self.children.append(child)
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            self._selector.register(process.stdout, selectors.EVENT_READ, child)

    def wait(self) -> int:
        """Show output until the run is over: one process failed or ended the group, or a signal.

        Returns:
            The exit code of the run; of a process killed by signal n, 128 + n.
        """
        while not self.signals:
            self._print_output(POLL_INTERVAL)
            ended = self._ended()
            for child in ended:
                if child.process.returncode != 0:
                    code = _shell_code(child.process.returncode)
                    self._print_output(0)
                    print(f"{child.name} ended with code {code}; ending all", file=sys.stderr)
                    return code
            if len(ended) == len(self.children) or any(child.ends_group for child in ended):
                return 0
        return 128 + self.signals[0]

    def end(self) -> None:
        """End every process that still runs, and what it started; returns when none is left."""
        # not SIGINT: a node that is still importing would show where, over many lines
        self._send_signal(signal.SIGTERM)
        deadline = time.monotonic() + TERMINATE_TIMEOUT
        while self._running() and time.monotonic() < deadline and len(self.signals) < 2:
            self._print_output(POLL_INTERVAL)
        self._send_signal(signal.SIGKILL)
        for child in self._running():
            child.process.wait()
        self._print_output(0)

    def _ended(self) -> list[Child]:
        """Processes that have ended; what one of them has started ends with it."""
        for child in self.children:
            if child.process.returncode is None and child.process.poll() is not None:
                _signal_group(child, signal.SIGKILL)
        return [child for child in self.children if child.process.returncode is not None]

    def _running(self) -> list[Child]:
        ended = self._ended()
        return [child for child in self.children if child not in ended]

    def _send_signal(self, number: int) -> None:
        for child in self._running():
            _signal_group(child, number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)

    def _print_output(self, timeout: float) -> None:
        """Print the lines that have come, each under the name of its process."""
        if not self._selector.get_map():
            time.sleep(timeout)
            return
        for key, _ in self._selector.select(timeout):
            child: Child = key.data
            data = os.read(key.fd, 65536)
            if not data:
                self._selector.unregister(key.fileobj)
            *lines, child.partial_line = (child.partial_line + data).split(b"\n")
            if not data and child.partial_line:
                lines, child.partial_line = [*lines, child.partial_line], b""
            if signal.SIGPIPE not in self.signals:
                self._print_lines(child.name, lines)

    def _print_lines(self, name: str, lines: list[bytes]) -> None:
        try:
            for line in lines:
                print(f"[{name}] {line.decode(errors='replace')}", flush=True)
        except BrokenPipeError:  # nobody reads any more: end the run, as a pipe's writer does
            self.signals.append(signal.SIGPIPE)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _signal_group(child: Child, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process.pid, number)


def _shell_code(returncode: int) -> int:
    return 128 - returncode if returncode < 0 else returncode


def _set_parent_death_signal() -> Callable[[], None] | None:
    """What a new process calls so that it gets SIGTERM when we are gone, however we went."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def call() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it went before the call
            os.kill(os.getpid(), signal.SIGTERM)

    return call
