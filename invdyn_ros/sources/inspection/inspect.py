"""What a collected dataset holds, and what contradicts itself in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from invdyn_ros.data.resampling import is_even, resampling_note
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.inspection.channels import (
    clipped_suspicions,
    constant_suspicions,
    held_suspicions,
)
from invdyn_ros.sources.inspection.efforts import unit_check
from invdyn_ros.sources.inspection.jumps import jump_suspicions, stamp_suspicions
from invdyn_ros.sources.inspection.limits import (
    effort_suspicions,
    is_within_limits,
    position_suspicions,
    velocity_suspicions,
)
from invdyn_ros.sources.inspection.motion import CollectedMotion, Suspicion
from invdyn_ros.sources.inspection.slopes import slope_suspicions
from invdyn_ros.sources.inspection.table import table_lines
from invdyn_ros.sources.source import Collection

CHECKS: tuple[Callable[[CollectedMotion], Iterator[Suspicion]], ...] = (
    position_suspicions,
    slope_suspicions,
    velocity_suspicions,
    jump_suspicions,
    stamp_suspicions,
    constant_suspicions,
    clipped_suspicions,
    held_suspicions,
    effort_suspicions,
)


CONSEQUENCES = {
    "two publishers on one topic": ("velocities that are not the slope of the positions",),
    "clipped velocities": ("velocities that are not the slope of the positions",),
    "velocities in degrees per second": ("velocities beyond those of the arm",),
    "velocities in revolutions per minute": ("velocities beyond those of the arm",),
}
"""Suspicions that follow from another one, which is the one to name."""


MAX_ROWS = 500_000  # that are checked; the table is of all rows
BLOCK = 5000  # consecutive rows that are checked


class Inspection(NamedTuple):
    """What a dataset holds.

    Attributes:
        lines: table and notes.
        suspicions: contradictions in it.
    """

    lines: list[str]
    suspicions: list[Suspicion]


def inspect(collection: Collection) -> Inspection:
    """Return what a collection holds, and the contradictions in it; nothing is changed."""
    result, robot = collection.result, collection.arm()
    motion = CollectedMotion(result.recorded or result.trajectories, robot, result.changes)
    if not motion.parts:
        return Inspection([], [])
    lines = [*table_lines(motion), *_sampling_notes(collection)]
    if len(motion.position) > MAX_ROWS:
        motion = CollectedMotion(_blocks(motion.parts), robot, result.changes)
        lines.append(f"checked: {len(motion.position)} rows, in blocks of {BLOCK}")
    suspicions = {s.what: s for check in CHECKS for s in check(motion)}
    if motion.robot is not None and is_within_limits(motion):
        line, suspicion = unit_check(motion.robot, result.trajectories)
        lines += [line] if line else []
        suspicions |= {suspicion.what: suspicion} if suspicion else {}
    for consequence in {name for what in suspicions for name in CONSEQUENCES.get(what, ())}:
        suspicions.pop(consequence, None)
    return Inspection(lines, list(suspicions.values()))


def _blocks(parts: Sequence[Trajectory]) -> list[Trajectory]:
    """Return blocks of consecutive rows, evenly chosen from all of many rows."""
    blocks = [
        (part, start) for part in parts for start in range(0, len(part), min(BLOCK, len(part)))
    ]
    step = sum(map(len, parts)) / MAX_ROWS
    chosen = [blocks[int(k * step)] for k in range(int(len(blocks) / step))]
    return [part[start : start + BLOCK] for part, start in chosen]


def _sampling_notes(collection: Collection) -> list[str]:
    """Return how the stamps were treated, where samples are not evenly spaced."""
    parts, recorded = collection.result.trajectories, collection.result.recorded
    pairs = zip(recorded, parts, strict=False)  # without pairs nothing was resampled
    if any(len(a) != len(b) or (a.time != b.time).any() for a, b in pairs):
        return [resampling_note(recorded, parts)]
    if all(is_even(part.time) for part in parts if len(part) > 1):
        return []
    if len(parts[0].acceleration):
        return ["the samples are not evenly spaced and kept so; --resample HZ changes that"]
    return [
        "the samples are not evenly spaced and kept so, for time-series models; all others need "
        "--resample HZ"
    ]
