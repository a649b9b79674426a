"""Where the arm stood still and what the camera saw there: streams enter, pairs of poses leave.

Only pictures of an arm at rest count: there, the camera's latency and clock do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import PositiveFloat

from invdyn_ros.config import Validated
from invdyn_ros.perception.hand_eye.pose_pairs import (
    DEFAULT_POSITION_STD,
    DEFAULT_ROTATION_STD,
    PosePairs,
)
from invdyn_ros.perception.rigid_transforms import pose_difference, transform_from_rotvec
from invdyn_ros.robots.robot import Robot

OUTLIER_THRESHOLD = 4.0  # a sighting this many times as far off as most of its rest is left out
MAX_MEDOID_CANDIDATES = 40  # sightings of a rest from which its middle one is chosen
# What a detector's covariance does not know: the arm's repeatability, printing, the lens.
UNMODELED_VARIANCE = np.repeat([2e-4, 1e-3], 3) ** 2  # variance [m2, rad2]
DEFAULT_VARIANCE = np.repeat([DEFAULT_POSITION_STD, DEFAULT_ROTATION_STD], 3) ** 2


@dataclass(frozen=True)
class StaticPoseConfig(Validated):
    """When an arm is at rest."""

    max_joint_velocity: PositiveFloat = 0.05
    """A faster joint moves [rad/s]."""
    settling_time: PositiveFloat = 0.3
    """The arm is at rest that long before and after a picture that counts [s]."""
    merge_tolerance: PositiveFloat = 0.01
    """Rests in a row in which no joint differs by more are one [rad]."""


class HandEyeStreams(NamedTuple):
    """What was heard, in any order.

    Attributes:
        time: (T,) stamps of joint states [s].
        q: (T, n) joint positions [rad].
        seen: (S,) stamps of sightings [s].
        marker: (S, 4, 4) T_camera_marker.
        covariance: (S, 6, 6) of it; zero where unknown.
    """

    joint_time: np.ndarray
    q: np.ndarray
    marker_time: np.ndarray
    T_camera_marker: np.ndarray
    covariance: np.ndarray


class StaticPoses(NamedTuple):
    """The poses in which the arm rested.

    Attributes:
        time: (N,) stamp of the first picture of each [s].
        pictures: number of pictures that they rest on.
        pairs: poses of arm and marker.
    """

    time: np.ndarray
    num_images: int
    pairs: PosePairs


def find_static_poses(
    streams: HandEyeStreams, robot: Robot, config: StaticPoseConfig
) -> StaticPoses:
    """Return the mean sighting of each rest of the arm, in order of time."""
    seen, first = np.unique(streams.marker_time, return_index=True)
    marker, covariance = (
        streams.T_camera_marker[first],
        complete_covariances(streams.covariance[first]),
    )
    q, still = _joints_at_detections(streams, seen, config)
    groups: list[list[int]] = []
    for k in np.flatnonzero(still):
        joined = groups and np.abs(q[k] - q[groups[-1][0]]).max() < config.merge_tolerance
        if joined and groups[-1][-1] == k - 1:
            groups[-1].append(k)
        else:
            groups.append([k])
    arm = [robot.forward_kinematics(q[group].mean(axis=0)) for group in groups]
    means = [_robust_mean(marker[group], covariance[group]) for group in groups]
    pairs = PosePairs(
        np.reshape(arm, (-1, 4, 4)),
        np.reshape([T for T, _ in means], (-1, 4, 4)),
        np.reshape([c for _, c in means], (-1, 6, 6)),
    )
    times = np.array([seen[group[0]] for group in groups])
    return StaticPoses(times, sum(map(len, groups)), pairs)


def complete_covariances(covariance: np.ndarray) -> np.ndarray:
    """Return covariances (S, 6, 6) with usual ones where the source gives none, or nonsense."""
    made = (covariance + covariance.transpose(0, 2, 1)) / 2 + np.diag(UNMODELED_VARIANCE)
    finite = np.isfinite(made).all(axis=(1, 2)) & covariance.any(axis=(1, 2))
    made[~finite] = np.diag(DEFAULT_VARIANCE)
    made[np.linalg.eigvalsh(made)[:, 0] <= 0] = np.diag(DEFAULT_VARIANCE)
    return made


def _joints_at_detections(
    streams: HandEyeStreams, seen: np.ndarray, config: StaticPoseConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return joints (S, n) [rad] at the stamps of sightings and whether the arm rests (S,)."""
    order = np.argsort(streams.joint_time, kind="stable")
    time, q = streams.joint_time[order], streams.q[order]
    if not len(time):
        return np.empty((len(seen), streams.q.shape[1])), np.zeros(len(seen), bool)
    at = seen[:, None] + config.settling_time * np.array([-1.0, -0.5, 0.0, 0.5, 1.0])  # (S, 5)
    path = np.stack([np.interp(at, time, column) for column in q.T], axis=-1)  # (S, 5, n)
    # a stamp that no joint state is near to, such as in a pause of the recording, tells nothing
    after = np.clip(np.searchsorted(time, at), 1, max(len(time) - 1, 1))
    gap = time[np.minimum(after, len(time) - 1)] - time[after - 1]
    whole = (at >= time[0]) & (at <= time[-1]) & (gap <= config.settling_time)
    moved = np.ptp(path, axis=1).max(axis=1)  # (S,)
    return path[:, 2], whole.all(axis=1) & (
        moved < 2 * config.settling_time * config.max_joint_velocity
    )


def _robust_mean(marker: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (4, 4) and covariance (6, 6) of the sightings of a rest, without strays.

    Averaging does not make the covariance smaller: what one view gets wrong, it does each time.
    """
    size = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2).mean(axis=0))  # (6,)
    some = np.unique(np.linspace(0, len(marker) - 1, MAX_MEDOID_CANDIDATES).astype(int))
    far = [
        np.linalg.norm(pose_difference(marker[some], T[None]) / size, axis=1) for T in marker[some]
    ]
    middle = marker[some[np.argmin(np.median(far, axis=1))]]
    off = pose_difference(marker, middle[None])
    distance = np.linalg.norm(off / size, axis=1)
    kept = distance <= max(OUTLIER_THRESHOLD * float(np.median(distance)), 1e-9)
    mean = off[kept].mean(axis=0)
    T = middle.copy()
    T[:3, :3] = transform_from_rotvec(mean[3:], np.zeros(3))[:3, :3] @ middle[:3, :3]
    T[:3, 3] += mean[:3]
    return T, covariance[kept].mean(axis=0)
