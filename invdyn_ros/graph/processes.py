"""Group of processes that are started and ended together.

Their output is printed line by line, prefixed with the name of the process.
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
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import HasFileno

POLL_INTERVAL = 0.05  # [s]
TERMINATE_TIMEOUT = 10.0  # [s] between SIGTERM and SIGKILL
REPORT_TIMEOUT = 120.0  # [s] the same for the process that ends the group, which writes the report
WAITING_MESSAGE_DELAY = 1.0  # [s] after which it is said that this process is still at work
PR_SET_PDEATHSIG = 1  # from linux/prctl.h
LAUNCHER_VARIABLE = "INVDYN_LAUNCHER"  # environment variable with the process id of a launcher


@dataclass
class Child:
    """A process of the group."""

    name: str
    process: subprocess.Popen[bytes]
    ends_group: bool
    is_optional: bool = False
    partial_line: bytes = b""
    """Output after the last newline."""


class Processes:
    """Context manager of a group of processes; leaving the context ends them all.

    Ctrl-C and SIGTERM end the group: each process and its children get SIGTERM and, after
    TERMINATE_TIMEOUT, SIGKILL. The process that ends the group has REPORT_TIMEOUT, to write its
    report. A second Ctrl-C kills all other processes and sends SIGINT to this one, which skips
    the work that remains after the report; a third one kills it too. On Linux the processes
    also get SIGTERM when this process is killed.

    Attributes:
        end_reason: why the group ended before its work was complete; None if it was complete.
    """

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.signals: list[int] = []
        self.end_reason: str | None = None
        self._num_ending_signals = 0  # 1 if a signal ended the run
        self._prints = True
        self._reported: set[str] = set()  # optional processes that failed
        self._selector = selectors.DefaultSelector()
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> Processes:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous_handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._selector.close()
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def start(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        ends_group: bool,
        is_optional: bool = False,
    ) -> None:
        """Start a process.

        Args:
            name: name in the output.
            command: command line.
            environment: all environment variables of the process.
            ends_group: whether the run is complete when this process exits with code 0.
            is_optional: whether the run goes on when this process fails.
        """
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.PIPE,  # gets the reason of the end
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process only
            preexec_fn=partial(end_with_parent, os.getpid()),  # safe: there are no threads
        )
        child = Child(name, process, ends_group, is_optional)
        self.children.append(child)
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            self._selector.register(process.stdout, selectors.EVENT_READ, child)

    def watch(self, file: HasFileno, callback: Callable[[], None]) -> None:
        """Call a function whenever a file or socket can be read."""
        self._selector.register(file, selectors.EVENT_READ, callback)

    def wait(self) -> int:
        """Print output until a process fails, one ends the group, all end, or a signal arrives.

        Returns:
            The exit code of the run; 128 + n for signal n.
        """
        while not self.signals:
            self._print_output(POLL_INTERVAL)
            ended = self._ended()
            for child in ended:
                code = _shell_code(child.process.returncode)
                if code != 0 and child.is_optional:
                    self._print_failure(child, code)
                elif code != 0:
                    self._print_output(0)
                    self.end_reason = f"{child.name} ended with code {code}"
                    print(f"{self.end_reason}; ending all", file=sys.stderr)
                    return code
            if len(ended) == len(self.children) or any(child.ends_group for child in ended):
                return 0
        self.end_reason = signal.Signals(self.signals[0]).name
        self._num_ending_signals = 1
        return 128 + self.signals[0]

    def _print_failure(self, child: Child, code: int) -> None:
        """Say once that the run goes on without a process."""
        if child.name not in self._reported:
            self._reported.add(child.name)
            self._print_output(0)
            print(f"{child.name} ended with code {code}; the run goes on", file=sys.stderr)

    def end(self) -> None:
        """End all processes and their children, and wait for them."""
        self._send_end_reason()
        # not SIGINT: a node that is still importing would print a traceback
        self._send_signal(signal.SIGTERM)
        start, interrupts, waiting = time.monotonic(), 0, False
        while running := self._running():
            elapsed = time.monotonic() - start
            late = [child for child in running if self._is_late(child, elapsed)]
            for child in late:
                _signal_group(child, signal.SIGKILL)
            if self._interrupts() > interrupts:
                interrupts = self._interrupts()
                self._send_signal(signal.SIGINT)  # a second SIGTERM could merge with the first
            if not waiting and elapsed > WAITING_MESSAGE_DELAY:
                waiting = True
                self._print_waiting(running)
            self._print_output(POLL_INTERVAL)
        self._print_output(0)

    def _is_late(self, child: Child, elapsed: float) -> bool:
        """Return whether to kill a process, a time [s] after its first SIGTERM."""
        if child.ends_group:
            return elapsed > REPORT_TIMEOUT or self._interrupts() > 1
        return elapsed > TERMINATE_TIMEOUT or self._interrupts() > 0

    def _interrupts(self) -> int:
        """Return the number of signals since the end of the run began."""
        return len(self.signals) - self._num_ending_signals

    def _send_end_reason(self) -> None:
        """Write why the run ends to the standard input of each process, and close it."""
        for child in self.children:
            if child.process.stdin is not None:
                with contextlib.suppress(OSError):  # the process has ended
                    child.process.stdin.write((self.end_reason or "").encode())
                with contextlib.suppress(OSError):
                    child.process.stdin.close()

    def _print_waiting(self, running: list[Child]) -> None:
        for child in running:
            if child.ends_group:
                print(
                    f"waiting for {child.name} to finish; Ctrl-C skips its plots, "
                    "a further Ctrl-C kills it",
                    file=sys.stderr,
                )

    def _ended(self) -> list[Child]:
        """Return the processes that have ended, after killing their children."""
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
        """Print the lines that arrive within a timeout [s]."""
        if not self._selector.get_map():
            time.sleep(timeout)
            return
        for key, _ in self._selector.select(timeout):
            if not isinstance(key.data, Child):
                key.data()
                continue
            child = key.data
            data = os.read(key.fd, 65536)
            if not data:
                self._selector.unregister(key.fileobj)
            *lines, child.partial_line = (child.partial_line + data).split(b"\n")
            if not data and child.partial_line:
                lines, child.partial_line = [*lines, child.partial_line], b""
            if self._prints:
                self._print_lines(child.name, lines)

    def _print_lines(self, name: str, lines: list[bytes]) -> None:
        try:
            for line in lines:
                print(f"[{name}] {line.decode(errors='replace')}", flush=True)
        except OSError as error:  # the disk is full, or the reader has closed the output
            self._prints = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):  # nobody watches the run any more: end it
                self.signals = self.signals or [signal.SIGPIPE]
            else:
                print(f"no more output: {error}", file=sys.stderr)


def _signal_group(child: Child, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process.pid, number)


def _shell_code(returncode: int) -> int:
    return 128 - returncode if returncode < 0 else returncode


def end_with_parent(parent: int) -> None:
    """Get SIGTERM when the parent process ends, on Linux; at once if it has ended before."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
