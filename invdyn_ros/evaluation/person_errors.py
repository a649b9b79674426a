"""Errors and lag of the measured arm with respect to the person that it follows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.data.recording import JointSamples, Recording
from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.arm_directions import ArmDirections
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retarget_errors import RetargetErrors, retarget_errors
from invdyn_ros.teleop.retargeting import Retargeter
from invdyn_ros.typing import Array

MAX_LAG, MIN_LAG = 1.5, -0.2  # [s] range of the lags that are tried
LAG_STEPS = (0.02, 0.001)  # [s] of the coarse and of the fine search
MIN_MOTION = 0.005  # [m] standard deviation of the hand, below which its lag is undefined
MIN_FRAMES = 20  # below which the lag is undefined
TOOL_RATE = 60.0  # [Hz] at which positions of the measured tool are computed


class PersonTargets(NamedTuple):
    """Where the arm should be, computed from unfiltered landmarks of each detected person.

    Attributes:
        time: (F,) stamp of the image [s].
        hand: (F, 3) position of the person's hand, scaled to the arm, in the base frame [m].
        upper_arm: (F, 3) unit direction of the person's upper arm in the base frame.
        forearm: (F, 3) unit direction of the person's forearm in the base frame.
    """

    time: Array
    hand: Array
    upper_arm: Array
    forearm: Array


class Lag(NamedTuple):
    """Delay of the arm behind the person, by cross-correlation.

    Attributes:
        seconds: delay with the highest correlation [s].
        correlation: correlation at that delay.
    """

    seconds: float
    correlation: float


def person_targets(recording: Recording, robot: Robot, config: RetargetConfig) -> PersonTargets:
    """Return the targets in all frames with a person, whether or not the arm can follow.

    The filters of the retargeting are left out, because their delay is an error of the arm; only
    the heading of the person, which the camera hardly sees, is filtered as for the arm.

    Args:
        recording: the run.
        robot: the arm.
        config: settings with which the person was followed.
    """
    retargeter = Retargeter(robot, config, calibration=recording.calibration)
    directions = ArmDirections(config.side, config.yaw_cutoff, None)
    rows, last = [], -np.inf
    for time, landmarks in recording.landmarks:
        if landmarks is None or not np.isfinite(landmarks).all():
            continue
        elapsed, last = time - last, time
        if elapsed > config.max_gap:
            directions.reset()
        person = directions.update(landmarks, elapsed, config.min_visibility)
        rows.append((time, *retargeter.targets(person)))
    if not rows:
        empty = np.empty((0, 3))
        return PersonTargets(np.empty(0), empty, empty, empty)
    targets = PersonTargets(*(np.array(part) for part in zip(*rows, strict=True)))
    if config.mode == "relative":
        return targets._replace(hand=targets.hand + _offset(recording, retargeter, targets))
    return targets


def _offset(recording: Recording, retargeter: Retargeter, targets: PersonTargets) -> Array:
    """Return the median position (3,) of the measured tool relative to the hand [m]."""
    joints = recording.joints
    if len(joints.time) < MIN_FRAMES:
        return np.zeros(3)
    time, tool = _tool_positions(joints, retargeter.robot, retargeter.links[-1])
    return np.median(_interpolate(targets.time, time, tool) - targets.hand, axis=0)


def measured_errors(
    recording: Recording, robot: Robot, targets: PersonTargets, delay: float = 0.0
) -> RetargetErrors:
    """Return the errors of the measured joints in the frames with a person.

    Args:
        recording: the run.
        robot: the arm.
        targets: from `person_targets`.
        delay: time after each image at which the joints are read [s].
    """
    joints = recording.joints
    time = targets.time + delay
    inside = np.zeros(len(time), bool)
    if len(joints.time):
        inside = (time >= joints.time[0]) & (time <= joints.time[-1])
    if not inside.any():
        return RetargetErrors(np.empty(0), None, None)
    q = _interpolate(time[inside], joints.time, joints.q)
    return retarget_errors(robot, q, *(part[inside] for part in targets[1:]))


def measured_lags(
    recording: Recording, robot: Robot, targets: PersonTargets
) -> dict[str, Lag | None]:
    """Return the lag of the measured tool behind the hand, overall and of each axis.

    Args:
        recording: the run.
        robot: the arm.
        targets: from `person_targets`.
    """
    lags: dict[str, Lag | None] = {"overall": None, "x": None, "y": None, "z": None}
    if len(recording.joints.time) < MIN_FRAMES:
        return lags
    time, tool = _tool_positions(recording.joints, robot, Retargeter(robot).links[-1])
    inside = (targets.time + MIN_LAG >= time[0]) & (targets.time + MAX_LAG <= time[-1])
    stamps, hand = targets.time[inside], targets.hand[inside]
    if len(stamps) < MIN_FRAMES:
        return lags
    columns = {"overall": [0, 1, 2], "x": [0], "y": [1], "z": [2]}
    return {
        name: find_lag(stamps, hand[:, axes], time, tool[:, axes])
        for name, axes in columns.items()
    }


def find_lag(stamps: Array, leader: Array, time: Array, follower: Array) -> Lag | None:
    """Return the lag with the highest correlation; None if one of both does not move.

    Args:
        stamps: (F,) [s] of the leader.
        leader: (F, k) positions [m].
        time: (T,) [s] of the follower.
        follower: (T, k) positions [m].
    """
    leader = leader - leader.mean(axis=0)
    if np.sqrt((leader**2).sum(axis=1).mean()) < MIN_MOTION:
        return None

    def correlation(lag: float) -> float:
        delayed = _interpolate(stamps + lag, time, follower)
        delayed = delayed - delayed.mean(axis=0)
        scale = np.sqrt((leader**2).sum() * (delayed**2).sum())
        return float((leader * delayed).sum() / scale) if scale > 0 else 0.0

    coarse, fine = LAG_STEPS
    lags = np.arange(MIN_LAG, MAX_LAG + coarse / 2, coarse)
    best = lags[int(np.argmax([correlation(lag) for lag in lags]))]
    near = np.arange(max(best - coarse, MIN_LAG), min(best + coarse, MAX_LAG) + fine / 2, fine)
    values = [correlation(lag) for lag in near]
    highest = int(np.argmax(values))
    if values[highest] <= 0:
        return None
    return Lag(float(near[highest]), values[highest])


def _tool_positions(joints: JointSamples, robot: Robot, link: str) -> tuple[Array, Array]:
    """Return times (T,) [s] and positions (T, 3) [m] of a link, at about TOOL_RATE."""
    period = float(np.median(np.diff(joints.time)))
    step = max(int(1 / TOOL_RATE / max(period, 1e-6)), 1)
    positions = [robot.forward_kinematics(q, link)[:3, 3] for q in joints.q[::step]]
    return joints.time[::step], np.array(positions)


def _interpolate(at: Array, time: Array, rows: Array) -> Array:
    """Return rows (T, n) interpolated at times (F,)."""
    return np.column_stack([np.interp(at, time, column) for column in rows.T])
