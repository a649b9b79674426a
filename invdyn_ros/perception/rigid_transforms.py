"""Rigid transforms as homogeneous matrices (4, 4): construction, inverse, differences."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial.transform import Rotation


def rigid_transform(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the transform (4, 4) of a rotation matrix (3, 3) and a translation (3,)."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


def transform_from_rotvec(rotation_vector: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return transforms (..., 4, 4) of rotation vectors [rad] and positions [m], (..., 3) each."""
    position = np.asarray(position, float)
    T = np.zeros((*position.shape[:-1], 4, 4))
    R = Rotation.from_rotvec(np.reshape(rotation_vector, (-1, 3))).as_matrix()
    T[..., :3, :3], T[..., :3, 3] = R.reshape(*position.shape[:-1], 3, 3), position
    T[..., 3, 3] = 1
    return T


def invert_transform(T: np.ndarray) -> np.ndarray:
    """Return the inverse of transforms (..., 4, 4)."""
    inverse = np.zeros_like(T)
    R = np.swapaxes(T[..., :3, :3], -1, -2)
    inverse[..., :3, :3], inverse[..., 3, 3] = R, 1
    inverse[..., :3, 3] = -(R @ T[..., :3, 3, None])[..., 0]
    return inverse


def rotation_vectors(R: np.ndarray) -> np.ndarray:
    """Return the rotation vectors (..., 3) [rad] of rotation matrices (..., 3, 3)."""
    return Rotation.from_matrix(R.reshape(-1, 3, 3)).as_rotvec().reshape(R.shape[:-1])


def pose_difference(T: np.ndarray, T_reference: np.ndarray) -> np.ndarray:
    """Return the differences (N, 6) of poses (N, 4, 4) from reference poses.

    The first three columns are the translation [m], the last three the rotation vector [rad], both
    in the axes of the frame in which the poses are given.
    """
    rotation = rotation_vectors(T[:, :3, :3] @ T_reference[:, :3, :3].transpose(0, 2, 1))
    return np.hstack([T[:, :3, 3] - T_reference[:, :3, 3], rotation])


def apply_step(T: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return a pose (4, 4) after a translation and a rotation about the camera's axes.

    Args:
        T: (4, 4) pose in the camera's frame.
        step: (6,) translation [m] and rotation vector [rad].
    """
    return rigid_transform(cv2.Rodrigues(step[3:])[0] @ T[:3, :3], T[:3, 3] + step[:3])


def rotation_angle(T: np.ndarray, T_other: np.ndarray) -> float:
    """Return the angle between the orientations of two poses (4, 4) [rad]."""
    return float(np.linalg.norm(cv2.Rodrigues(T[:3, :3] @ T_other[:3, :3].T)[0]))
