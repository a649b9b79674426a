"""A whole calibration: rests of the arm enter; the camera's pose, checked and judged, leaves."""

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

MIN_INLIER_FRACTION = 0.6  # share of the poses that must agree with each other
MAX_RMS_RESIDUAL = (0.03, np.radians(10))  # a residual that is no noise, RMS [m], [rad]
DECIMALS = 8  # in the file
MOUNTING_DESCRIPTIONS: dict[Mounting, str] = {
    "eye_to_hand": "beside the arm and the marker fixed to the tool",
    "eye_in_hand": "on the hand and the marker fixed to the ground",
}


class HandEyeCalibration(NamedTuple):
    """A camera's pose and what speaks for it.

    Attributes:
        fit: the solution.
        residual: (N, 6) of every pose [m, rad], those that were left out too.
        held_out: (n, 6) of the n used ones, each from a fit without it [m, rad].
        excitation: how the used poses turn the tool.
    """

    solution: HandEyeSolution
    residual: np.ndarray
    held_out: np.ndarray
    pose_diversity: PoseDiversity


def calibrate(pairs: PosePairs, mounting: Mounting) -> HandEyeCalibration:
    """Find where the camera stands.

    Raises:
        ValueError: too few poses, they turn about one axis only, or they contradict each other.
    """
    PoseDiversity.from_poses(pairs.T_base_tool).check()
    found = solve_hand_eye(pairs, mounting)
    wanted = predict_markers(found.X, pairs.motion(mounting), found.Y)
    residual = pose_difference(pairs.T_camera_marker, wanted)
    distance, angle = rms_residual(residual[found.inliers])
    if (
        found.inliers.mean() < MIN_INLIER_FRACTION
        or distance > MAX_RMS_RESIDUAL[0]
        or angle > MAX_RMS_RESIDUAL[1]
    ):
        raise ValueError(
            f"{found.inliers.sum()} of {len(pairs)} poses agree, to {1e3 * distance:.0f} mm and "
            f"{np.degrees(angle):.0f} deg; is the camera {MOUNTING_DESCRIPTIONS[mounting]}, and the arm's name "
            "right?"
        )
    used = pairs[found.inliers]
    excitation = PoseDiversity.from_poses(used.T_base_tool)
    excitation.check()
    return HandEyeCalibration(found, residual, held_out_residuals(used, mounting), excitation)


def residual_norms(residual: np.ndarray) -> np.ndarray:
    """Return distance [m] and angle [rad], (N, 2), of residuals (N, 6)."""
    return np.linalg.norm(residual.reshape(-1, 2, 3), axis=2)


def rms_residual(residual: np.ndarray) -> tuple[float, float]:
    """Return the RMS distance [m] and angle [rad] of residuals (N, 6)."""
    distance, angle = np.sqrt((residual_norms(residual) ** 2).mean(axis=0))
    return float(distance), float(angle)


def to_camera_pose(calibration: HandEyeCalibration, arm: str, mounting: Mounting) -> CameraPose:
    """Return what the calibration file says."""
    X, Y = calibration.solution.X, calibration.solution.Y
    places = [tuple(T[:3, 3].round(DECIMALS).tolist()) for T in (X, Y)]
    turns = [Rotation.from_matrix(T[:3, :3]).as_quat().round(DECIMALS).tolist() for T in (X, Y)]
    error = np.sqrt(np.diag(calibration.solution.covariance)).round(DECIMALS)
    distance, angle = rms_residual(calibration.held_out)
    return CameraPose(
        arm,
        mounting,
        places[0],
        tuple(turns[0]),
        tuple(error.tolist()),
        places[1],
        tuple(turns[1]),
        int(calibration.solution.inliers.sum()),
        (round(distance, DECIMALS), round(angle, DECIMALS)),
    )
