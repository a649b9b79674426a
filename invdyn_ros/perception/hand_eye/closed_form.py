"""Closed-form solution of M Y = X B, the initial value of the least-squares solution.

Two poses i, j give M_ij Y = Y B_ij with M_ij = M_i^-1 M_j, the AX = XB of hand-eye calibration.
The rotation of Y maps the rotation vectors of B_ij to those of M_ij (Park and Martin 1994, eq. 16:
it is the orthogonal matrix nearest to the sum of their products). The remaining equations are
linear in the positions of X and Y. Iterative reweighting makes the solution robust to outliers.
"""

from __future__ import annotations

import numpy as np

from invdyn_ros.perception.rigid_transforms import invert_transform, rotation_vectors

MAX_ROTATION_ANGLE = np.radians(170)  # [rad] above it, a rotation vector's sign is ambiguous
NUM_REWEIGHTINGS = 20
MIN_SCALE = 1e-9  # minimum scale of the residuals in the Cauchy weights


def solve_closed_form(M: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return X and Y (4, 4) that approximately solve M Y = X B for N poses (N, 4, 4)."""
    X, Y = np.eye(4), np.eye(4)
    Y[:3, :3] = _marker_rotation(M, B)
    estimates = M[:, :3, :3] @ Y[:3, :3] @ B[:, :3, :3].transpose(0, 2, 1)  # (N, 3, 3) of X
    X[:3, :3] = _robust_mean_rotation(estimates)
    n = len(M)
    # rotation of M times position of Y, minus position of X, equals `constant`
    system = np.concatenate([M[:, :3, :3], np.broadcast_to(-np.eye(3), (n, 3, 3))], axis=2)
    constant = (X[:3, :3] @ B[:, :3, 3, None])[..., 0] - M[:, :3, 3]
    weight = np.ones(n)
    for _ in range(NUM_REWEIGHTINGS):
        root = np.sqrt(weight)[:, None]
        rows, target = (root[..., None] * system).reshape(-1, 6), (root * constant).ravel()
        positions = np.linalg.lstsq(rows, target, rcond=None)[0]
        weight = _cauchy_weights(np.linalg.norm(system @ positions - constant, axis=1))
    Y[:3, 3], X[:3, 3] = positions[:3], positions[3:]
    return X, Y


def _marker_rotation(M: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) of Y from the relative rotations of all pairs of poses."""
    i, j = np.triu_indices(len(M), 1)
    a, b = (rotation_vectors((invert_transform(T)[i] @ T[j])[:, :3, :3]) for T in (M, B))
    angles = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    valid = (angles[0] < MAX_ROTATION_ANGLE) & (angles[1] < MAX_ROTATION_ANGLE)
    a, b = a[valid], b[valid]
    weight = _cauchy_weights((angles[0] - angles[1])[valid])  # both angles are equal without noise
    for _ in range(NUM_REWEIGHTINGS):
        u, _, v = np.linalg.svd((weight[:, None] * a).T @ b)
        R = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        weight = _cauchy_weights(np.linalg.norm(a - b @ R.T, axis=1))
    return R


def _robust_mean_rotation(R: np.ndarray) -> np.ndarray:
    """Return the robust mean (3, 3) of rotations (N, 3, 3)."""
    weight = np.ones(len(R))
    for _ in range(NUM_REWEIGHTINGS):
        u, _, v = np.linalg.svd(np.tensordot(weight, R, 1))
        mean = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        weight = _cauchy_weights(np.linalg.norm(rotation_vectors(R @ mean.T), axis=1))
    return mean


def _cauchy_weights(residual: np.ndarray) -> np.ndarray:
    """Return weights (N,) of a Cauchy loss, scaled by the median of residuals (N,)."""
    size = np.abs(residual)
    return 1 / (1 + (size / max(2 * float(np.median(size)), MIN_SCALE)) ** 2)
