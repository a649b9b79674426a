"""A launched graph of the safety benchmark, and what happens to it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from invdyn_ros.graph.launcher import child_environment

START_TIMEOUT = 60.0  # [s] until the arm is engaged
REPORT_TIMEOUT = 90.0  # [s] until the report is written
END_TIMEOUT = 30.0  # [s] from the report until all processes have ended
STOPPED_TIME = 2.0  # [s] for which a node stands still
HELPER_TIMEOUT = 60.0  # [s] in which a process starts, other nodes discover it and say so
SPIN = "while True: pass"
ENGAGED = b"no target yet"  # what the node inverse_dynamics says as soon as it is engaged


class LaunchedGraph:
    """A launched graph: its process and those of its nodes.

    Attributes:
        arm: name of the arm.
        checkpoint: its model.
        report: file of the report.
    """

    def __init__(
        self, arguments: list[str], domain: int, folder: Path, file_limit: int | None
    ) -> None:
        """Launch a graph.

        Args:
            arguments: of `invdyn launch`, with arm and checkpoint.
            domain: ROS domain.
            folder: where the files of the run are written.
            file_limit: size of a file at which the disk is full [bytes], None for no limit.
        """

        def limit() -> None:
            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        values = dict(word.split(":=", 1) for word in arguments if ":=" in word)
        self.arm, self.checkpoint = values["arm"], values["checkpoint"]
        self.report, self.domain = folder / "report.json", domain
        self._helpers: list[subprocess.Popen[bytes]] = []
        files = [f"report:={self.report}", f"record:={folder / 'bag'}"]
        words = ["launch", *arguments, *files, f"domain:={domain}"]
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "invdyn_ros", *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=limit,  # safe: this process has no threads that hold locks
            )

    def node(self, name: str) -> int | None:
        """Return the process id of a node, None if it does not run."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with suppress(OSError):
            for child in children.read_text().split():
                words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
                if f"__node:={name}" in words or f"invdyn_ros.nodes.{name}" in words[2:3]:
                    return int(child)
        return None

    def wait_until_engaged(self) -> None:
        """Wait until the arm is engaged, or the launch has ended."""
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end and self.process.poll() is None:
            if ENGAGED in self._output.read_bytes():
                return
            time.sleep(0.1)

    def start_helper(self, words: list[str]) -> None:
        """Start a Python process that ends with the run."""
        environment = child_environment(os.environ) | {"ROS_DOMAIN_ID": str(self.domain)}
        quiet = subprocess.DEVNULL
        self._helpers.append(
            subprocess.Popen(
                [sys.executable, *words],
                env=environment,
                stdout=quiet,
                stderr=quiet,
            )
        )

    def start_node(self, node: str, name: str, **parameters: object) -> None:
        """Start a node beside those of the graph.

        Args:
            node: module of the node.
            name: its name.
            **parameters: its parameters in addition to the arm.
        """
        words = ["-m", f"invdyn_ros.nodes.{node}", "--ros-args", "-r", f"__node:={name}"]
        for key, value in {"arm": self.arm, **parameters}.items():
            words += ["-p", f"{key}:={value}"]
        self.start_helper(words)

    def wait_until_named(self, reasons: tuple[str, ...]) -> None:
        """Wait until the graph names one of some reasons, or HELPER_TIMEOUT."""
        end = time.monotonic() + HELPER_TIMEOUT
        while time.monotonic() < end and self.process.poll() is None:
            output = self._output.read_bytes().decode(errors="replace")
            if any(reason in output for reason in reasons):
                return
            time.sleep(0.1)

    def end(self, interrupt: bool) -> None:
        """Wait for the report, and then interrupt the run, to skip its plots.

        Args:
            interrupt: whether to interrupt the run, which does not end by itself.
        """
        if interrupt and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self._wait(REPORT_TIMEOUT, for_report=True)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self._wait(END_TIMEOUT, for_report=False)

    def _wait(self, timeout: float, for_report: bool) -> None:
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
            if for_report and self.report.is_file():
                return
            time.sleep(0.1)

    def close(self) -> None:
        """End everything that still runs."""
        for process in (*self._helpers, self.process):
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                if process.poll() is None:
                    process.kill()
                    process.wait()


Act = Callable[[LaunchedGraph], None]  # returns when the fault is over, or stays for good


def nothing(_: LaunchedGraph) -> None:
    """Do nothing."""


def kill(node: str) -> Act:
    """Return what kills a node."""

    def act(graph: LaunchedGraph) -> None:
        if (pid := graph.node(node)) is not None:
            os.kill(pid, signal.SIGKILL)

    return act


def pause(node: str) -> Act:
    """Return what stops a node for a time."""

    def act(graph: LaunchedGraph) -> None:
        if (pid := graph.node(node)) is not None:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(STOPPED_TIME)
            os.kill(pid, signal.SIGCONT)

    return act


def busy_loops(graph: LaunchedGraph) -> None:
    """Keep both cores of a small machine busy."""
    for _ in range(2):
        graph.start_helper(["-c", SPIN])


def second_target_publisher(node: str) -> Act:
    """Return what starts a second node that publishes targets."""
    return lambda graph: graph.start_node(node, f"second_{node}")


def second_commander(name: str) -> Act:
    """Return what starts a second node of commands, of a given name."""
    return lambda graph: graph.start_node("inverse_dynamics", name, checkpoint=graph.checkpoint)


def second_arm(graph: LaunchedGraph) -> None:
    """Start a second publisher of joint states."""
    graph.start_node("simulator", "second_simulator")
