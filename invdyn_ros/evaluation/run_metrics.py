"""Metrics of a run that teleop and grasp reports share."""

import re
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.control.command import MODEL_DRIFT
from invdyn_ros.data.recording import JointSamples, Recording
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array, Mask

NUMBER = r"[-+0-9.e]+|nan|inf"
FAULT_TEXT = re.compile(
    rf"(?P<reason>[^:]+)(: (?P<joint>[^:]+))?: (?P<value>{NUMBER}) (?P<unit>[^,]*), "
    rf"limit (?P<limit>{NUMBER})"
)  # as `Fault` writes it
QUANTILES = (50, 95, 99)
VELOCITY_TOLERANCE = 1.02  # allows for the noise of measured velocities
TIME_TOLERANCE = 1e-6  # [s] of equal stamps
PROCESSING_TIME = 0.5  # [s] before the end of a run, in which images may still be processed
MAX_GAP = 0.1  # [s] between desired states, after which the arm may have been engaged anew
JUMP_TOLERANCE = 1e-4  # [rad] beyond the acceleration limit, from which a step is a jump
MEASURED_TOLERANCE = 1e-6  # [rad] of a plan that starts at the measured arm: rounding of stamps


def quantiles(values: Array, percentiles: tuple[int, ...] = QUANTILES) -> dict[str, float | None]:
    """Return percentiles as {"p50": ...}; None if there are no values."""
    if not len(values):
        return {f"p{q}": None for q in percentiles}
    return {f"p{q}": round(float(np.percentile(values, q)), 4) for q in percentiles}


class Violations(NamedTuple):
    """Samples outside the rated limits of an arm.

    Attributes:
        by_kind: number of samples by what was violated.
        time: (V,) times of the samples with a violation [s].
        text: (V,) what was violated at each of these times.
    """

    by_kind: dict[str, int]
    time: Array
    text: list[str]


def limit_violations(
    robot: Robot, joints: JointSamples, desired: JointSamples, unit: str
) -> Violations:
    """Find the samples outside the rated limits of an arm, measured and desired.

    A plan that starts anew at the measured arm, such as a stop after a fault, does not accelerate
    at this step: it jumps (`Tracking.jumps`).

    Args:
        robot: the arm.
        joints: measured samples.
        desired: desired samples, with the action in `effort`.
        unit: unit of the actions; "N m" is compared with the rated effort.
    """
    by_kind: dict[str, int] = {}
    pairs: list[tuple[float, str]] = []
    for name, samples in (("measured", joints), ("desired", desired)):
        for kind, outside in _outside(robot, samples, unit).items():
            by_kind[f"{name} {kind}"] = int(outside.sum())
            pairs += [(float(t), f"{name} {kind}") for t in samples.time[outside]]
    too_fast = _plan_steps(robot, joints, desired).beyond_acceleration
    by_kind["desired acceleration"] = int(too_fast.sum())
    pairs += [(float(t), "desired acceleration") for t in desired.time[1:][too_fast]]
    pairs.sort()
    return Violations(by_kind, np.array([t for t, _ in pairs]), [text for _, text in pairs])


def _outside(robot: Robot, samples: JointSamples, unit: str) -> dict[str, Array]:
    """Return whether each sample is outside the limits, (T,) by kind of limit."""
    none = np.zeros(len(samples.time), bool)
    if not len(samples.time):
        return {"position": none, "velocity": none, "effort": none}
    position = np.any((samples.q < robot.lower) | (samples.q > robot.upper), axis=1)
    velocity = effort = none
    if samples.qd.shape[1]:
        velocity = np.any(np.abs(samples.qd) > VELOCITY_TOLERANCE * robot.velocity, axis=1)
    if unit == "N m" and samples.effort.shape[1]:
        effort = np.any(np.abs(samples.effort) > robot.effort * (1 + 1e-9), axis=1)
    return {"position": position, "velocity": velocity, "effort": effort}


