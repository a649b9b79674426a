"""Pose of a marked block: corners of its markers enter; the pose that explains them leaves.

Works on ideal pixels of a pinhole camera, lens distortion already taken out.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.markers import MARKER_SHARE, face_normals, marker_corners

THIN = 25.0  # a marker this thin is found half as well as a square one [px]
OUTLIER = 4.0  # a marker that errs this many times its expected error is left out
PRIOR_CORNERS = 4  # the expected error weighs as much as this many measured corners
STARTS = 3  # poses to refine: the two of a marker and one more
ITERATIONS = 30  # of Levenberg-Marquardt, at most
STEP_END = 1e-6  # a smaller step ends it [m, rad]


class BlockFit(NamedTuple):
    """The pose that explains the markers of one block best."""

    T_camera_block: np.ndarray
    """(4, 4)."""
    covariance: np.ndarray
    """(6, 6) of x, y, z [m] and of rotations about the camera's x, y, z [rad]."""
    used: np.ndarray
    """(m,) indices of the markers it rests on."""
    errors: np.ndarray
    """(m,) RMS error of the corners of each of them [px]."""


def fit_block(
    faces: np.ndarray,
    quads: np.ndarray,
    block_size: float,
    k: np.ndarray,
    corner_noise: float,
    max_error: float,
) -> BlockFit | None:
    """Find the pose of a block; markers that contradict the others are left out.

    Args:
        faces: (k,) faces that were seen.
        quads: (k, 4, 2) corners of their markers [px].
        block_size: side of the block [m].
        k: (3, 3) pinhole matrix [px].
        corner_noise: expected error of a corner of a large square marker [px].
        max_error: a marker that errs more is left out [px].

    Returns:
        None if no pose explains the markers within max_error.
    """
    noise = expected_errors(quads, corner_noise)
    limit = np.minimum(OUTLIER * noise, max_error)
    used = np.arange(len(faces))
    while True:
        T, errors = _fit(faces[used], quads[used], noise[used], block_size, k)
        if T is None:
            return None
        if len(used) == 1 or np.all(errors <= limit[used]):
            break
        used = np.delete(used, np.argmax(errors / limit[used]))
    if np.sqrt(np.mean(errors**2)) > max_error:
        return None
    points = marker_corners(block_size)[faces[used]].reshape(-1, 3)
    return BlockFit(T, _covariance(T, points, errors, noise[used], k), used, errors)


def expected_errors(quads: np.ndarray, corner_noise: float) -> np.ndarray:
    """Expected error (k,) of the corners of markers (k, 4, 2), standard deviation [px].

    A marker seen from the side is thin: its short sides fix lines badly and its quiet margin is
    soon too narrow to find them in.
    """
    return np.asarray(corner_noise * (1.0 + (THIN / thickness(quads)) ** 2))


def thickness(quads: np.ndarray) -> np.ndarray:
    """Area over longest side (k,) of markers (k, 4, 2) [px]."""
    side = np.linalg.norm(quads - np.roll(quads, 1, axis=1), axis=2).max(axis=1)
    diagonals = quads[:, 2:] - quads[:, :2]  # (k, 2, 2)
    return np.asarray(np.abs(np.linalg.det(diagonals)) / 2 / side)


def _fit(
    faces: np.ndarray, quads: np.ndarray, noise: np.ndarray, block_size: float, k: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray]:
    """Best pose (4, 4) for all of these markers, None if none shows them all.

    Of both IPPE poses of every marker, those that explain all markers best are refined. Also
    returns the RMS error of each marker (k,) [px].
    """
    points = marker_corners(block_size)[faces].reshape(-1, 3)
    pixels = quads.reshape(-1, 2)
    weights = np.repeat(1 / noise, 4)[:, None]

    def squares(T: np.ndarray) -> np.ndarray:
        return np.sum((weights * (project(T, points, k)[0] - pixels)) ** 2, axis=1)

    starts = [T for pair in zip(faces, quads, strict=True) for T in _starts(*pair, block_size, k)]
    starts.sort(key=lambda T: float(squares(T).sum()))
    best, least = None, np.full(len(points), np.inf)
    for start in starts[:STARTS]:
        T = _refine(start, points, pixels, weights, k)
        error = squares(T)
        if error.sum() < least.sum() and _faces_camera(T, faces, block_size):
            best, least = T, error
    return best, noise * np.sqrt(least.reshape(-1, 4).mean(axis=1))


