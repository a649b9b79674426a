"""Metrics of a run that teleop and grasp reports share."""

from typing import NamedTuple

import numpy as np

from invdyn_ros.data.recording import JointSamples, Recording, align_stamps
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

QUANTILES = (50, 95, 99)
VELOCITY_TOLERANCE = 1.02  # allows for the noise of measured velocities


def quantiles(values: Array, percentiles: tuple[int, ...] = QUANTILES) -> dict[str, float | None]:
    """Return percentiles as {"p50": ...}; None if there are no values."""
    if not len(values):
        return {f"p{q}": None for q in percentiles}
    return {f"p{q}": round(float(np.percentile(values, q)), 4) for q in percentiles}


def limit_violations(robot: Robot, joints: JointSamples, desired: JointSamples, unit: str) -> int:
    """Count the samples outside the rated limits of an arm.

    Args:
        robot: the arm.
        joints: measured samples.
        desired: desired samples, with the action in `effort`.
        unit: unit of the actions; "N m" is compared with the rated effort.
    """
    count = 0
    for samples in (joints, desired):
        if not len(samples.time):
            continue
        outside = (samples.q < robot.lower).any(1) | (samples.q > robot.upper).any(1)
        if samples.qd.shape[1]:
            outside |= (np.abs(samples.qd) > VELOCITY_TOLERANCE * robot.velocity).any(1)
        if unit == "N m" and samples.effort.shape[1]:
            outside |= (np.abs(samples.effort) > robot.effort * (1 + 1e-9)).any(1)
        count += int(outside.sum())
    return count


def tracking_rms(joints: JointSamples, desired: JointSamples) -> float | None:
    """Return the RMS distance between measured and desired joints [rad]; None without samples."""
    measured, aligned = align_stamps(joints, desired)
    if not len(measured.time):
        return None
    return float(np.sqrt(np.mean((measured.q - aligned.q) ** 2)))


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
