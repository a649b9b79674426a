"""Pose of a marked block from the sides of its markers.

All pixels are those of an ideal pinhole camera, without lens distortion. The measurements are not
the corners but the sides of the markers, lines in the image that intersect in the corners, because
a short side hardly constrains its corners along the neighbouring sides.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import MARKER_FRACTION, face_normals, marker_corners
from invdyn_ros.perception.levenberg_marquardt import DAMPING_FACTOR, INITIAL_DAMPING
from invdyn_ros.perception.marker_edges import EdgeSamples, edge_samples
from invdyn_ros.perception.rigid_transforms import apply_step, rigid_transform, rotation_angle
from invdyn_ros.robots.rotation import skew

OUTLIER_THRESHOLD = 4.0  # markers with a larger error are rejected [standard deviations]
PRIOR_DEGREES_OF_FREEDOM = 4  # weight of the expected variance relative to the measured one
NUM_STARTS = 3  # initial poses to refine: the two of one marker, and one more
MAX_ITERATIONS = 30
SYMMETRY_BREAK = 1e-3  # shift of a corner [px]
STEP_TOLERANCE = 1e-4  # of the last step, after which the error is far smaller [m, rad]
DUPLICATE_POSE_ANGLE = 0.02  # [rad] minima with a smaller angle between them are the same


class LinearizedErrors(NamedTuple):
    """Errors of a pose and their derivative."""

    residual: np.ndarray
    """(2 m,) errors over their standard deviation [-]."""
    jacobian: np.ndarray
    """(2 m, 6) derivative with respect to translation and rotation about the camera's axes."""

    @property
    def squared_error(self) -> float:
        """Sum of squares of the residual."""
        return float(self.residual @ self.residual)


class PoseFit(NamedTuple):
    """A pose that explains the observed markers of one block."""

    T_camera_block: np.ndarray
    """(4, 4) pose of the block in the camera's optical frame."""
    covariance: np.ndarray
    """(6, 6) covariance of x, y, z [m] and of rotations about the camera's x, y, z [rad]."""
    inliers: np.ndarray
    """(m,) indices of the markers that the pose is fitted to."""
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
    """Estimate the pose of a block; markers that contradict the others are rejected.

    Args:
        faces: (k,) indices of the observed faces.
        quads: (k, 4, 2) corners of their markers [px].
        block_size: side of the block [m].
        camera_matrix: (3, 3) pinhole matrix [px].
        edge_noise_std: standard deviation across a side of a large marker [px].
        max_error: maximum RMS corner error of a marker [px].

    Returns:
        The best pose, followed by the other local minima, because a distant marker looks the same
        when it is tilted to either side. Empty if no pose has an error of at most `max_error`.
    """
    inliers = np.arange(len(faces))
    while True:
        samples = edge_samples(faces[inliers], quads[inliers], block_size, edge_noise_std)
        starts = [
            T
            for i in inliers
            for T in single_marker_poses(faces[i], quads[i], block_size, camera_matrix)
        ]
        minima = _local_minima(starts, samples, camera_matrix)
        minima = [T for T in minima if _faces_camera(T, faces[inliers], block_size)]
        if not minima:
            return []
        corners, observed = marker_corners(block_size)[faces[inliers]], quads[inliers]
        errors = [corner_errors(T, corners, observed, camera_matrix) for T in minima]
        squared = _squared_errors(minima[0], samples, camera_matrix).reshape(len(inliers), -1)
        excess = np.sqrt(squared.mean(axis=1)) / OUTLIER_THRESHOLD
        excess = np.maximum(excess, errors[0] / max_error)
        if len(inliers) == 1 or excess.max() <= 1:
            break
        inliers = np.delete(inliers, np.argmax(excess))
    return [
        PoseFit(
            T, _covariance(T, samples, camera_matrix), inliers, _cost(T, samples, camera_matrix)
        )
        for T, error in zip(minima, errors, strict=True)
        if np.sqrt(np.mean(error**2)) <= max_error
    ]


def _local_minima(
    starts: list[np.ndarray], samples: EdgeSamples, camera_matrix: np.ndarray
) -> list[np.ndarray]:
    """Return poses (4, 4) of locally minimal error, the best first.

    Only the best of the initial poses are refined.
    """
    poses = np.array(starts)
    costs = (_residuals(poses, samples, camera_matrix)[0] ** 2).sum(axis=1)
    poses, costs = _refine(poses[np.argsort(costs)[:NUM_STARTS]], samples, camera_matrix)
    minima: list[np.ndarray] = []
    for T in poses[np.argsort(costs)]:
        if all(rotation_angle(T, other) > DUPLICATE_POSE_ANGLE for other in minima):
            minima.append(T)
    return minima


