"""Errors of estimated block poses, their statistics, and the pose that OpenCV estimates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import binomtest, chi2

from invdyn_ros.benchmarks.report import Row
from invdyn_ros.perception.aruco_cube import (
    MARKER_FRACTION,
    detect_markers_opencv,
    face_normals,
    marker_corners,
)
from invdyn_ros.perception.block_detector import BlockPose
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.rigid_transforms import rigid_transform, rotation_angle
from invdyn_ros.robots.block_markers import FACES

DISTANCE = 0.3  # to which position errors are scaled [m]
MIN_FLIP_ANGLE = np.radians(5.0)  # poses with a smaller error are not flipped
INVDYN, TRACKED = "invdyn", "invdyn, tracked"
OPENCV, OPENCV_SUBPIXEL = "OpenCV", "OpenCV subpixel"  # solvePnP of the largest marker
Estimate = tuple[np.ndarray, np.ndarray | None]  # pose (4, 4) and covariance (6, 6)
Estimator = Callable[[np.ndarray], Estimate | None]


class BlockPoseEvaluation(NamedTuple):
    """Error of one estimator in one image; NaN without a detection."""

    side: float
    """Side of a marker in the image [px]."""
    xy: float
    """Lateral position error, scaled to DISTANCE [m]."""
    z: float
    """Depth error, scaled to DISTANCE [m]."""
    angle: float
    """Rotation error [rad]."""
    flipped: float
    """1 if a face is tilted to the wrong side, else 0."""
    ellipsoid: float
    """Probability of a smaller error according to the covariance."""
    position_ellipsoid: float
    """The same of the position alone."""
    seconds: float
    """Duration [s]."""


def statistics(table: np.ndarray) -> Row:
    """Return the statistics of the results (n, 8) of one estimator, empty without detections."""
    detected = table[~np.isnan(table[:, 1])]
    if not len(table):
        return {}
    if not len(detected):
        return {
            "n": len(table),
            "detected": 0.0,
            "ms": round(1e3 * float(np.median(table[:, 7])), 4),
        }
    _, xy, z, angle, flipped, ellipsoid, position, _ = detected.T
    row = {"n": len(table), "detected": 100 * len(detected) / len(table)}
    for name, values in (("xy", 1e3 * xy), ("z", 1e3 * z), ("deg", np.degrees(angle))):
        row |= {f"{name} p{q}": np.percentile(values, q) for q in (50, 95)}
    interval = binomtest(int(flipped.sum()), len(detected)).proportion_ci(method="wilson")
    row |= {"flips": 100 * flipped.mean()}
    row |= {"flips low": 100 * interval.low, "flips high": 100 * interval.high}
    if not np.isnan(ellipsoid).any():
        row |= {f"in {q}%": 100 * np.mean(ellipsoid < q / 100) for q in (50, 95)}
        row["xyz in 95%"] = 100 * np.mean(position < 0.95)
    row["ms"] = 1e3 * np.median(table[:, 7])
    return {key: round(float(value), 4) for key, value in row.items()}


def evaluate(
    estimate: Estimate | None, T_true: np.ndarray, side: float, seconds: float
) -> BlockPoseEvaluation:
    """Return the error of an estimate; see `BlockPoseEvaluation`.

    Args:
        estimate: pose and covariance, or None without a detection.
        T_true: (4, 4) true pose.
        side: of a marker in the image [px].
        seconds: duration of the estimation [s].
    """
    if estimate is None:
        nan = np.nan
        return BlockPoseEvaluation(side, nan, nan, nan, nan, nan, nan, seconds)
    T, covariance = estimate
    rotation = Rotation.from_matrix(T[:3, :3] @ T_true[:3, :3].T).as_rotvec()
    error = np.concatenate([T[:3, 3] - T_true[:3, 3], rotation])
    scaled = error[:3] * DISTANCE / T_true[2, 3]
    probability = position = np.nan
    if covariance is not None:
        probability = chi2.cdf(error @ np.linalg.solve(covariance, error), df=6)
        squared = error[:3] @ np.linalg.solve(covariance[:3, :3], error[:3])
        position = chi2.cdf(squared, df=3)
    return BlockPoseEvaluation(
        side,
        float(np.linalg.norm(scaled[:2])),
        float(abs(scaled[2])),
        float(np.linalg.norm(rotation)),
        float(is_flipped(T, T_true)),
        float(probability),
        float(position),
        seconds,
    )


def is_flipped(T: np.ndarray, T_true: np.ndarray) -> bool:
    """Return whether a pose (4, 4) is nearer to one with a face tilted to the wrong side.

    A distant face looks the same when it is tilted to the other side of the line of sight, so the
    pose of a single marker is ambiguous.
    """
    error = rotation_angle(T, T_true)
    if error < MIN_FLIP_ANGLE:
        return False
    view_direction = -T_true[:3, 3] / np.linalg.norm(T_true[:3, 3])
    normals = face_normals() @ T_true[:3, :3].T
    for normal in normals[normals @ view_direction > 0]:
        axis = np.cross(normal, view_direction)  # as long as the sine of the tilt
        sine = np.linalg.norm(axis)
        if sine < 1e-9:
            continue
        tilt = np.arctan2(sine, normal @ view_direction)
        mirrored = Rotation.from_rotvec(2 * tilt * axis / sine).as_matrix() @ T_true[:3, :3]
        if rotation_angle(T, rigid_transform(mirrored, T_true[:3, 3])) < error:
            return True
    return False


def first_pose(poses: Sequence[BlockPose]) -> Estimate | None:
    """Return the pose and covariance of the first block, or None without one."""
    return (poses[0].T_camera_block, poses[0].covariance) if poses else None


def estimate_opencv(
    image: np.ndarray, block_size: float, intrinsics: CameraIntrinsics, subpixel: bool
) -> Estimate | None:
    """Return the pose of block 0 from its largest marker with `solvePnP`.

    Args:
        image: (H, W, 3) uint8 RGB.
        block_size: side of the block [m].
        intrinsics: of the camera.
        subpixel: whether to refine the corners with cornerSubPix.
    """
    markers = detect_markers_opencv(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), subpixel)
    indices = np.flatnonzero(markers.ids < FACES)
    if not len(indices):
        return None
    areas = [cv2.contourArea(markers.corners[i].astype(np.float32)) for i in indices]
    largest = indices[int(np.argmax(areas))]
    half = block_size * MARKER_FRACTION / 2
    square = half * np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]], float)
    normalized = np.array(intrinsics.undistort(markers.corners[largest])[:, :2])
    success, rvec, tvec = cv2.solvePnP(
        square, normalized, np.eye(3), np.zeros(5), flags=cv2.SOLVEPNP_IPPE_SQUARE
    )
    if not success:
        return None
    corners = marker_corners(block_size)[markers.ids[largest]]
    x, y = (corners[1] - corners[0]) / (2 * half), (corners[1] - corners[2]) / (2 * half)
    T_block_face = rigid_transform(np.column_stack([x, y, np.cross(x, y)]), corners.mean(axis=0))
    T_camera_face = rigid_transform(cv2.Rodrigues(rvec)[0], tvec.ravel())
    return T_camera_face @ np.linalg.inv(T_block_face), None