def _starts(face: int, quad: np.ndarray, block_size: float, k: np.ndarray) -> list[np.ndarray]:
    """Both IPPE poses (4, 4) of the block from one marker's corners (4, 2) [px]."""
    half = block_size * MARKER_SHARE / 2
    square = half * np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]], float)
    _, rotations, translations, _ = cv2.solvePnPGeneric(
        square, quad, k, np.zeros(5), flags=cv2.SOLVEPNP_IPPE_SQUARE
    )
    top_left, top_right, bottom_right, _ = marker_corners(block_size)[face]
    x, y = (top_right - top_left) / (2 * half), (top_right - bottom_right) / (2 * half)
    R_block_face = np.column_stack([x, y, np.cross(x, y)])
    T_face_block = np.linalg.inv(transform(R_block_face, (top_left + bottom_right) / 2))
    return [
        transform(cv2.Rodrigues(r)[0], t.ravel()) @ T_face_block
        for r, t in zip(rotations, translations, strict=True)
    ]


def _faces_camera(T: np.ndarray, faces: np.ndarray, block_size: float) -> bool:
    """Whether every seen face can be seen from the camera, which looks at it from outside."""
    normals = face_normals()[faces] @ T[:3, :3].T
    centres = normals * block_size / 2 + T[:3, 3]
    return bool(np.all(np.sum(normals * centres, axis=1) < 0))


def _covariance(
    T: np.ndarray, points: np.ndarray, errors: np.ndarray, noise: np.ndarray, k: np.ndarray
) -> np.ndarray:
    """sigma^2 (J^T J)^-1 over corners divided by their expected error, (6, 6).

    sigma^2 lies between 1, what the expected errors claim, and what the errors say.
    """
    J = project(T, points, k)[1] / np.repeat(noise, 8)[:, None]
    prior, freedom = 2 * PRIOR_CORNERS, len(J) - 6
    variance = (prior + 4 * np.sum((errors / noise) ** 2)) / (prior + freedom)
    covariance = variance * np.linalg.inv(J.T @ J)
    return np.asarray(covariance + covariance.T) / 2


def transform(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Homogeneous matrix (4, 4) of a rotation (3, 3) and a shift (3,)."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


def skew(v: np.ndarray) -> np.ndarray:
    """Cross product with vectors (..., 3) as matrices (..., 3, 3): S @ w = v x w."""
    x, y, z = np.moveaxis(v, -1, 0)
    zero = np.zeros_like(x)
    entries = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
    return entries.reshape(*v.shape, 3)


def project(T: np.ndarray, points: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pinhole image of points.

    Args:
        T: (4, 4) pose of the block in the camera.
        points: (N, 3) in the block frame [m].
        k: (3, 3) pinhole matrix [px].

    Returns:
        Pixels (N, 2), and their derivative (2 N, 6) with respect to a shift along [px/m] and a
        turn about the camera's axes [px/rad], through the block's centre.
    """
    arm = points @ T[:3, :3].T  # (N, 3)
    x, y, z = (arm + T[:3, 3]).T
    pixels = np.column_stack([k[0, 0] * x / z + k[0, 2], k[1, 1] * y / z + k[1, 2]])
    D = np.zeros((len(points), 2, 3))
    D[:, 0, 0], D[:, 0, 2] = k[0, 0] / z, -k[0, 0] * x / z**2
    D[:, 1, 1], D[:, 1, 2] = k[1, 1] / z, -k[1, 1] * y / z**2
    return pixels, np.concatenate([D, -D @ skew(arm)], axis=2).reshape(-1, 6)


def _refine(
    T: np.ndarray, points: np.ndarray, pixels: np.ndarray, weights: np.ndarray, k: np.ndarray
) -> np.ndarray:
    """Levenberg-Marquardt from T (4, 4) to the least weighted squared error in the image.

    From a flipped start the error may fall all the way to infinity, so a step that moves the block
    out of half to twice its first distance is refused.
    """
    nearest, farthest = 0.5 * T[2, 3], 2.0 * T[2, 3]
    damping = 1e-3
    seen, J = project(T, points, k)
    scale = np.repeat(weights, 2)
    J, residual = J * scale[:, None], ((pixels - seen) * weights).ravel()
    for _ in range(ITERATIONS):
        H = J.T @ J
        step = np.linalg.solve(H + damping * np.diag(np.diag(H)), J.T @ residual)
        turned = transform(cv2.Rodrigues(step[3:])[0] @ T[:3, :3], T[:3, 3] + step[:3])
        seen, J_new = project(turned, points, k)
        new = ((pixels - seen) * weights).ravel()
        if nearest < turned[2, 3] < farthest and new @ new < residual @ residual:
            T, J, residual, damping = turned, J_new * scale[:, None], new, damping / 10
        else:
            damping *= 10
        if np.abs(step).max() < STEP_END:
            break
    return T
