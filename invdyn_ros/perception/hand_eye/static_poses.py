"""Extraction of static poses: arm pose and mean marker pose while the arm stands still.

Only images of a static arm are used, so that latency and clock of the camera do not matter.
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

OUTLIER_THRESHOLD = 4.0  # of the distance from the medoid, over the median distance
MAX_MEDOID_CANDIDATES = 40  # number of detections among which the medoid is searched
# Errors of arm, printed marker and lens, which the covariance of a detector does not contain.
UNMODELED_VARIANCE = np.repeat([2e-4, 1e-3], 3) ** 2  # [m2, rad2]
DEFAULT_VARIANCE = np.repeat([DEFAULT_POSITION_STD, DEFAULT_ROTATION_STD], 3) ** 2


@dataclass(frozen=True)
class StaticPoseConfig(Validated):
    """Criteria of a static arm."""

    max_joint_velocity: PositiveFloat = 0.05
    """Maximum joint velocity of a static arm [rad/s]."""
    settling_time: PositiveFloat = 0.3
    """Time before and after an image in which the arm must be static [s]."""
    merge_tolerance: PositiveFloat = 0.01
    """Joint difference below which successive static poses are merged [rad]."""


class HandEyeStreams(NamedTuple):
    """Joint states and marker detections, in any order.

    Attributes:
        joint_time: (T,) stamps of joint states [s].
        q: (T, n) joint positions [rad].
        marker_time: (S,) stamps of detections [s].
        T_camera_marker: (S, 4, 4) detected poses.
        covariance: (S, 6, 6) covariances of the detected poses; zero: unknown.
    """

    joint_time: np.ndarray
    q: np.ndarray
    marker_time: np.ndarray
    T_camera_marker: np.ndarray
    covariance: np.ndarray


class StaticPoses(NamedTuple):
    """Poses in which the arm was static.

    Attributes:
        time: (N,) stamp of the first image of each pose [s].
        num_images: total number of images.
        pairs: N poses of arm and marker.
    """

    time: np.ndarray
    num_images: int
    pairs: PosePairs


def find_static_poses(
    streams: HandEyeStreams, robot: Robot, config: StaticPoseConfig
) -> StaticPoses:
    """Return the mean detection of each static pose of the arm, in order of time.

    Args:
        streams: joint states and detections.
        robot: the arm.
        config: criteria of a static arm.
    """
    time, first = np.unique(streams.marker_time, return_index=True)
    markers = streams.T_camera_marker[first]
    covariances = complete_covariances(streams.covariance[first])
    q, static = _joints_at_detections(streams, time, config)
    groups: list[list[int]] = []
    for k in np.flatnonzero(static).tolist():
        near = groups and np.abs(q[k] - q[groups[-1][0]]).max() < config.merge_tolerance
        if near and groups[-1][-1] == k - 1:
            groups[-1].append(k)
        else:
            groups.append([k])
    tools = [robot.forward_kinematics(q[group].mean(axis=0)) for group in groups]
    means = [_robust_mean(markers[group], covariances[group]) for group in groups]
    pairs = PosePairs(
        np.reshape(tools, (-1, 4, 4)),
        np.reshape([T for T, _ in means], (-1, 4, 4)),
        np.reshape([covariance for _, covariance in means], (-1, 6, 6)),
    )
    times = np.array([time[group[0]] for group in groups])
    return StaticPoses(times, sum(map(len, groups)), pairs)


def complete_covariances(covariance: np.ndarray) -> np.ndarray:
    """Return covariances (S, 6, 6) with defaults in place of missing and invalid ones."""
    complete = (covariance + covariance.transpose(0, 2, 1)) / 2 + np.diag(UNMODELED_VARIANCE)
    finite = np.isfinite(complete).all(axis=(1, 2)) & covariance.any(axis=(1, 2))
    complete[~finite] = np.diag(DEFAULT_VARIANCE)
    complete[np.linalg.eigvalsh(complete)[:, 0] <= 0] = np.diag(DEFAULT_VARIANCE)
    return complete


def _joints_at_detections(
    streams: HandEyeStreams, marker_time: np.ndarray, config: StaticPoseConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return joint positions at detections, and whether the arm is static.

    Args:
        streams: joint states and detections.
        marker_time: (S,) stamps of detections [s].
        config: criteria of a static arm.

    Returns:
        Joint positions (S, n) [rad], and mask (S,) of the detections with a static arm.
    """
    order = np.argsort(streams.joint_time, kind="stable")
    time, q = streams.joint_time[order], streams.q[order]
    if not len(time):
        return np.empty((len(marker_time), streams.q.shape[1])), np.zeros(len(marker_time), bool)
    offsets = config.settling_time * np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    at = marker_time[:, None] + offsets  # (S, 5)
    path = np.stack([np.interp(at, time, column) for column in q.T], axis=-1)  # (S, 5, n)
    # detections far from any joint state, such as in a pause of the recording, are not usable
    after = np.clip(np.searchsorted(time, at), 1, max(len(time) - 1, 1))
    gap = time[np.minimum(after, len(time) - 1)] - time[after - 1]
    known = (at >= time[0]) & (at <= time[-1]) & (gap <= config.settling_time)
    movement = np.ptp(path, axis=1).max(axis=1)  # (S,)
    max_movement = 2 * config.settling_time * config.max_joint_velocity
    return path[:, 2], known.all(axis=1) & (movement < max_movement)


def _robust_mean(markers: np.ndarray, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (4, 4) and covariance (6, 6) of detections (S, 4, 4) without outliers.

    Averaging does not reduce the covariance, because the errors from the same view are equal.
    """
    std = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2).mean(axis=0))  # (6,)
    index = np.linspace(0, len(markers) - 1, MAX_MEDOID_CANDIDATES)
    candidates = markers[np.unique(index.astype(int))]
    distances = [
        np.linalg.norm(pose_difference(candidates, T[None]) / std, axis=1) for T in candidates
    ]
    medoid = candidates[np.argmin(np.median(distances, axis=1))]
    difference = pose_difference(markers, medoid[None])
    distance = np.linalg.norm(difference / std, axis=1)
    inliers = distance <= max(OUTLIER_THRESHOLD * float(np.median(distance)), 1e-9)
    mean = difference[inliers].mean(axis=0)
    T = medoid.copy()
    T[:3, :3] = transform_from_rotvec(mean[3:], np.zeros(3))[:3, :3] @ medoid[:3, :3]
    T[:3, 3] += mean[:3]
    return T, covariances[inliers].mean(axis=0)
