"""Hand-eye calibration from static poses, with outlier rejection and error estimates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.perception.hand_eye.camera_pose import CameraPose
from invdyn_ros.perception.hand_eye.least_squares import (
    HandEyeSolution,
    held_out_residuals,
    predict_markers,
    solve_hand_eye,
)
from invdyn_ros.perception.hand_eye.pose_diversity import PoseDiversity
from invdyn_ros.perception.hand_eye.pose_pairs import Mounting, PosePairs
from invdyn_ros.perception.rigid_transforms import pose_difference

MIN_INLIER_FRACTION = 0.6  # minimum fraction of poses that agree with the solution
MAX_RMS_RESIDUAL = (0.03, np.radians(10))  # larger than any measurement noise [m], [rad]
DECIMALS = 8  # of numbers in the calibration file
MOUNTING_DESCRIPTIONS: dict[Mounting, str] = {
    "eye_to_hand": "beside the arm and the marker fixed to the tool",
    "eye_in_hand": "on the hand and the marker fixed to the ground",
}


class HandEyeCalibration(NamedTuple):
    """Pose of a camera and measures of its accuracy.

    Attributes:
        solution: the least-squares solution.
        residual: (N, 6) residuals of all poses, including outliers [m, rad].
        held_out: (n, 6) cross-validated residuals of the n inliers [m, rad].
        pose_diversity: rotations of the tool between the inliers.
    """

    solution: HandEyeSolution
    residual: np.ndarray
    held_out: np.ndarray
    pose_diversity: PoseDiversity


def calibrate(pairs: PosePairs, mounting: Mounting) -> HandEyeCalibration:
    """Estimate the pose of the camera.

    Args:
        pairs: poses of the arm and of the marker.
        mounting: whether the camera is mounted beside the arm or on its hand.

    Raises:
        ValueError: too few poses, rotations about one axis only, or poses that contradict each
            other.
    """
    PoseDiversity.from_poses(pairs.T_base_tool).check()
    solution = solve_hand_eye(pairs, mounting)
    predicted = predict_markers(solution.X, pairs.motion(mounting), solution.Y)
    residual = pose_difference(pairs.T_camera_marker, predicted)
    distance, angle = rms_residual(residual[solution.inliers])
    too_large = distance > MAX_RMS_RESIDUAL[0] or angle > MAX_RMS_RESIDUAL[1]
    if solution.inliers.mean() < MIN_INLIER_FRACTION or too_large:
        raise ValueError(
            f"{solution.inliers.sum()} of {len(pairs)} poses agree, to "
            f"{1e3 * distance:.0f} mm and {np.degrees(angle):.0f} deg; check that the camera is "
            f"{MOUNTING_DESCRIPTIONS[mounting]}, and that the name of the arm is correct"
        )
    inliers = pairs[solution.inliers]
    diversity = PoseDiversity.from_poses(inliers.T_base_tool)
    diversity.check()
    held_out = held_out_residuals(inliers, mounting)
    return HandEyeCalibration(solution, residual, held_out, diversity)


def residual_norms(residual: np.ndarray) -> np.ndarray:
    """Return distances [m] and angles [rad], (N, 2), of residuals (N, 6)."""
    return np.linalg.norm(residual.reshape(-1, 2, 3), axis=2)


def rms_residual(residual: np.ndarray) -> tuple[float, float]:
    """Return the RMS distance [m] and angle [rad] of residuals (N, 6)."""
    distance, angle = np.sqrt((residual_norms(residual) ** 2).mean(axis=0))
    return float(distance), float(angle)


def to_camera_pose(calibration: HandEyeCalibration, arm: str, mounting: Mounting) -> CameraPose:
    """Return the content of the calibration file.

    Args:
        calibration: result of `calibrate`.
        arm: name of the arm.
        mounting: where the camera is mounted.
    """
    solution = calibration.solution
    positions, quaternions = [], []
    for T in (solution.X, solution.Y):
        positions.append(tuple(T[:3, 3].round(DECIMALS).tolist()))
        quaternion = Rotation.from_matrix(T[:3, :3]).as_quat().round(DECIMALS)
        quaternions.append(tuple(quaternion.tolist()))
    standard_error = np.sqrt(np.diag(solution.covariance)).round(DECIMALS)
    distance, angle = rms_residual(calibration.held_out)
    return CameraPose(
        arm,
        mounting,
        positions[0],
        quaternions[0],
        tuple(standard_error.tolist()),
        positions[1],
        quaternions[1],
        int(solution.inliers.sum()),
        (round(distance, DECIMALS), round(angle, DECIMALS)),
    )
