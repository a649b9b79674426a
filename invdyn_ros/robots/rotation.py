"""Rotations by MuJoCo, for modules that need little: SciPy takes 30 MB and 0.2 s to import."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from invdyn_ros.typing import Array


def quaternion_to_matrix(quaternion: Array) -> Array:
    """Return the matrix (3, 3) of a unit quaternion (4,) w, x, y, z."""
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quaternion, float))
    return matrix.reshape(3, 3)


def rpy_to_matrix(rpy: Sequence[float]) -> Array:
    """Return the matrix (3, 3) of rotations about the fixed axes x, y, z [rad], as in a URDF."""
    quaternion = np.empty(4)
    mujoco.mju_euler2Quat(quaternion, np.asarray(rpy, float), "XYZ")
    return quaternion_to_matrix(quaternion)


def matrix_to_quaternion(R: Array) -> Array:
    """Return the quaternion (4,) w, x, y, z of a matrix (3, 3)."""
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(R, float).ravel())
    return quaternion


def z_to_axis(axis: Array) -> Array:
    """Return the matrix (3, 3) of the shortest rotation of the z axis to a unit vector (3,)."""
    quaternion = np.empty(4)
    mujoco.mju_quatZ2Vec(quaternion, np.asarray(axis, float))
    return quaternion_to_matrix(quaternion)


def skew(v: Array) -> Array:
    """Return the skew-symmetric matrices S (..., 3, 3) of vectors v (..., 3): S @ w = v x w."""
    x, y, z = np.moveaxis(v, -1, 0)
    zero = np.zeros_like(x)
    entries = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
    return entries.reshape(*v.shape, 3)
