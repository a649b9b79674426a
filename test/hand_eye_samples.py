"""Detections of a marker by a camera with a known pose."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.perception.hand_eye.hand_eye_calibration import residual_norms
from invdyn_ros.perception.hand_eye.pose_pairs import Mounting, PosePairs
from invdyn_ros.perception.rigid_transforms import (
    invert_transform,
    pose_difference,
    transform_from_rotvec,
)

# poses of the camera in the base or tool frame, and of the marker in the tool or base frame
X = transform_from_rotvec(np.array([1.2, -1.0, 0.8]), np.array([0.9, -0.3, 0.6]))
Y = transform_from_rotvec(np.array([0.3, 0.2, -0.9]), np.array([0.01, -0.02, 0.05]))
NOISE = 1e-3, np.radians(0.5)  # standard deviation per axis [m], [rad]


def random_pairs(
    seed: int,
    n: int = 20,
    mounting: Mounting = "eye_to_hand",
    noise: tuple[float, float] = (0.0, 0.0),
    axes: tuple[int, ...] = (0, 1, 2),
) -> PosePairs:
    """Return pairs with markers in a 40 cm cube at 70 cm, rotated up to 60 deg about some axes."""
    rng = np.random.default_rng(seed)
    rotation = np.zeros((n, 3))
    rotation[:, axes] = np.radians(60) * rng.uniform(-1, 1, (n, len(axes)))
    # the tool rotates in its own frame about those axes only
    tool = transform_from_rotvec(
        np.tile([0.4, 0.1, 0.2], (n, 1)), np.zeros((n, 3))
    ) @ transform_from_rotvec(rotation, np.zeros((n, 3)))
    position = rng.uniform(-0.2, 0.2, (n, 3)) + np.array([0.0, 0.0, 0.7])
    tool[:, :3, 3] = 0.0
    marker = invert_transform(X) @ tool @ Y
    arm = tool.copy()
    arm[:, :3, 3] = (position - marker[:, :3, 3]) @ X[:3, :3].T
    if mounting == "eye_in_hand":
        arm = invert_transform(arm)
    pairs = PosePairs.from_poses(
        arm, invert_transform(X) @ PosePairs.from_poses(arm, arm).motion(mounting) @ Y
    )
    return with_noise(pairs, noise, rng)


def with_noise(
    pairs: PosePairs, noise: tuple[float, float], rng: np.random.Generator
) -> PosePairs:
    """Return pairs with noise on the detections."""
    error = rng.standard_normal((len(pairs), 6)) * np.repeat(noise, 3)
    marker = pairs.T_camera_marker.copy()
    marker[:, :3, 3] += error[:, :3]
    marker[:, :3, :3] = (
        Rotation.from_rotvec(error[:, 3:]).as_matrix() @ pairs.T_camera_marker[:, :3, :3]
    )
    return PosePairs(pairs.T_base_tool, marker, pairs.covariance)


def camera_errors(T: np.ndarray, T_true: np.ndarray = X) -> np.ndarray:
    """Return the distance [mm] and angle [deg] of a camera pose from the true one."""
    return residual_norms(pose_difference(T[None], T_true[None]))[0] * [1e3, np.degrees(1)]