class _PlanSteps(NamedTuple):
    """Steps of a plan that are none of a motion within limits, (T - 1,) each."""

    jumped: Mask
    beyond_acceleration: Mask


def _plan_steps(robot: Robot, joints: JointSamples, desired: JointSamples) -> _PlanSteps:
    """Find the steps at which a plan jumps, or its mean acceleration is above the limit.

    Steps after a gap, in which the arm may have been engaged anew, do not count.

    Args:
        robot: the arm.
        joints: measured samples.
        desired: desired samples.
    """
    if len(desired.time) < 2 or not desired.qd.shape[1]:
        none = np.zeros(max(len(desired.time) - 1, 0), bool)
        return _PlanSteps(none, none)
    q, qd, dt = desired.q, desired.qd, np.diff(desired.time)[:, None]
    step, change = robot.acceleration * dt, np.abs(np.diff(qd, axis=0))
    is_step = dt[:, 0] < MAX_GAP
    far = (np.abs(q[1:] - q[:-1] - dt * qd[:-1]) > step * dt + JUMP_TOLERANCE).any(axis=1)
    too_fast = (change > 1.001 * step + 1e-6).any(axis=1)
    is_measured = _is_measured(joints, desired)
    anew = (far | too_fast) & is_measured[1:] & ~is_measured[:-1]
    return _PlanSteps((far | anew) & is_step, too_fast & ~anew & is_step)


def _is_measured(joints: JointSamples, desired: JointSamples) -> Mask:
    """Return whether each desired position is the last measured one, (T,)."""
    rows = np.searchsorted(joints.time, desired.time + TIME_TOLERANCE) - 1
    known = rows >= 0
    distance = np.full(len(rows), np.inf)
    distance[known] = np.abs(desired.q[known] - joints.q[rows[known]]).max(axis=1)
    return distance < MEASURED_TOLERANCE


class Tracking(NamedTuple):
    """Error of the measured joints against the plan, at all times.

    Attributes:
        time: (T,) [s] of the joint states since the first desired one.
        error: (T, n) measured minus desired position [rad].
        jumps: (J,) times at which the desired motion jumped [s].
    """

    time: Array
    error: Array
    jumps: Array

    @property
    def rms(self) -> float | None:
        """RMS of the error [rad]; None without samples."""
        return float(np.sqrt(np.mean(self.error**2))) if len(self.time) else None

    @property
    def max(self) -> float | None:
        """Largest error of a joint [rad]; None without samples."""
        return float(np.abs(self.error).max()) if len(self.time) else None


def tracking(robot: Robot, joints: JointSamples, desired: JointSamples) -> Tracking:
    """Compare the measured joints with the plan, resets of the plan included.

    Where the desired position jumps, the error is that against the plan before the jump; where
    nothing was desired, that against the last desired position.

    Args:
        robot: the arm.
        joints: measured samples.
        desired: desired samples.
    """
    if not len(joints.time) or not len(desired.time):
        return Tracking(np.empty(0), np.empty((0, robot.n)), np.empty(0))
    before, jumped = _expected_positions(desired), np.zeros(len(desired.time), bool)
    jumped[1:] = _plan_steps(robot, joints, desired).jumped
    inside = joints.time >= desired.time[0] - TIME_TOLERANCE
    time, q = joints.time[inside], joints.q[inside]
    rows = np.searchsorted(desired.time, time + TIME_TOLERANCE) - 1
    at_stamp = np.abs(desired.time[rows] - time) < TIME_TOLERANCE
    expected = np.where((at_stamp & jumped[rows])[:, None], before[rows], desired.q[rows])
    return Tracking(time, q - expected, desired.time[jumped])


