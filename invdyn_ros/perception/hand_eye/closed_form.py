"""A first guess of the camera's pose in closed form: pairs enter, X and Y of M Y = X B leave.

Two poses i, j give M_ij Y = Y B_ij with M_ij = M_i^-1 M_j, the AX = XB of hand-eye calibration.
Their rotation vectors are turned into each other by that of Y (Park and Martin 1994, eq. 16: the
orthogonal matrix nearest to the sum of their products); what is left is linear in both positions.
Poses that contradict the rest get little weight, so that a wrong one does not spoil the guess.
"""

from __future__ import annotations

import numpy as np

from invdyn_ros.perception.rigid_transforms import invert_transform, rotation_vectors

MAX_ANGLE = np.radians(170)  # beyond, the sign of a rotation vector is not sure
NUM_REWEIGHTINGS = 20  # of new weights
MIN_SCALE = 1e-9  # of a residual that weights are made from


def solve_closed_form(M: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return X and Y (4, 4) that nearly solve M Y = X B for all N poses (N, 4, 4)."""
    X, Y = np.eye(4), np.eye(4)
    Y[:3, :3] = _marker_rotation(M, B)
    each = M[:, :3, :3] @ Y[:3, :3] @ B[:, :3, :3].transpose(0, 2, 1)  # (N, 3, 3) guesses of X
    X[:3, :3] = _robust_mean_rotation(each)
    n = len(M)
    # M's rotation times the position of Y, less the position of X, is what is known
    system = np.concatenate([M[:, :3, :3], np.broadcast_to(-np.eye(3), (n, 3, 3))], axis=2)
    known = (X[:3, :3] @ B[:, :3, 3, None])[..., 0] - M[:, :3, 3]
    weight = np.ones(n)
    for _ in range(NUM_REWEIGHTINGS):
        root = np.sqrt(weight)[:, None]
        rows, right = (root[..., None] * system).reshape(-1, 6), (root * known).ravel()
        both = np.linalg.lstsq(rows, right, rcond=None)[0]
        weight = _cauchy_weights(np.linalg.norm(system @ both - known, axis=1))
    Y[:3, 3], X[:3, 3] = both[:3], both[3:]
    return X, Y


def _marker_rotation(M: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) of Y from the turns between all pairs of poses."""
    i, j = np.triu_indices(len(M), 1)
    a, b = (rotation_vectors((invert_transform(T)[i] @ T[j])[:, :3, :3]) for T in (M, B))
    sizes = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    known = (sizes[0] < MAX_ANGLE) & (sizes[1] < MAX_ANGLE)
    a, b = a[known], b[known]
    weight = _cauchy_weights((sizes[0] - sizes[1])[known])  # a rigid pair turns by the same angle
    for _ in range(NUM_REWEIGHTINGS):
        u, _, v = np.linalg.svd((weight[:, None] * a).T @ b)
        R = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        weight = _cauchy_weights(np.linalg.norm(a - b @ R.T, axis=1))
    return R


def _robust_mean_rotation(R: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) in the middle of most of N, (N, 3, 3)."""
    weight = np.ones(len(R))
    for _ in range(NUM_REWEIGHTINGS):
        u, _, v = np.linalg.svd(np.tensordot(weight, R, 1))
        middle = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        weight = _cauchy_weights(np.linalg.norm(rotation_vectors(R @ middle.T), axis=1))
    return middle


def _cauchy_weights(residual: np.ndarray) -> np.ndarray:
    """Return weights (N,) of a Cauchy loss at the scale of most residuals (N,)."""
    size = np.abs(residual)
    return 1 / (1 + (size / max(2 * float(np.median(size)), MIN_SCALE)) ** 2)
