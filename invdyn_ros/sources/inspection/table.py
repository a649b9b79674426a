"""Table of what a dataset holds: rate, gaps and ranges of all joints."""

from __future__ import annotations

import numpy as np

from invdyn_ros.data.action_units import SETPOINT, is_torque
from invdyn_ros.data.resampling import is_even, recording_rate
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.urdf import load_urdf
from invdyn_ros.sources.inspection.motion import CollectedMotion
from invdyn_ros.typing import Array

MISSED = 1.5  # median intervals, from which on samples are missing


def table_lines(motion: CollectedMotion) -> list[str]:
    """Return the table of a dataset in lines."""
    header, *rows = _ranges(motion)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return [_timing(motion), *table]


def _timing(motion: CollectedMotion) -> str:
    """Return rows, duration, rate, jitter and gaps in one line."""
    steps = motion.steps
    median = float(np.median(steps))
    seconds = sum(float(part.time[-1] - part.time[0]) for part in motion.parts)
    regular = steps[steps < MISSED * median]
    missed = steps[steps >= MISSED * median]
    gaps = f"{len(missed)} gaps up to {missed.max():.3g} s" if len(missed) else "no gaps"
    even = all(is_even(part.time) for part in motion.parts)
    jitter = 1e3 * regular.std()
    return (
        f"{len(motion.position)} rows, {len(motion.parts)} episodes, {seconds:.1f} s at "
        f"{recording_rate(motion.parts):.5g} Hz, "
        f"{'evenly spaced' if even else f'jitter {jitter:.2g} ms RMS'}, {gaps}"
    )


def _ranges(motion: CollectedMotion) -> list[list[str]]:
    """Return the header and one row of cells per joint."""
    robot, unit = motion.robot, motion.unit
    slides = robot is not None and _slides(robot)
    header = ["joint", "position [rad or m]" if slides else "position [rad]"]
    columns = [_cells(motion.position, *_position_limits(robot))]
    if len(motion.velocity):
        header.append("velocity [rad/s or m/s]" if slides else "velocity [rad/s]")
        columns.append(
            _cells(motion.velocity, *_symmetric(None if robot is None else robot.velocity))
        )
    if len(motion.action):
        header.append(f"action [{unit}]")
        limits = _position_limits(robot) if unit == SETPOINT else (None, None)
        if is_torque(unit):
            limits = _symmetric(None if robot is None else robot.effort)
        columns.append(_cells(motion.action, *limits))
    if robot is not None:
        header = [header[0], *(f"{name} (limits)" for name in header[1:])]
    return [header, *map(list, zip(motion.names, *columns, strict=True))]


def _slides(robot: Robot) -> bool:
    """Return whether a joint of an arm is prismatic."""
    joints = load_urdf(robot.urdf).joints
    return any(joints[name].type == "prismatic" for name in robot.joint_names)


Bounds = tuple[Array | None, Array | None]


def _position_limits(robot: Robot | None) -> Bounds:
    return (None, None) if robot is None else (robot.lower, robot.upper)


def _symmetric(limit: Array | None) -> Bounds:
    return (None, None) if limit is None else (-limit, limit)


def _cells(values: Array, lower: Array | None, upper: Array | None) -> list[str]:
    """Return the ranges of the columns of values (N, n), each beside its limits."""
    cells = [
        f"{low:.3g} .. {high:.3g}" for low, high in zip(values.min(0), values.max(0), strict=True)
    ]
    if lower is None or upper is None:
        return cells
    limits = [f"({low:.3g} .. {high:.3g})" for low, high in zip(lower, upper, strict=True)]
    return [f"{cell} {limit}" for cell, limit in zip(cells, limits, strict=True)]
