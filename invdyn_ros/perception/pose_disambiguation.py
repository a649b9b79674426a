"""Which of the poses that explain a block is right: their costs enter, the likeliest leaves.

All costs are -2 log likelihood, so that they add up.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.pose_from_edges import PoseFit
from invdyn_ros.perception.rigid_transforms import rotation_angle

ROTATION_PER_IMAGE = 0.1  # a block turns so much between two images [rad]
MAX_TRACKING_COST = 9.0  # the past says so much at most against a pose
COST_DECAY = 0.8  # of what the past says, per image


class PoseHypothesis(NamedTuple):
    """One of the poses that a block may have."""

    T_camera_block: np.ndarray
    """(4, 4)."""
    cost: float
    """-2 log likelihood, 0 for the likeliest."""


def rank_hypotheses(
    fits: list[PoseFit], costs: np.ndarray
) -> tuple[PoseFit, tuple[PoseHypothesis, ...]]:
    """Return the likeliest pose and all modes, it first.

    Its covariance about it includes the chance that another mode is true.

    Args:
        fits: the poses that explain the corners, at least one.
        costs: (n,) of each.
    """
    order = np.argsort(costs, kind="stable")
    least = costs[order[0]]
    modes = tuple(PoseHypothesis(fits[i].T_camera_block, float(costs[i] - least)) for i in order)
    weights = np.exp(-0.5 * np.array([mode.cost for mode in modes]))
    best, covariance = fits[order[0]], np.zeros((6, 6))
    for i, weight in zip(order, weights / weights.sum(), strict=True):
        away = _pose_difference(fits[i].T_camera_block, best.T_camera_block)
        covariance += weight * (fits[i].covariance + np.outer(away, away))
    return best._replace(covariance=covariance), modes


def tracking_costs(fits: list[PoseFit], previous: tuple[PoseHypothesis, ...]) -> np.ndarray:
    """What the image before says of each pose, (n,); it never outweighs a clear picture."""
    if not previous:
        return np.zeros(len(fits))
    costs = [
        min(COST_DECAY * mode.cost + (rotation_angle(fit.T_camera_block, mode[0]) / ROTATION_PER_IMAGE) ** 2
            for mode in previous)
        for fit in fits
    ]  # fmt: skip
    return np.minimum(costs, MAX_TRACKING_COST)


def _pose_difference(T: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Shift [m] and turn [rad] about the camera's axes from another pose to T, (6,)."""
    return np.concatenate([
        T[:3, 3] - other[:3, 3], cv2.Rodrigues(T[:3, :3] @ other[:3, :3].T)[0].ravel()
    ])  # fmt: skip
