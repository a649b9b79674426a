"""Benchmark of a starting graph: time from `invdyn launch` to the first command, memory, and end.

A probe that already runs notes the commands, so that it takes no time from the nodes that start.
Then launchers get SIGINT or SIGKILL at some moments.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.interruption import interrupt
from invdyn_ros.benchmarks.report import Row, quantiles
from invdyn_ros.graph.graph import resolve
from invdyn_ros.graph.launcher import child_environment
from invdyn_ros.graph.node_spec import NodeSpec
from invdyn_ros.graph.ros_domain import own_domain
from invdyn_ros.native_output import STDERR

TIMEOUT = 60.0  # [s] until the first command from an image
END_TIMEOUT = 15.0  # [s]
EVENTS = {"command": "first command", "image": "first command from an image"}
LAUNCHER, TOTAL = "launcher", "total"
MOMENTS = (0.1, 0.3, 0.6, 1.0, 1.5, 2.5, 6.0)  # [s] from the launch to a signal
SIGNALS = {"interrupted": signal.SIGINT, "killed": signal.SIGKILL}


@dataclass(frozen=True)
class StartupBenchmarkConfig(BenchmarkOptions):
    """Time from launch to the first command, memory of each process, and end of teleop."""

    video: Path | None = None
    """Video of a person; default: a camera, and no commands from images are waited for."""
    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    target: Literal["sim", "real"] = "sim"
    """Real: the arm stays disengaged, so only memory is measured."""
    composed: bool = False
    """Whether the nodes outside the control loop share one process."""
    runs: PositiveInt = 3
    """Number of runs."""
    seconds: PositiveFloat = 5.0
    """Time from the first commands, or from the launch of a real arm, to the measurement of
    memory [s]."""
    domain: Annotated[int, Field(ge=1, le=232)] | None = None
    """ROS domain id, 1 to 232; default: one that is free."""


class Memory(NamedTuple):
    """Memory of a process [MB]."""

    resident: float
    proportional: float
    """Resident, with shared pages divided by the number of processes that share them."""
    peak: float

    def row(self) -> Row:
        """Return the row of the report."""
        return {"RSS MB": self.resident, "PSS MB": self.proportional, "peak MB": self.peak}


@dataclass
class Run:
    """One run: times [s] of the events, and the memory of each process."""

    times: dict[str, float] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)


def measure_startup(config: StartupBenchmarkConfig) -> dict[str, Any]:
    """Launch the graph some times and return the report.

    Raises:
        ValueError: a launch argument is wrong.
        ChildProcessError: there was no command.
    """
    measured = config.begin("startup", "s, MB")
    specs, rows = resolve("teleop", _arguments(config)), measured.rows
    runs = [_run(config, specs) for _ in range(config.runs)]
    for event, name in EVENTS.items():
        if times := [run.times[event] for run in runs if event in run.times]:
            row = quantiles(times, (50,))
            rows[name] = {"s": row["p50"], "max s": row["max"]}
    for name in runs[0].memory:
        values = np.median([run.memory[name] for run in runs], axis=0)
        rows[name] = Memory(*values.round(1).tolist()).row()
    total = np.sum([list(row.values()) for row in rows.values() if "RSS MB" in row], axis=0)
    rows[TOTAL] = Memory(*total.round(1).tolist()).row()
    _add_end_rows(config, rows)
    settings = {
        "arm": config.arm,
        "target": config.target,
        "composed": config.composed,
        "video": config.video.name if config.video else "",
        "runs": config.runs,
        "seconds": config.seconds,
    }
    return measured.report(settings)


def _add_end_rows(config: StartupBenchmarkConfig, rows: dict[str, Row]) -> None:
    """Add how the graph ended after each signal at each moment."""
    for moment in MOMENTS:
        for name, number in SIGNALS.items():
            ends = [interrupt(_words(config), moment, number) for _ in range(config.runs)]
            times = quantiles([end.seconds for end in ends], (50,))
            rows[f"{name} at {moment:g} s"] = {
                "s": times["p50"],
                "max s": times["max"],
                "tracebacks": float(sum(end.tracebacks for end in ends)),
                "orphans": float(sum(len(end.orphans) for end in ends)),
            }


def _words(config: StartupBenchmarkConfig) -> list[str]:
    """Return the command line after `invdyn launch`."""
    return ["teleop", *(f"{name}:={value}" for name, value in _arguments(config).items())]


def _arguments(config: StartupBenchmarkConfig) -> dict[str, str]:
    """Return the launch arguments."""
    domain = config.domain or own_domain()
    arguments = {"arm": config.arm, "target": config.target, "domain": str(domain)}
    arguments["composed"] = str(config.composed).lower()
    if config.video is not None:
        arguments |= {"video": str(config.video), "loop": "true"}
    return arguments


def _run(config: StartupBenchmarkConfig, specs: list[NodeSpec]) -> Run:
    """Launch the graph once.

    Raises:
        ChildProcessError: a command is missing.
    """
    run = Run()
    missing = {"command"} if config.target == "sim" else set()
    if missing and config.video is not None:
        missing.add("image")
    with contextlib.ExitStack() as stack:
        events = stack.enter_context(_probe(specs))
        start = time.time()
        process = stack.enter_context(_launched(config))
        while missing:
            event, at = next(events, ("", 0.0))
            if not event:
                raise ChildProcessError(f"no {EVENTS[min(missing)]} within {TIMEOUT:g} s")
            run.times[event] = round(at - start, 3)
            missing -= {event}
        time.sleep(config.seconds)
        run.memory = process_memory(process.pid)
    return run


@contextlib.contextmanager
def _probe(specs: list[NodeSpec]) -> Iterator[Iterator[tuple[str, float]]]:
    """Start the probe and yield its events with their times [s], once it listens."""
    unit = next((spec.parameters["unit"] for spec in specs if "unit" in spec.parameters), "rad")
    words = ["--ros-args", "-p", f"unit:='{unit}'", "-p", f"seconds:={TIMEOUT}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "invdyn_ros.nodes.startup_probe", *words],
        env={**child_environment(os.environ), **specs[0].environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        lines = (line.split() for line in process.stdout or ())
        events = ((name, float(at)) for name, at in lines)
        if next(events, None) is None:
            raise ChildProcessError("the probe did not start; see above")
        yield events
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _launched(config: StartupBenchmarkConfig) -> Iterator[subprocess.Popen[bytes]]:
    """Launch the graph and yield the process of the launcher."""
    process = subprocess.Popen(
        [sys.executable, "-m", "invdyn_ros", "launch", *_words(config)], stdout=STDERR
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def process_memory(pid: int) -> dict[str, Memory]:
    """Return the memory of a launcher and of the processes of its nodes, by name."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    memory = {LAUNCHER: _memory(pid)}
    for child in map(int, children):
        words = Path(f"/proc/{child}/cmdline").read_text(encoding="utf-8").split("\0")
        module = words[words.index("-m") + 1] if "-m" in words else words[0]
        memory[module.rpartition(".")[2]] = _memory(child)
    return memory


def _memory(pid: int) -> Memory:
    """Return the memory of a process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    text += Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines())
    kilobytes = {words[0]: float(words[1]) for words in lines if words[2:] == ["kB"]}
    return Memory(*(kilobytes[key] * 1024 / 1e6 for key in ("Rss:", "Pss:", "VmHWM:")))
