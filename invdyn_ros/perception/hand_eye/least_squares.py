"""The camera's pose that explains all sightings best, and how sure it is: pairs enter.

The sightings B are what errs; the arm is taken as exact. Over X and Y of M Y = X B the sum of
|log(B (X^-1 M Y)^-1)|^2 is least, each term weighed by its covariance. How much positions and
rotations err is estimated along with it (variance components; Förstner 1979), so that neither has
to be known: positions seen far apart tell the camera's rotation better than rotations do.
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
    skew,
    transform_from_rotvec,
)

MAX_ITERATIONS = 50  # of Gauss-Newton, at most
STEP_TOLERANCE = 1e-10  # a smaller step ends it [m, rad]
MAX_REWEIGHTINGS = 20  # of new weights, at most
SCALE_TOLERANCE = 1e-3  # a smaller relative change of the noise ends them
FALSE_REJECTION_PROBABILITY = 1e-4  # chance that a good pose is left out
MEDIAN_EFFICIENCY = 0.37  # of a median as a measure of noise, to the mean of squares
CHI2_MEDIAN = float(chi2.ppf(0.5, 3))  # median of the squared error of three axes
MIN_POSES = 3  # poses of a solution
NUM_FOLDS = 4  # of the held-out residual
MIN_SCALE = 1e-9  # noise-free poses have no noise to estimate


class HandEyeSolution(NamedTuple):
    """The least-squares solution of M Y = X B.

    Attributes:
        X: (4, 4) pose of the camera.
        Y: (4, 4) pose of the marker on what carries it.
        covariance: (6, 6) of X: x, y, z [m] and rotations [rad], axes of X's parent, about the
            camera.
        scale: (2,) how much larger than said the noise of positions and rotations is.
        used: (N,) which poses agree with it.
    """

    X: np.ndarray
    Y: np.ndarray
    covariance: np.ndarray
    noise_scale: np.ndarray
    inliers: np.ndarray


class HandEyeEquations(NamedTuple):
    """M Y = X B, pose by pose, and how surely each B is known.

    Attributes:
        M: (N, 4, 4) motion.
        B: (N, 4, 4) sightings.
        factor: (N, 6, 6) Cholesky factors of the sightings' covariances.
    """

    M: np.ndarray
    B: np.ndarray
    cholesky: np.ndarray

    def select(self, inliers: np.ndarray) -> HandEyeEquations:
        """Return those of some poses (N,)."""
        return HandEyeEquations(*(part[inliers] for part in self))

    def residuals(self, X: np.ndarray, Y: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return what X and Y leave (N, 6), in standard deviations of the scaled noise."""
        return _whiten(
            self.cholesky, scale, pose_difference(self.B, predict_markers(X, self.M, Y))
        )

    def jacobian(self, X: np.ndarray, Y: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return how these change (N, 6, 12) as X and then Y move and turn in their own axes."""
        return _whiten(self.cholesky, scale, _jacobian(predict_markers(X, self.M, Y)))

    def refine(
        self, X: np.ndarray, Y: np.ndarray, scale: np.ndarray, weight: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Improve X and Y by Gauss-Newton with weights (N,) of the poses."""
        root = np.sqrt(weight)[:, None]
        for _ in range(steps):
            right = root * self.residuals(X, Y, scale)
            rows = root[..., None] * self.jacobian(X, Y, scale)
            step = -np.linalg.lstsq(rows.reshape(-1, 12), right.ravel(), rcond=None)[0]
            X, Y = (
                X @ transform_from_rotvec(step[3:6], step[:3]),
                Y @ transform_from_rotvec(step[9:], step[6:9]),
            )
            if np.abs(step).max() < STEP_TOLERANCE:
                break
        return X, Y


def solve_hand_eye(pairs: PosePairs, mounting: Mounting) -> HandEyeSolution:
    """Find the camera's pose; poses that contradict the others are left out.

    Raises:
        ValueError: less than three poses, or no three that agree.
    """
    if len(pairs) < MIN_POSES:
        raise ValueError(f"{len(pairs)} poses; a solution takes {MIN_POSES}")
    every = HandEyeEquations(
        pairs.motion(mounting), pairs.T_camera_marker, np.linalg.cholesky(pairs.covariance)
    )
    X, Y, scale = _robust_estimate(every, *solve_closed_form(every.M, every.B))
    rows, tried = 6 * len(pairs), list[bytes]()
    # squared error of a good pose; the noise that it is measured in is itself uncertain
    limit = 6 * f.ppf(1 - FALSE_REJECTION_PROBABILITY, 6, MEDIAN_EFFICIENCY * (rows - 12))
    while True:
        agrees = _squares(every.residuals(X, Y, scale)) < limit
        if agrees.tobytes() in tried or agrees.sum() < MIN_POSES:  # settled, or going in a circle
            break
        tried.append(agrees.tobytes())
        used = agrees
        X, Y, scale, covariance = _least_squares(every.select(used), X, Y, scale)
    if not tried:
        raise ValueError(f"no {MIN_POSES} of {len(pairs)} poses agree with each other")
    return HandEyeSolution(X, Y, covariance, scale, used)


def predict_markers(X: np.ndarray, M: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return the sightings (N, 4, 4) that X and Y (4, 4) let expect at M (N, 4, 4)."""
    return invert_transform(X) @ M @ Y


def fisher_information(
    X: np.ndarray, M: np.ndarray, Y: np.ndarray, cholesky: np.ndarray
) -> np.ndarray:
    """Return what sightings tell of X and Y (12, 12), each in its own axes [1/m2, 1/rad2].

    Args:
        X: (4, 4) pose of the camera.
        M: (N, 4, 4) motion.
        Y: (4, 4) pose of the marker.
        factor: (N, 6, 6) Cholesky factors of the sightings' covariances.
    """
    rows = _whiten(cholesky, np.ones(2), _jacobian(predict_markers(X, M, Y))).reshape(-1, 12)
    return rows.T @ rows


def held_out_residuals(pairs: PosePairs, mounting: Mounting) -> np.ndarray:
    """Return the residual (N, 6) [m, rad] of each pose from a fit to three quarters without it."""
    out = np.empty((len(pairs), 6))
    M, fold = pairs.motion(mounting), np.arange(len(pairs)) % NUM_FOLDS
    for k in range(NUM_FOLDS):
        rest, mine = solve_hand_eye(pairs[fold != k], mounting), fold == k
        out[mine] = pose_difference(
            pairs.T_camera_marker[mine], predict_markers(rest.X, M[mine], rest.Y)
        )
    return out


def _robust_estimate(
    some: HandEyeEquations, X: np.ndarray, Y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return X, Y and the scale of the noise by which most poses agree (Cauchy loss)."""
    scale = np.ones(2)
    shrink = 1 - 12 / (6 * len(some.M))  # of squared residuals, as twelve values are fitted
    for _ in range(MAX_REWEIGHTINGS):
        before = scale
        white = some.residuals(X, Y, np.ones(2))
        parts = _squares(white[:, :3]), _squares(white[:, 3:])
        scale = np.maximum(
            [np.sqrt(np.median(p) / CHI2_MEDIAN / shrink) for p in parts], MIN_SCALE
        )
        weight = 1 / (1 + _squares(some.residuals(X, Y, scale)) / 6)
        X, Y = some.refine(X, Y, scale, weight, steps=3)
        if np.abs(scale / before - 1).max() < SCALE_TOLERANCE:
            break
    return X, Y, scale


def _least_squares(
    some: HandEyeEquations, X: np.ndarray, Y: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return X, Y, the scale of the noise and the covariance of X, all poses counting in full."""
    for _ in range(MAX_REWEIGHTINGS):
        X, Y = some.refine(X, Y, scale, np.ones(len(some.M)), MAX_ITERATIONS)
        white, rows = some.residuals(X, Y, scale), some.jacobian(X, Y, scale).reshape(-1, 12)
        free = 1 - np.square(np.linalg.qr(rows)[0]).sum(axis=1).reshape(-1, 6)  # redundancy
        spare = np.maximum([free[:, :3].sum(), free[:, 3:].sum()], 1.0)
        ratio = np.sqrt([(white[:, :3] ** 2).sum(), (white[:, 3:] ** 2).sum()] / spare)
        scale = np.maximum(scale * ratio, MIN_SCALE)
        if np.abs(ratio - 1).max() < SCALE_TOLERANCE:
            break
    turn = np.kron(np.eye(2), X[:3, :3])
    return X, Y, scale, turn @ np.linalg.pinv(rows.T @ rows)[:6, :6] @ turn.T


def _jacobian(wanted: np.ndarray) -> np.ndarray:
    """Return how residuals change (N, 6, 12) as X and then Y move and turn in their own axes."""
    R, t = wanted[:, :3, :3], wanted[:, :3, 3]
    J = np.zeros((len(wanted), 6, 12))
    J[:, :3, :3] = J[:, 3:, 3:6] = np.eye(3)
    J[:, :3, 3:6] = -skew(t)
    J[:, :3, 6:9] = J[:, 3:, 9:] = -R
    return J


def _whiten(factor: np.ndarray, scale: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return values (N, 6, ...) in standard deviations of their noise."""
    scaled = factor * np.repeat(scale, 3)[:, None]
    if values.ndim == 2:
        return np.linalg.solve(scaled, values[..., None])[..., 0]
    return np.linalg.solve(scaled, values)


def _squares(white: np.ndarray) -> np.ndarray:
    return np.square(white).sum(axis=1)
