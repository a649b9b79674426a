"""Live faults of the safety benchmark: the whole graph in real time, with a node that fails."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from invdyn_ros.benchmarks.report import Row
from invdyn_ros.benchmarks.safety_live_faults import LiveFault, live_faults
from invdyn_ros.benchmarks.safety_live_graph import LaunchedGraph
from invdyn_ros.benchmarks.safety_live_timeline import Timeline, read_timeline
from invdyn_ros.graph.checkpoints import find_checkpoint
from invdyn_ros.graph.ros_domain import own_domain
from invdyn_ros.robots.robot import load_robot

ARM = "ur5"
CHECKPOINTS = ("ur5", "ur5_position")  # of both kinds of action
START_TIME = 5.3  # [s] from engaging to the fault, when the arm moves
RECOVERY_TIME = 4.0  # [s] after the fault
MAX_EXCURSION = 0.05  # [rad] from plan and place
MAX_FIRST_COMMAND = 0.02  # [rad]
STILL = 0.01  # [rad] of travel of an arm that stands
FILE_SIZE_LIMIT = 400_000  # [bytes] of a disk that is full
INTERRUPTED = 130  # exit code after Ctrl-C
KILLED = 137


@dataclass
class LiveRun:
    """Result of one live fault.

    Attributes:
        fault: what happened.
        checkpoint: model of the arm.
        code: exit code of the launch.
        ended_by: why the run ended, from the report; None without a report.
        reason: what was named, None if nothing was.
        detection: time until it was named [s]; NaN if nothing was.
        excursion: distance of a joint from its plan or its place [rad].
        first_command: distance of the first setpoint after a gap from the arm [rad].
        speed: largest joint speed at the fault, as a fraction of the rated one [-].
        held_share: part of the run in which the arm was held [-].
        violations: limit violations of the measured arm and of its plan, which may start again at
            the measured arm.
        contacts: contacts of the arm, by text.
        faults: latched faults.
        holds: why the nodes held -> number of times.
        problems: what was not as it must be, in words.
    """

    fault: str
    checkpoint: str
    code: int | None
    ended_by: str | None = None
    reason: str | None = None
    detection: float = nan
    excursion: float = nan
    first_command: float = nan
    speed: float = nan
    held_share: float = nan
    violations: int = 0
    contacts: dict[str, int] = field(default_factory=dict)
    faults: list[Any] = field(default_factory=list)
    holds: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def row(self) -> Row:
        """Return the row of the report."""
        row = {"passed": float(not self.problems), "violations": float(self.violations)}
        for name, value, scale in (
            ("detection ms", self.detection, 1e3),
            ("excursion mrad", self.excursion, 1e3),
            ("first command mrad", self.first_command, 1e3),
            ("speed", self.speed, 1.0),
            ("held", self.held_share, 1.0),
        ):
            if value == value:
                row[name] = round(scale * value, 3)
        return row


def run_live_faults(
    video: Path | None, seed: int, only: tuple[str, ...] = ()
) -> Iterator[LiveRun]:
    """Run live faults, one after the other.

    Args:
        video: a person to follow; None: the arm grasps blocks.
        seed: seed of the simulation.
        only: names of the faults; empty: all.

    Raises:
        ValueError: no fault has one of these names.
    """
    table = live_faults(video is not None)
    if unknown := set(only) - set(table):
        raise ValueError(f"no live fault '{min(unknown)}'; there are {', '.join(table)}")
    for checkpoint in CHECKPOINTS:
        for name in only or table:
            if checkpoint == ARM or table[name].setpoints:
                yield _run(name, table[name], checkpoint, video, seed)


def _run(name: str, row: LiveFault, checkpoint: str, video: Path | None, seed: int) -> LiveRun:
    """Run the graph with one fault and measure it."""
    folder_of = find_checkpoint("", ARM, real=False).parent / checkpoint
    arguments = ["grasp_sim", "lockstep:=false", "episodes:=9", f"seed:={seed}"]
    if video:
        arguments = ["teleop", f"video:={video.absolute()}", "loop:=true", f"seed:={seed}"]
    composed = str(row.composed).lower()
    arguments += [f"arm:={ARM}", f"checkpoint:={folder_of}", f"composed:={composed}"]
    with tempfile.TemporaryDirectory(prefix="invdyn_safety_") as folder:
        limit = FILE_SIZE_LIMIT if row.disk_full else None
        domain = own_domain()
        graph = LaunchedGraph(arguments, domain, Path(folder), limit)
        try:
            graph.wait_until_engaged()
            time.sleep(START_TIME)
            start = time.time()
            row.act(graph)
            if row.by_helper:
                graph.wait_until_named(row.reasons)
            end = time.time()
            time.sleep(RECOVERY_TIME)
            graph.end(interrupt=not row.killed)
        finally:
            graph.close()
        run = LiveRun(name, checkpoint, graph.process.returncode)
        _read_report(run, graph.report)
        timeline = read_timeline(Path(folder) / "bag", load_robot(ARM))
        if timeline is not None and len(timeline.time):
            _measure(run, row, timeline, start, end)
    run.problems += _problems(run, row)
    return run


def _read_report(run: LiveRun, report: Path) -> None:
    if not report.is_file():
        return
    values = json.loads(report.read_text(encoding="utf-8"))
    run.ended_by = str(values.get("ended_by"))
    run.violations = sum((values.get("limit_violations_by_kind") or {}).values())
    run.contacts = dict(values.get("contacts") or {})
    run.held_share = float(values.get("held_share") or 0.0)
    run.faults, run.holds = list(values.get("faults") or []), values.get("hold_counts") or {}


def _measure(run: LiveRun, row: LiveFault, timeline: Timeline, start: float, end: float) -> None:
    """Measure a run.

    Args:
        run: gets the values.
        row: of the table.
        timeline: what was recorded.
        start: time of the fault [s].
        end: time at which it was over, or lasts [s].
    """
    run.reason, detected = timeline.detection(row.reasons, start) if row.reasons else (None, nan)
    last, status = timeline.time[-1], timeline.last_status("inverse_dynamics", row.reasons)
    if row.by_helper:
        start = end = detected
    else:
        run.detection = detected - (end if row.from_end else start)
    run.speed = timeline.speed(load_robot(ARM), start)
    if not row.unmeasured:
        run.excursion = timeline.excursion(start, min(end + RECOVERY_TIME, last))
    if run.checkpoint != ARM:
        run.first_command = timeline.first_command(start)
    is_still = row.unmeasured or timeline.travel(last - 1.0, last) < STILL
    if row.latched and not (status.startswith(row.reasons) and is_still):
        run.problems.append(f"did not stay stopped: {status}")
    resumes = bool(row.reasons) and not row.latched and not row.by_helper
    if resumes and not timeline.follows(last - 1.0):
        run.problems.append(f"does not follow again: {status}")


def _problems(run: LiveRun, row: LiveFault) -> list[str]:
    """Return what is not as the table states."""
    problems = []
    code = KILLED if row.killed else INTERRUPTED
    if run.ended_by is None and row.killed != "report":
        problems.append("no report")
    elif run.code != code and not row.disk_full:
        problems.append(f"code {run.code} instead of {code}")
    if row.killed and row.killed not in (run.ended_by or "report"):
        problems.append(f"ended by {run.ended_by}, which does not name {row.killed}")
    if row.reasons and run.reason is None:
        problems.append("named nothing")
    if run.detection > row.deadline:
        problems.append(f"named after {1e3 * run.detection:.0f} ms")
    if run.excursion > MAX_EXCURSION:
        problems.append(f"excursion {run.excursion:.3f} rad")
    if run.first_command > MAX_FIRST_COMMAND:
        problems.append(f"first command {run.first_command:.3f} rad from the arm")
    if (run.violations and not row.unmeasured) or run.contacts:
        problems.append(f"{run.violations} limit violations, contacts {run.contacts}")
    if run.faults and not row.latched:
        problems.append(f"stayed stopped: {run.faults}")
    return problems