def _squared_errors(T: np.ndarray, samples: EdgeSamples, camera_matrix: np.ndarray) -> np.ndarray:
    """Return the squared errors (2 m,) of a pose over their variance."""
    return linearize(T, samples, camera_matrix).residual ** 2


def _cost(T: np.ndarray, samples: EdgeSamples, camera_matrix: np.ndarray) -> float:
    return float(_squared_errors(T, samples, camera_matrix).sum())


def linearize(T: np.ndarray, samples: EdgeSamples, camera_matrix: np.ndarray) -> LinearizedErrors:
    """Return the errors of a pose (4, 4) and their derivative.

    Args:
        T: (4, 4) pose of the block in the camera.
        samples: the observed sides.
        camera_matrix: (3, 3) pinhole matrix [px].
    """
    residual, jacobian = _residuals(T[None], samples, camera_matrix)
    return LinearizedErrors(residual[0], jacobian[0])


def _residuals(
    T: np.ndarray, samples: EdgeSamples, camera_matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors (p, 2 m) of poses and their derivatives (p, 2 m, 6).

    Args:
        T: (p, 4, 4) poses of the block in the camera.
        samples: the observed sides.
        camera_matrix: (3, 3) pinhole matrix [px].
    """
    offsets = samples.points @ np.swapaxes(T[:, :3, :3], 1, 2)  # (p, 2 m, 3)
    a, b, c = offsets.transpose(2, 0, 1)
    x, y, z = (offsets + T[:, None, :3, 3]).transpose(2, 0, 1)
    normals = samples.weighted_normals * camera_matrix.diagonal()[:2]  # over the distance
    nx, ny = normals.T
    depth = 1 / z
    across = (nx * x + ny * y) * depth
    offset = ((samples.pixels - camera_matrix[:2, 2]) * samples.weighted_normals).sum(axis=1)
    J = np.empty((*z.shape, 6))
    J[..., 0], J[..., 1], J[..., 2] = nx * depth, ny * depth, -across * depth
    u, v, w = J[..., :3].transpose(2, 0, 1)
    J[..., 3], J[..., 4], J[..., 5] = b * w - c * v, c * u - a * w, a * v - b * u
    return across - offset, J


def corner_errors(
    T: np.ndarray, corners: np.ndarray, quads: np.ndarray, camera_matrix: np.ndarray
) -> np.ndarray:
    """Return the RMS corner error (m,) of each marker [px].

    Args:
        T: (4, 4) pose of the block in the camera.
        corners: (m, 4, 3) corners in the block frame [m].
        quads: (m, 4, 2) observed corners [px].
        camera_matrix: (3, 3) pinhole matrix [px].
    """
    error = project(T, corners.reshape(-1, 3), camera_matrix)[0].reshape(quads.shape) - quads
    return np.asarray(np.sqrt(np.sum(error**2, axis=2).mean(axis=1)))


def single_marker_poses(
    face: int, quad: np.ndarray, block_size: float, camera_matrix: np.ndarray
) -> list[np.ndarray]:
    """Return the two poses (4, 4) of the block that IPPE computes from one marker.

    Args:
        face: index of the marker's face.
        quad: (4, 2) corners of the marker [px].
        block_size: side of the block [m].
        camera_matrix: (3, 3) pinhole matrix [px].
    """
    half = block_size * MARKER_FRACTION / 2
    square = half * np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]], float)
    # OpenCV divides by zero for a square that exactly faces the camera
    for corners in (quad, quad + SYMMETRY_BREAK * np.array([[0, 0], [1, 1], [0, 0], [0, 0]])):
        _, rvecs, tvecs, _ = cv2.solvePnPGeneric(
            square, corners, camera_matrix, np.zeros(5), flags=cv2.SOLVEPNP_IPPE_SQUARE
        )
        if np.isfinite(tvecs).all():
            break
    T_face_block = _face_transform(int(face), block_size)
    return [
        rigid_transform(cv2.Rodrigues(rvec)[0], tvec.ravel()) @ T_face_block
        for rvec, tvec in zip(rvecs, tvecs, strict=True)
    ]


@lru_cache
def _face_transform(face: int, block_size: float) -> np.ndarray:
    """Return the pose (4, 4) of a block in the frame of the middle of a face, x right, y up."""
    side = block_size * MARKER_FRACTION
    top_left, top_right, bottom_right, _ = marker_corners(block_size)[face]
    x, y = (top_right - top_left) / side, (top_right - bottom_right) / side
    R_block_face = np.column_stack([x, y, np.cross(x, y)])
    return np.linalg.inv(rigid_transform(R_block_face, (top_left + bottom_right) / 2))


def _faces_camera(T: np.ndarray, faces: np.ndarray, block_size: float) -> bool:
    """Return whether all observed faces (k,) of a block at T (4, 4) point towards the camera."""
    normals = face_normals()[faces] @ T[:3, :3].T
    centers = normals * block_size / 2 + T[:3, 3]
    return bool(np.all(np.sum(normals * centers, axis=1) < 0))


def _covariance(T: np.ndarray, samples: EdgeSamples, camera_matrix: np.ndarray) -> np.ndarray:
    """Return sigma^2 (J^T J)^-1, (6, 6), with sigma^2 between 1 and the measured variance."""
    residual, J = linearize(T, samples, camera_matrix)
    degrees_of_freedom = len(J) - J.shape[1]
    variance = (PRIOR_DEGREES_OF_FREEDOM + residual @ residual) / (
        PRIOR_DEGREES_OF_FREEDOM + degrees_of_freedom
    )
    covariance = variance * np.linalg.inv(J.T @ J)
    return np.asarray(covariance + covariance.T) / 2


def project(
    T: np.ndarray, points: np.ndarray, camera_matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Project points with a pinhole camera.

    Args:
        T: (4, 4) pose of the block in the camera.
        points: (N, 3) in the block frame [m].
        camera_matrix: (3, 3) pinhole matrix [px].

    Returns:
        Pixels (N, 2), and their derivative (2 N, 6) with respect to a translation [px/m] and a
        rotation [px/rad], along and about the camera's axes through the center of the block.
    """
    k = camera_matrix
    offsets = points @ T[:3, :3].T  # (N, 3)
    x, y, z = (offsets + T[:3, 3]).T
    pixels = np.column_stack([k[0, 0] * x / z + k[0, 2], k[1, 1] * y / z + k[1, 2]])
    D = np.zeros((len(points), 2, 3))
    D[:, 0, 0], D[:, 0, 2] = k[0, 0] / z, -k[0, 0] * x / z**2
    D[:, 1, 1], D[:, 1, 2] = k[1, 1] / z, -k[1, 1] * y / z**2
    return pixels, np.concatenate([D, -D @ skew(offsets)], axis=2).reshape(-1, 6)


def _refine(
    T: np.ndarray, samples: EdgeSamples, camera_matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Minimize the weighted squared errors in the image (Marquardt 1963) from several poses.

    From a flipped initial pose, the block may move away to infinity. Therefore steps to less than
    half or more than twice the initial distance are rejected.

    Args:
        T: (p, 4, 4) initial poses.
        samples: the observed sides.
        camera_matrix: (3, 3) pinhole matrix [px].

    Returns:
        Poses (p, 4, 4) and their squared errors (p,).
    """
    nearest, farthest = 0.5 * T[:, 2, 3], 2.0 * T[:, 2, 3]
    damping, identity = np.full(len(T), INITIAL_DAMPING), np.eye(6)
    residual, J = _residuals(T, samples, camera_matrix)
    costs = (residual**2).sum(axis=1)
    for _ in range(MAX_ITERATIONS):
        J_T = np.swapaxes(J, 1, 2)
        H = J_T @ J
        H += damping[:, None, None] * H * identity
        steps = -np.linalg.solve(H, J_T @ residual[..., None])[..., 0]
        moved = np.array([apply_step(pose, step) for pose, step in zip(T, steps, strict=True)])
        new_residual, new_J = _residuals(moved, samples, camera_matrix)
        new_costs = (new_residual**2).sum(axis=1)
        distance = moved[:, 2, 3]
        better = (new_costs < costs) & (nearest < distance) & (distance < farthest)
        damping = np.where(better, damping / DAMPING_FACTOR, damping * DAMPING_FACTOR)
        T, costs = np.where(better[:, None, None], moved, T), np.where(better, new_costs, costs)
        residual = np.where(better[:, None], new_residual, residual)
        J = np.where(better[:, None, None], new_J, J)
        if np.abs(steps).max() < STEP_TOLERANCE:
            break
    return T, costs
