"""Pose of a marked block: corners of its markers enter; the poses that explain them leave.

Works on ideal pixels of a pinhole camera, lens distortion already taken out. What is measured of
a marker are its sides, lines in the image that cross in its corners: a short side says little of
where its corners lie along its neighbours. Two points of a line through evenly spread points tell
all that is known of it, and if they are `SIDE_POINTS` their errors across it are independent.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import MARKER_FRACTION, face_normals, marker_corners

SAMPLE_FRACTIONS = 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3)  # shares of a side
SHORT_SIDE = 36.0  # a side of this length errs by half more than a long one [px]
THIN_MARKER = 25.0  # a side of a marker this thin, than one of a large marker [px]
OUTLIER_THRESHOLD = 4.0  # a marker that errs this many times its expected error is left out
PRIOR_DEGREES_OF_FREEDOM = 4  # the expected error weighs as much as this many measured ones
NUM_STARTS = 3  # poses to refine: the two of a marker and one more
MAX_ITERATIONS = 30  # of Levenberg-Marquardt, at most
STEP_TOLERANCE = 1e-6  # a smaller step ends it [m, rad]
SAME_POSE_ANGLE = 0.02  # poses turned less from each other are one [rad]


class EdgeSamples(NamedTuple):
    """Two points on each of the m sides that were seen."""

    points: np.ndarray
    """(2 m, 3) on the block [m]."""
    pixels: np.ndarray
    """(2 m, 2) where they were seen; along the side that is not known."""
    weighted_normals: np.ndarray
    """(2 m, 2) unit vector across the side over the expected error [1/px]."""


class PoseFit(NamedTuple):
    """A pose that explains the markers of one block."""

    T_camera_block: np.ndarray
    """(4, 4)."""
    covariance: np.ndarray
    """(6, 6) of x, y, z [m] and of rotations about the camera's x, y, z [rad]."""
    inliers: np.ndarray
    """(m,) indices of the markers it rests on."""
    cost: float
    """-2 log likelihood: sum of squared errors over their variance."""


def fit_block_poses(
    faces: np.ndarray,
    quads: np.ndarray,
    block_size: float,
    camera_matrix: np.ndarray,
    edge_noise_std: float,
    max_error: float,
) -> list[PoseFit]:
    """Find the poses of a block; markers that contradict the others are left out.

    Args:
        faces: (k,) faces that were seen.
        quads: (k, 4, 2) corners of their markers [px].
        block_size: side of the block [m].
        k: (3, 3) pinhole matrix [px].
        side_noise: expected error of a point of a side of a large marker, across it [px].
        max_error: a marker that errs more is left out [px].

    Returns:
        The pose that explains them best, then those that explain them too, as a marker seen from
        afar looks the same tilted to either side. Empty if none does within max_error.
    """
    used = np.arange(len(faces))
    while True:
        sides = edge_samples(faces[used], quads[used], block_size, edge_noise_std)
        starts = [
            T
            for i in used
            for T in single_marker_poses(faces[i], quads[i], block_size, camera_matrix)
        ]
        modes = [
            T
            for T in _local_minima(starts, sides, camera_matrix)
            if _faces_camera(T, faces[used], block_size)
        ]
        if not modes:
            return []
        excess = (
            np.sqrt(
                _squared_errors(modes[0], sides, camera_matrix).reshape(len(used), -1).mean(axis=1)
            )
            / OUTLIER_THRESHOLD
        )
        corners = marker_corners(block_size)[faces[used]]
        errors = np.array([corner_errors(T, corners, quads[used], camera_matrix) for T in modes])
        excess = np.maximum(excess, errors[0] / max_error)
        if len(used) == 1 or excess.max() <= 1:
            break
        used = np.delete(used, np.argmax(excess))
    return [
        PoseFit(
            T,
            _covariance(T, sides, camera_matrix),
            used,
            float(_squared_errors(T, sides, camera_matrix).sum()),
        )
        for T, e in zip(modes, errors, strict=True)
        if np.sqrt(np.mean(e**2)) <= max_error
    ]


def edge_samples(
    faces: np.ndarray, quads: np.ndarray, block_size: float, edge_noise_std: float
) -> EdgeSamples:
    """Sides of the markers of some faces (k,), seen with corners (k, 4, 2) [px]."""
    weights = np.column_stack(
        [1 - SAMPLE_FRACTIONS, SAMPLE_FRACTIONS]
    )  # (2, 2) of both ends of a side

    def along(corners: np.ndarray) -> np.ndarray:
        ends = np.stack([corners, np.roll(corners, -1, axis=1)], axis=2)  # (k, 4, 2 ends, d)
        return np.asarray(weights @ ends).reshape(-1, corners.shape[-1])

    side = np.roll(quads, -1, axis=1) - quads
    length = np.linalg.norm(side, axis=2)  # (k, 4)
    normal = np.stack([side[..., 1], -side[..., 0]], axis=-1) / length[..., None]
    across = normal / edge_std(quads, edge_noise_std)[..., None]
    points = marker_corners(block_size)[faces]
    return EdgeSamples(along(points), along(quads), np.repeat(across.reshape(-1, 2), 2, axis=0))


