"""Reader of recordings for hand-eye calibration: joint states and poses of a marker."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.perception.hand_eye.static_poses import HandEyeStreams
from invdyn_ros.perception.rigid_transforms import transform_from_rotvec
from invdyn_ros.sources.bag_files import find_bags, messages
from invdyn_ros.sources.bag_joints import joint_rows, source_stamp, source_times
from invdyn_ros.sources.bag_messages import joint_messages

POSE_MESSAGE = "geometry_msgs/msg/PoseWithCovarianceStamped"
MAX_VALUE = 1e12  # of a plausible number in SI units
MAX_REORDERING = 0.1  # [s] time may go back by this much, when the network reorders messages


def read_hand_eye_bag(
    path: Path, joints: tuple[str, ...], states: str, marker: str
) -> HandEyeStreams:
    """Read joint states and marker poses from a rosbag2 recording.

    Args:
        path: a bag folder, or a bare .db3 or .mcap file.
        joints: names of the arm's joints.
        states: topic of the joint states.
        marker: topic of the marker's poses in the camera's frame.

    Raises:
        ValueError: no recording, missing topics or joints, or stamps that jump back.
    """
    bags = find_bags(path)
    if len(bags) > 1:
        raise ValueError(f"{path} holds {len(bags)} recordings; calibrate from one of them")
    try:
        rows = joint_rows(joint_messages(bags[0], [states]), joints, Counter())
        detections = [
            (source_stamp(message), logged, message.pose)
            for logged, message in messages(bags[0], marker, POSE_MESSAGE)
        ]
        if not detections:
            raise ValueError(f"{marker} has no message: the marker was never detected")
        time = np.array([row.time for row in rows])
        stamps = source_times([(stamp, logged) for stamp, logged, _ in detections])
        for name, values in ((states, time), (marker, stamps)):
            _check_time(name, values)
        covariance = np.array([np.reshape(p.covariance, (6, 6)) for _, _, p in detections], float)
        poses = np.array([_pose(p.pose, marker) for _, _, p in detections])
        q = np.array([row.position for row in rows])
        for name, values in ((states, q), (marker, poses), (marker, covariance)):
            if not (np.abs(values) <= MAX_VALUE).all():  # also for NaN
                raise ValueError(f"{name} has a value that is not finite; record it again")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return HandEyeStreams(time, q, stamps, poses, covariance)


def _pose(message: object, topic: str) -> np.ndarray:
    """Return the pose (4, 4) of a pose message."""
    p, o = message.position, message.orientation  # type: ignore[attr-defined]
    quaternion = np.array([o.x, o.y, o.z, o.w])
    if not np.isfinite(quaternion).all() or not np.linalg.norm(quaternion) > 0:
        raise ValueError(f"{topic} has a pose without an orientation")
    return transform_from_rotvec(
        Rotation.from_quat(quaternion).as_rotvec(), np.array([p.x, p.y, p.z])
    )


def _check_time(topic: str, time: np.ndarray) -> None:
    jumps = np.flatnonzero(time < np.maximum.accumulate(time) - MAX_REORDERING)
    if len(jumps):
        k = int(jumps[0])
        raise ValueError(
            f"{topic} starts again: message {k} is stamped {time[k]:.3f} s, after "
            f"{time[:k].max():.3f} s; cut the recording there"
        )
