"""Live faults of the safety benchmark: the whole graph in real time, with a node that fails."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invdyn_ros.benchmarks.report import Row

ARM = "ur5"
DURATION = 14.0  # [s] of a run
ONSET = 7.0  # [s] after the start, when the arm moves
STOPPED_TIME = 2.0  # [s] for which a node stands still
START_TIMEOUT = 40.0  # [s] until all nodes run
END_TIMEOUT = 150.0  # [s] until the report is written
FILE_SIZE_LIMIT = 400_000  # [bytes] of a disk that is full
MAX_DOMAIN_ID = 101  # above, the DDS ports overlap with ephemeral ports
SPIN = "while True: pass"


@dataclass
class LiveRun:
    """Result of one live fault.

    Attributes:
        fault: what happened.
        code: exit code of the launch.
        has_report: whether the report was written.
        ended_by: why the run ended, from the report.
        violations: limit violations of the measured arm and of its plan.
        contacts: contacts of the arm, by text.
        plan_jumps: discontinuities of the plan.
        faults: latched faults.
        holds: why the nodes held -> number of times.
        problems: what was not as it must be, in words.
    """

    fault: str
    code: int | None
    has_report: bool
    ended_by: str | None = None
    violations: int = 0
    contacts: dict[str, int] = field(default_factory=dict)
    plan_jumps: int = 0
    faults: list[Any] = field(default_factory=list)
    holds: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def row(self) -> Row:
        """Return the row of the report."""
        return {
            "passed": float(not self.problems),
            "runs": 1.0,
            "violations": float(self.violations),
            "faults": float(len(self.faults)),
        }


def run_live_faults(video: Path | None, seed: int) -> list[LiveRun]:
    """Run all live faults, one after the other.

    Args:
        video: a person to follow; None: the arm grasps blocks.
        seed: seed of the simulation.
    """
    nodes = ["inverse_dynamics", "simulator"]
    nodes += ["retarget", "pose"] if video else ["grasp", "scene_camera"]
    faults: dict[str, Callable[[_Graph], None]] = {"none": lambda _: None}
    faults |= {f"{node} killed": _Signal(node, signal.SIGKILL) for node in nodes}
    faults |= {f"{node} stopped for 2 s": _Pause(node) for node in nodes}
    faults["two busy loops"] = _busy_loops
    faults["a second publisher of targets"] = _second_publisher("retarget" if video else "grasp")
    faults["disk full"] = lambda _: None
    return [_run(name, act, video, seed) for name, act in faults.items()]


class _Graph:
    """A launched graph: its process and those of its nodes."""

    def __init__(self, arguments: list[str], domain: int, file_limit: int | None) -> None:
        def limit() -> None:
            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        self.domain, self.helpers = domain, []  # type: tuple[int, list[subprocess.Popen[bytes]]]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "invdyn_ros", "launch", *arguments, f"domain:={domain}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=limit,  # safe: this process has no threads that hold locks
        )

    def node(self, name: str) -> int | None:
        """Return the process id of a node, None if it does not run."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for child in children.read_text().split():
            with suppress(OSError):
                words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
                if f"__node:={name}" in words:
                    return int(child)
        return None

    def start_helper(self, arguments: list[str], environment: dict[str, str]) -> None:
        """Start a process that ends with the run."""
        command = [sys.executable, *arguments]
        quiet = subprocess.DEVNULL
        self.helpers.append(
            subprocess.Popen(command, env=os.environ | environment, stdout=quiet, stderr=quiet)
        )

    def close(self) -> None:
        """End everything that still runs."""
        for process in (*self.helpers, self.process):
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                if process.poll() is None:
                    process.kill()
                    process.wait()


class _Signal:
    """Sends a signal to a node."""

    def __init__(self, node: str, number: signal.Signals) -> None:
        self.node, self.number = node, number

    def __call__(self, graph: _Graph) -> None:
        if (pid := graph.node(self.node)) is not None:
            os.kill(pid, self.number)


class _Pause:
    """Stops a node for a time."""

    def __init__(self, node: str) -> None:
        self.node = node

    def __call__(self, graph: _Graph) -> None:
        if (pid := graph.node(self.node)) is not None:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(STOPPED_TIME)
            os.kill(pid, signal.SIGCONT)


def _busy_loops(graph: _Graph) -> None:
    """Keep both cores of a small machine busy."""
    for _ in range(2):
        graph.start_helper(["-c", SPIN], {})


def _second_publisher(node: str) -> Callable[[_Graph], None]:
    """Return what starts a second node of a kind."""

    def act(graph: _Graph) -> None:
        words = ["-m", f"invdyn_ros.nodes.{node}", "--ros-args", "-r", f"__node:=second_{node}"]
        words += ["-p", f"arm:={ARM}"]
        environment = {"ROS_DOMAIN_ID": str(graph.domain)}
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        graph.start_helper(words, environment)

    return act


def _run(name: str, act: Callable[[_Graph], None], video: Path | None, seed: int) -> LiveRun:
    """Run the graph with one fault and read its report."""
    with tempfile.TemporaryDirectory(prefix="invdyn_safety_") as folder:
        report = Path(folder) / "report.json"
        arguments = ["grasp_sim", "lockstep:=false", "episodes:=9"]
        if video:
            arguments = ["teleop", f"video:={video}", "loop:=true"]
        arguments += [f"arm:={ARM}", f"seed:={seed}", f"duration:={DURATION}"]
        arguments += [f"report:={report}", f"record:={folder}/bag"]
        limit = FILE_SIZE_LIMIT if name == "disk full" else None
        graph = _Graph(arguments, 1 + os.getpid() % MAX_DOMAIN_ID, limit)
        try:
            _wait_for_nodes(graph)
            time.sleep(ONSET)
            act(graph)
            with suppress(subprocess.TimeoutExpired):
                graph.process.communicate(timeout=END_TIMEOUT)
        finally:
            graph.close()
        return _judge(name, graph.process.returncode, report)


def _wait_for_nodes(graph: _Graph) -> None:
    """Wait until the nodes have started, or the launch has ended."""
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and graph.process.poll() is None:
        if graph.node("report") is not None:
            return
        time.sleep(0.1)


def _judge(name: str, code: int, report: Path) -> LiveRun:
    """Read the report of a run and compare it with what must be."""
    run = LiveRun(name, code, report.is_file())
    if not run.has_report:
        run.problems.append("no report")
        return run
    values = json.loads(report.read_text(encoding="utf-8"))
    run.ended_by = values.get("ended_by")
    run.violations = int(values.get("limit_violations") or 0)
    run.contacts = dict(values.get("contacts") or {})
    run.plan_jumps = int(values.get("plan_jumps") or 0)
    run.faults, run.holds = list(values.get("faults") or []), values.get("hold_counts") or {}
    if run.violations:
        run.problems.append(f"{run.violations} limit violations")
    node = name.partition(" ")[0]
    if name.endswith("killed") and node not in (run.ended_by or ""):
        run.problems.append(f"ended by {run.ended_by}, which does not name {node}")
    if name == "none" and (run.faults or code):
        run.problems.append(f"code {code}, faults {run.faults}")
    return run