def _expected_positions(desired: JointSamples) -> Array:
    """Return where the plan before each sample would be, (T, n) [rad]."""
    before = desired.q.copy()
    if len(before) >= 2 and desired.qd.shape[1]:
        dt = np.diff(desired.time)[:, None]
        before[1:] = desired.q[:-1] + np.where(dt < MAX_GAP, dt, 0.0) * desired.qd[:-1]
    return before


def held_share(recording: Recording) -> float | None:
    """Return the fraction of time, from the first image on, in which a node held or had a fault.

    None without any joint states.
    """
    times = recording.joints.time
    if not len(times):
        return None
    start = recording.landmarks[0][0] if recording.landmarks else float(times[0])
    held, last = 0.0, start
    for status in recording.statuses:  # in order of their start
        if status.kind not in ("hold", "fault"):
            continue
        begin = max(status.start, last)
        held += max(status.end - begin, 0.0)
        last = max(last, status.end)
    return round(held / max(float(times[-1]) - start, 1e-9), 4)


def lost_frames(recording: Recording) -> list[float]:
    """Return the stamps [s] of the published images that led to no landmarks.

    Images of the last moment, which were still being processed, do not count.
    """
    processed = {round(1e6 * t) for t, _ in recording.landmarks}
    times = recording.joints.time
    end = (times[-1] if len(times) else np.inf) - PROCESSING_TIME
    return [t for t in recording.image_stamps if t < end and round(1e6 * t) not in processed]


def faults(recording: Recording) -> list[dict[str, Any]]:
    """Return the faults of a run, each with its time since the start [s] and its values."""
    times = recording.joints.time
    start = float(times[0]) if len(times) else 0.0
    return [
        {"time": round(s.start - start, 3), "node": s.node, "text": s.text} | fault_values(s.text)
        for s in recording.statuses
        if s.kind == "fault"
    ]


def safety_figures(recording: Recording, violations: Violations) -> dict[str, Any]:
    """Return the keys of a report on limits, contacts, faults and holds."""
    return {
        "limit_violations": sum(violations.by_kind.values()),
        "limit_violations_by_kind": violations.by_kind,
        "contacts": recording.contact_counts,
        "faults": faults(recording),
        "held_share": held_share(recording),
        "hold_counts": recording.hold_counts,
        "ignored_messages": recording.ignored_counts,
    }


def model_drifts(recording: Recording) -> list[dict[str, Any]]:
    """Return when [s] since the start, and in what, an arm came to differ from its model."""
    times = recording.joints.time
    start = float(times[0]) if len(times) else 0.0
    return [
        {"time": round(s.start - start, 3), "text": s.text}
        for s in recording.statuses
        if s.text.startswith(MODEL_DRIFT)
    ]


def fault_values(text: str) -> dict[str, Any]:
    """Return reason, joint, value, unit and limit in the text of a fault; only its reason else."""
    match = FAULT_TEXT.match(text)
    if match is None:
        return {"reason": text}
    values = match.groupdict()
    return values | {"value": float(values["value"]), "limit": float(values["limit"])}


class Latencies(NamedTuple):
    """Time from the stamp of an image to the first command computed from it [ms], (F,) each.

    Attributes:
        total: image to command.
        without_pose: the same without the time in the pose network.
        stages: name -> time: image to pose network, pose network, pose network to command.
    """

    total: Array
    without_pose: Array
    stages: dict[str, Array]


def latencies(recording: Recording) -> Latencies:
    """Return the latency of each image that led to a command."""
    reached: dict[float, dict[str, float]] = {}
    for stage, stamp, time in recording.stages:
        reached.setdefault(stamp, {}).setdefault(stage, time - stamp)
    order = ("pose begin", "pose end", "command")
    rows = [[times[k] for k in order] for times in reached.values() if times.keys() >= set(order)]
    begin, end, command = 1e3 * np.array(rows).reshape(-1, 3).T
    stages = {"image_to_pose": begin, "pose": end - begin, "pose_to_command": command - end}
    return Latencies(command, command - stages["pose"], stages)
