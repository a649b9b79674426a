"""Least-squares solution of M Y = X B and its covariance.

The detections B are noisy; the poses of the arm are assumed to be exact. X and Y minimize the sum
of |log(B (X^-1 M Y)^-1)|^2, each term weighted by its inverse covariance. The noise levels of
positions and rotations are estimated too (variance components, Förstner 1979), because their ratio
matters: positions that are far apart determine the rotation of the camera better than rotations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2, f

from invdyn_ros.perception.hand_eye.closed_form import solve_closed_form
from invdyn_ros.perception.hand_eye.pose_pairs import Mounting, PosePairs
from invdyn_ros.perception.rigid_transforms import (
    invert_transform,
    pose_difference,
    transform_from_rotvec,
)
from invdyn_ros.robots.rotation import skew

MAX_ITERATIONS = 50  # maximum number of Gauss-Newton steps
STEP_TOLERANCE = 1e-10  # [m, rad]
MAX_REWEIGHTINGS = 20  # maximum number of updates of weights and noise scale
SCALE_TOLERANCE = 1e-3  # relative change of the noise scale at which reweighting stops
FALSE_REJECTION_PROBABILITY = 1e-4  # probability that a correct pose is rejected
MEDIAN_EFFICIENCY = 0.37  # efficiency of the median as an estimate of the variance
CHI2_MEDIAN = float(chi2.ppf(0.5, 3))  # median of the squared error of three axes
MIN_SOLVER_POSES = 3  # minimum number of poses for a solution
NUM_FOLDS = 4  # folds of the cross-validation
MIN_SCALE = 1e-9  # minimum noise scale, for simulated poses without noise


class HandEyeSolution(NamedTuple):
    """The least-squares solution of M Y = X B.

    Attributes:
        X: (4, 4) pose of the camera.
        Y: (4, 4) pose of the marker in the frame that it is fixed to.
        covariance: (6, 6) covariance of X: x, y, z [m] and rotations [rad] about axes through the
            camera that are parallel to those of its parent frame.
        noise_scale: (2,) estimated over given standard deviation of positions and rotations.
        inliers: (N,) whether each pose agrees with the solution.
    """

    X: np.ndarray
    Y: np.ndarray
    covariance: np.ndarray
    noise_scale: np.ndarray
    inliers: np.ndarray


class HandEyeEquations(NamedTuple):
    """Equations M Y = X B of N poses, with the covariance of each B.

    Attributes:
        M: (N, 4, 4) motion, see `PosePairs.motion`.
        B: (N, 4, 4) detected poses of the marker.
        cholesky: (N, 6, 6) Cholesky factors of the covariances of B.
    """

    M: np.ndarray
    B: np.ndarray
    cholesky: np.ndarray

    def select(self, inliers: np.ndarray) -> HandEyeEquations:
        """Return the equations of the poses that a mask (N,) selects."""
        return HandEyeEquations(*(part[inliers] for part in self))

    def residuals(self, X: np.ndarray, Y: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return residuals (N, 6) of X and Y in standard deviations of the scaled noise.

        Args:
            X: (4, 4) pose of the camera.
            Y: (4, 4) pose of the marker.
            scale: (2,) noise scale of positions and rotations.
        """
        return _whiten(
            self.cholesky, scale, pose_difference(self.B, predict_markers(X, self.M, Y))
        )

    def jacobian(self, X: np.ndarray, Y: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return the derivative (N, 6, 12) of the residuals with respect to X and Y.

        Translations and rotations are along and about the axes of the frame X or Y itself.

        Args:
            X: (4, 4) pose of the camera.
            Y: (4, 4) pose of the marker.
            scale: (2,) noise scale of positions and rotations.
        """
        return _whiten(self.cholesky, scale, _jacobian(predict_markers(X, self.M, Y)))

    def refine(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        scale: np.ndarray,
        weight: np.ndarray,
        max_iterations: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Refine X and Y by Gauss-Newton.

        Args:
            X: (4, 4) initial pose of the camera.
            Y: (4, 4) initial pose of the marker.
            scale: (2,) noise scale of positions and rotations.
            weight: (N,) weights of the poses.
            max_iterations: maximum number of steps.
        """
        root = np.sqrt(weight)[:, None]
        for _ in range(max_iterations):
            residuals = root * self.residuals(X, Y, scale)
            rows = root[..., None] * self.jacobian(X, Y, scale)
            step = -np.linalg.lstsq(rows.reshape(-1, 12), residuals.ravel(), rcond=None)[0]
            X = X @ transform_from_rotvec(step[3:6], step[:3])
            Y = Y @ transform_from_rotvec(step[9:], step[6:9])
            if np.abs(step).max() < STEP_TOLERANCE:
                break
        return X, Y


def solve_hand_eye(pairs: PosePairs, mounting: Mounting) -> HandEyeSolution:
    """Estimate the pose of the camera; poses that contradict the others are rejected.

    Args:
        pairs: N poses of the arm and of the marker.
        mounting: where the camera is mounted.

    Raises:
        ValueError: less than three poses, or no three that agree.
    """
    if len(pairs) < MIN_SOLVER_POSES:
        raise ValueError(f"{len(pairs)} poses are too few; a solution needs {MIN_SOLVER_POSES}")
    equations = HandEyeEquations(
        pairs.motion(mounting), pairs.T_camera_marker, np.linalg.cholesky(pairs.covariance)
    )
    X, Y, scale = _robust_estimate(equations, *solve_closed_form(equations.M, equations.B))
    rows, tried = 6 * len(pairs), list[bytes]()
    # F distribution: the noise that the squared error is measured in is itself an estimate
    limit = 6 * f.ppf(1 - FALSE_REJECTION_PROBABILITY, 6, MEDIAN_EFFICIENCY * (rows - 12))
    while True:
        agrees = _squares(equations.residuals(X, Y, scale)) < limit
        if agrees.tobytes() in tried or agrees.sum() < MIN_SOLVER_POSES:  # converged, or cycling
            break
        tried.append(agrees.tobytes())
        inliers = agrees
        X, Y, scale, covariance = _least_squares(equations.select(inliers), X, Y, scale)
    if not tried:
        raise ValueError(f"no {MIN_SOLVER_POSES} of {len(pairs)} poses agree with each other")
    return HandEyeSolution(X, Y, covariance, scale, inliers)


def predict_markers(X: np.ndarray, M: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return the predicted poses (N, 4, 4) of the marker in the camera frame.

    Args:
        X: (4, 4) pose of the camera.
        M: (N, 4, 4) motion, see `PosePairs.motion`.
        Y: (4, 4) pose of the marker.
    """
    return invert_transform(X) @ M @ Y


def fisher_information(
    X: np.ndarray, M: np.ndarray, Y: np.ndarray, cholesky: np.ndarray
) -> np.ndarray:
    """Return the Fisher information (12, 12) on X and Y [1/m2, 1/rad2].

    Translations and rotations are along and about the axes of the frame X or Y itself.

    Args:
        X: (4, 4) pose of the camera.
        M: (N, 4, 4) motion.
        Y: (4, 4) pose of the marker.
        cholesky: (N, 6, 6) Cholesky factors of the covariances of the detections.
    """
    rows = _whiten(cholesky, np.ones(2), _jacobian(predict_markers(X, M, Y))).reshape(-1, 12)
    return rows.T @ rows


def held_out_residuals(pairs: PosePairs, mounting: Mounting) -> np.ndarray:
    """Return cross-validated residuals (N, 6) [m, rad].

    Each pose is compared to the solution of the folds that do not contain it.

    Args:
        pairs: N poses of the arm and of the marker.
        mounting: where the camera is mounted.
    """
    residuals = np.empty((len(pairs), 6))
    M, fold = pairs.motion(mounting), np.arange(len(pairs)) % NUM_FOLDS
    for k in range(NUM_FOLDS):
        test = fold == k
        solution = solve_hand_eye(pairs[~test], mounting)
        predicted = predict_markers(solution.X, M[test], solution.Y)
        residuals[test] = pose_difference(pairs.T_camera_marker[test], predicted)
    return residuals


def _robust_estimate(
    equations: HandEyeEquations, X: np.ndarray, Y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return X, Y and the noise scale with a Cauchy loss, which is robust to outliers."""
    scale = np.ones(2)
    shrink = 1 - 12 / (6 * len(equations.M))  # of squared residuals with 12 fitted parameters
    for _ in range(MAX_REWEIGHTINGS):
        previous = scale
        white = equations.residuals(X, Y, np.ones(2))
        parts = _squares(white[:, :3]), _squares(white[:, 3:])
        scale = np.maximum(
            [np.sqrt(np.median(p) / CHI2_MEDIAN / shrink) for p in parts], MIN_SCALE
        )
        weight = 1 / (1 + _squares(equations.residuals(X, Y, scale)) / 6)
        X, Y = equations.refine(X, Y, scale, weight, max_iterations=3)
        if np.abs(scale / previous - 1).max() < SCALE_TOLERANCE:
            break
    return X, Y, scale


def _least_squares(
    equations: HandEyeEquations, X: np.ndarray, Y: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return X, Y, the noise scale and the covariance of X, with equal weights of the poses."""
    for _ in range(MAX_REWEIGHTINGS):
        X, Y = equations.refine(X, Y, scale, np.ones(len(equations.M)), MAX_ITERATIONS)
        white = equations.residuals(X, Y, scale)
        rows = equations.jacobian(X, Y, scale).reshape(-1, 12)
        redundancy = 1 - np.square(np.linalg.qr(rows)[0]).sum(axis=1).reshape(-1, 6)
        freedom = np.maximum([redundancy[:, :3].sum(), redundancy[:, 3:].sum()], 1.0)
        ratio = np.sqrt([(white[:, :3] ** 2).sum(), (white[:, 3:] ** 2).sum()] / freedom)
        scale = np.maximum(scale * ratio, MIN_SCALE)
        if np.abs(ratio - 1).max() < SCALE_TOLERANCE:
            break
    rotation = np.kron(np.eye(2), X[:3, :3])
    covariance = rotation @ np.linalg.pinv(rows.T @ rows)[:6, :6] @ rotation.T
    return X, Y, scale, covariance


def _jacobian(predicted: np.ndarray) -> np.ndarray:
    """Return the derivative (N, 6, 12) of residuals with respect to X and Y.

    Args:
        predicted: (N, 4, 4) predicted poses of the marker.
    """
    R, t = predicted[:, :3, :3], predicted[:, :3, 3]
    J = np.zeros((len(predicted), 6, 12))
    J[:, :3, :3] = J[:, 3:, 3:6] = np.eye(3)
    J[:, :3, 3:6] = -skew(t)
    J[:, :3, 6:9] = J[:, 3:, 9:] = -R
    return J


def _whiten(cholesky: np.ndarray, scale: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return values (N, 6, ...) in standard deviations of the noise.

    Args:
        cholesky: (N, 6, 6) Cholesky factors of the covariances.
        scale: (2,) noise scale of positions and rotations.
        values: (N, 6, ...) values to whiten.
    """
    scaled = cholesky * np.repeat(scale, 3)[:, None]
    if values.ndim == 2:
        return np.linalg.solve(scaled, values[..., None])[..., 0]
    return np.linalg.solve(scaled, values)


def _squares(white: np.ndarray) -> np.ndarray:
    return np.square(white).sum(axis=1)