def edge_std(quads: np.ndarray, edge_noise_std: float) -> np.ndarray:
    """Expected error (k, 4) of points of the sides of markers (k, 4, 2), standard deviation [px].

    A short side is averaged over few pixels; beside a side of a thin marker the quiet margin is
    soon too narrow to find it in.
    """
    length, depth = _lengths_and_depths(quads)
    return np.asarray(
        edge_noise_std * np.sqrt(1.0 + (SHORT_SIDE / length) ** 2 + (THIN_MARKER / depth) ** 4)
    )


def marker_thickness(quads: np.ndarray) -> np.ndarray:
    """Area over longest side (k,) of markers (k, 4, 2) [px]."""
    return np.asarray(_lengths_and_depths(quads)[1].min(axis=1))


def _lengths_and_depths(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Length of each side (k, 4), and depth of the marker behind it, area over length [px]."""
    length = np.linalg.norm(np.roll(quads, -1, axis=1) - quads, axis=2)
    diagonals = quads[:, 2:] - quads[:, :2]  # (k, 2, 2)
    return length, np.abs(np.linalg.det(diagonals))[:, None] / 2 / length


def _local_minima(starts: list[np.ndarray], sides: EdgeSamples, k: np.ndarray) -> list[np.ndarray]:
    """Poses (4, 4) that explain the sides better than those near them, the best first.

    Of the starts, those that explain them best already are refined.
    """

    def cost(T: np.ndarray) -> float:
        return float(_squared_errors(T, sides, k).sum())

    best = sorted(starts, key=cost)[:NUM_STARTS]
    modes: list[np.ndarray] = []
    for T in sorted((_refine(start, sides, k) for start in best), key=cost):
        if all(rotation_angle(T, mode) > SAME_POSE_ANGLE for mode in modes):
            modes.append(T)
    return modes


def _squared_errors(T: np.ndarray, sides: EdgeSamples, k: np.ndarray) -> np.ndarray:
    """Squared errors (2 m,) over their variance."""
    return linearise(T, sides, k)[0] ** 2


def linearise(T: np.ndarray, sides: EdgeSamples, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Errors (2 m,) of a pose over their standard deviation, and their derivative (2 m, 6).

    The derivative is by a shift and a turn about the camera's axes, as in `project`.
    """
    pixels, J = project(T, sides.points, k)
    errors = np.sum(sides.weighted_normals * (pixels - sides.pixels), axis=1)
    return errors, (sides.weighted_normals[:, None] @ J.reshape(-1, 2, 6))[:, 0]


def corner_errors(
    T: np.ndarray, corners: np.ndarray, quads: np.ndarray, k: np.ndarray
) -> np.ndarray:
    """RMS error (m,) of the corners (m, 4, 3) [m] of markers seen at (m, 4, 2) [px]."""
    away = project(T, corners.reshape(-1, 3), k)[0].reshape(quads.shape) - quads
    return np.asarray(np.sqrt(np.sum(away**2, axis=2).mean(axis=1)))


def single_marker_poses(
    face: int, quad: np.ndarray, block_size: float, k: np.ndarray
) -> list[np.ndarray]:
    """Both IPPE poses (4, 4) of the block from one marker's corners (4, 2) [px]."""
    half = block_size * MARKER_FRACTION / 2
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


def _covariance(T: np.ndarray, sides: EdgeSamples, k: np.ndarray) -> np.ndarray:
    """sigma^2 (J^T J)^-1, (6, 6); sigma^2 lies between 1, what is expected, and what is seen."""
    errors, J = linearise(T, sides, k)
    freedom = len(J) - J.shape[1]
    variance = (PRIOR_DEGREES_OF_FREEDOM + errors @ errors) / (PRIOR_DEGREES_OF_FREEDOM + freedom)
    covariance = variance * np.linalg.inv(J.T @ J)
    return np.asarray(covariance + covariance.T) / 2


def transform(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Homogeneous matrix (4, 4) of a rotation (3, 3) and a shift (3,)."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


def apply_step(T: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Pose (4, 4) after a shift and a turn about the camera's axes (6,) [m, rad]."""
    return transform(cv2.Rodrigues(step[3:])[0] @ T[:3, :3], T[:3, 3] + step[:3])


def rotation_angle(T: np.ndarray, T_other: np.ndarray) -> float:
    """Angle between two poses (4, 4) [rad]."""
    return float(np.linalg.norm(cv2.Rodrigues(T[:3, :3] @ T_other[:3, :3].T)[0]))


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


def _refine(T: np.ndarray, sides: EdgeSamples, k: np.ndarray) -> np.ndarray:
    """Levenberg-Marquardt from T (4, 4) to the least weighted squared error in the image.

    From a flipped start the error may fall all the way to infinity, so a step that moves the block
    out of half to twice its first distance is refused.
    """
    nearest, farthest = 0.5 * T[2, 3], 2.0 * T[2, 3]
    damping = 1e-3
    errors, J = linearise(T, sides, k)
    for _ in range(MAX_ITERATIONS):
        H = J.T @ J
        step = -np.linalg.solve(H + damping * np.diag(np.diag(H)), J.T @ errors)
        there = apply_step(T, step)
        new, J_new = linearise(there, sides, k)
        if nearest < there[2, 3] < farthest and new @ new < errors @ errors:
            T, errors, J, damping = there, new, J_new, damping / 10
        else:
            damping *= 10
        if np.abs(step).max() < STEP_TOLERANCE:
            break
    return T
