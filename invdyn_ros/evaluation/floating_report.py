"""Report of a run in which an arm floats."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.control.command import SOFT_STOP
from invdyn_ros.data.recording import JointSamples, Recording
from invdyn_ros.evaluation.run_metrics import limit_violations, safety_figures
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

PUSH_GAP = 0.3  # [s] between two forces of one push at most
REST_SPEED = 0.02  # [rad/s] below which an arm has stopped; noise of velocities is below
REST_TIME = 0.2  # [s] for which it stays so
SETTLING = 0.5  # [s] at rest after which an arm that moves drifts
MIN_REST = 1.0  # [s] of rest, in which drift can be measured


class Push(NamedTuple):
    """Force on the tip, of nearly one direction.

    Attributes:
        start: first time [s].
        end: last time [s].
        force: (3,) mean force along the axes of the base [N].
    """

    start: float
    end: float
    force: Array


def floating_report(recording: Recording, robot: Robot, unit: str) -> dict[str, Any]:
    """Return the measured figures of a run in which an arm floats.

    Args:
        recording: the run; the arm floats from the first desired sample on.
        robot: the arm.
        unit: unit of the actions.
    """
    joints, desired = recording.joints, recording.desired
    start = float(desired.time[0]) if len(desired.time) else np.inf
    joints = joints.since(start)
    tool = tool_positions(robot, joints)
    speed = _speed(joints, tool)
    pushes = find_pushes([push for push in recording.pushes if push[0] >= start])
    violations = limit_violations(robot, joints, JointSamples.from_rows([]), unit)
    texts = [s for s in recording.statuses if s.kind == "warning" and SOFT_STOP in s.text]
    total = float(joints.time[-1] - start) if len(joints.time) else 0.0
    return {
        "floating_s": round(total, 2),
        "drift_mrad_per_min": _drift(joints, pushes),
        "pushes": [
            {"time": round(push.start - start, 2), **_push_values(push, joints, tool, speed)}
            for push in pushes
        ],
        "tool_speed_max": round(float(speed.max(initial=0.0)), 3),
        "soft_stop_share": round(sum(s.end - s.start for s in texts) / max(total, 1e-9), 4),
        **safety_figures(recording, violations),
    }


def find_pushes(forces: list[tuple[float, Array]]) -> list[Push]:
    """Return the pushes of forces (3,) [N] with their stamps [s]."""
    pushes: list[list[tuple[float, Array]]] = []
    for time, force in forces:
        last = pushes[-1][-1] if pushes else None
        is_same = last is not None and time - last[0] < PUSH_GAP and force @ last[1] > 0
        if not is_same:
            pushes.append([])
        pushes[-1].append((time, force))
    return [
        Push(rows[0][0], rows[-1][0], np.mean([force for _, force in rows], axis=0))
        for rows in pushes
    ]


def tool_positions(robot: Robot, joints: JointSamples) -> Array:
    """Return the position of the tool (T, 3) [m] at each sample."""
    return np.array([robot.forward_kinematics(q)[:3, 3] for q in joints.q]).reshape(-1, 3)


def _push_values(push: Push, joints: JointSamples, tool: Array, speed: Array) -> dict[str, Any]:
    """Return how a push moved the arm, and how it stopped when it was let go.

    Args:
        push: the push.
        joints: measured samples since the arm floats.
        tool: (T, 3) positions of the tool [m].
        speed: (T,) its speed [m/s].
    """
    first, last = np.searchsorted(joints.time, [push.start, push.end])
    values: dict[str, Any] = {
        "seconds": round(push.end - push.start, 2),
        "force": [round(float(f), 2) for f in push.force],
        "moved_mm": None,
        "tool_speed": None,
        "stopped_after_s": None,
        "coasted_mm": None,
    }
    if last >= len(tool):
        return values
    values["moved_mm"] = round(1e3 * float(np.linalg.norm(tool[last] - tool[first])), 1)
    values["tool_speed"] = round(float(speed[first : last + 1].max()), 3)
    if (stop := _stop(joints, push.end)) is not None:
        end = np.searchsorted(joints.time, stop)
        values["stopped_after_s"] = round(stop - push.end, 2)
        values["coasted_mm"] = round(1e3 * float(np.linalg.norm(tool[end] - tool[last])), 1)
    return values


def _stop(joints: JointSamples, after: float) -> float | None:
    """Return the first time [s] after another one at which the arm rests, None without one."""
    still = np.abs(joints.qd).max(axis=1, initial=0.0) < REST_SPEED
    count = max(round(REST_TIME / float(np.median(np.diff(joints.time)))), 1)
    resting = np.convolve(still, np.ones(count), "valid") == count
    rows = np.flatnonzero(resting & (joints.time[: len(resting)] >= after))
    return float(joints.time[rows[0]]) if rows.size else None


def _drift(joints: JointSamples, pushes: list[Push]) -> float | None:
    """Return how far joints drift while nobody pushes [mrad/min], None if that is not known.

    It is the largest of any joint, over the times of rest after each push.
    """
    if len(joints.time) < 2:
        return None
    moved, duration = np.zeros(joints.q.shape[1:]), 0.0
    begins = [joints.time[0], *(push.end for push in pushes)]
    ends = [*(push.start for push in pushes), joints.time[-1]]
    for begin, end in zip(begins, ends, strict=True):
        rest = _stop(joints, begin)
        if rest is None or end - rest - SETTLING < MIN_REST:
            continue
        first, last = np.searchsorted(joints.time, [rest + SETTLING, end])
        moved += np.abs(joints.q[last - 1] - joints.q[first])
        duration += end - rest - SETTLING
    return round(float(1e3 * moved.max() / duration * 60), 3) if duration else None


def _speed(joints: JointSamples, tool: Array) -> Array:
    """Return the speed of the tool (T,) [m/s]."""
    if len(tool) < 2:
        return np.zeros(len(tool))
    return np.linalg.norm(np.gradient(tool, joints.time, axis=0), axis=1)
