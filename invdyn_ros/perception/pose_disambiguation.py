"""Selection among ambiguous poses of a block.

All costs are -2 log likelihoods and can be added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.pose_from_edges import PoseFit
from invdyn_ros.perception.rigid_transforms import rotation_angle

ROTATION_PER_IMAGE = 0.1  # typical rotation of a block between two images [rad]
MAX_TRACKING_COST = 9.0  # maximum cost that the previous image adds to a pose
COST_DECAY = 0.8  # factor on the costs of the previous image


class PoseHypothesis(NamedTuple):
    """One of several poses that explain the observed markers of a block."""

    T_camera_block: np.ndarray
    """(4, 4) pose of the block in the camera's optical frame."""
    cost: float
    """-2 log likelihood, relative to the most likely pose."""


def rank_hypotheses(
    fits: list[PoseFit], costs: np.ndarray
) -> tuple[PoseFit, tuple[PoseHypothesis, ...]]:
    """Return the most likely pose and all hypotheses, the most likely first.

    The covariance of the pose includes the probability that another hypothesis is correct.

    Args:
        fits: n poses that explain the corners, at least one.
        costs: (n,) cost of each pose.
    """
    order = np.argsort(costs, kind="stable")
    lowest = costs[order[0]]
    hypotheses = tuple(
        PoseHypothesis(fits[i].T_camera_block, float(costs[i] - lowest)) for i in order
    )
    weights = np.exp(-0.5 * np.array([hypothesis.cost for hypothesis in hypotheses]))
    best, covariance = fits[order[0]], np.zeros((6, 6))
    for i, weight in zip(order, weights / weights.sum(), strict=True):
        offset = _pose_difference(fits[i].T_camera_block, best.T_camera_block)
        covariance += weight * (fits[i].covariance + np.outer(offset, offset))
    return best._replace(covariance=covariance), hypotheses


def tracking_costs(fits: list[PoseFit], previous: tuple[PoseHypothesis, ...]) -> np.ndarray:
    """Return the cost (n,) of each pose given the hypotheses of the previous image.

    The cost is limited, so that it never outweighs a clear image.

    Args:
        fits: n poses in this image.
        previous: hypotheses of the previous image.
    """
    if not previous:
        return np.zeros(len(fits))

    def cost(T: np.ndarray, hypothesis: PoseHypothesis) -> float:
        angle = rotation_angle(T, hypothesis.T_camera_block)
        return COST_DECAY * hypothesis.cost + (angle / ROTATION_PER_IMAGE) ** 2

    costs = [min(cost(fit.T_camera_block, hypothesis) for hypothesis in previous) for fit in fits]
    return np.minimum(costs, MAX_TRACKING_COST)


def transform_hypotheses(
    hypotheses: tuple[PoseHypothesis, ...], transform: Callable[[np.ndarray], np.ndarray]
) -> tuple[PoseHypothesis, ...]:
    """Return hypotheses with poses in another frame, to which `transform` maps a pose (4, 4)."""
    return tuple(h._replace(T_camera_block=transform(h.T_camera_block)) for h in hypotheses)


def _pose_difference(T: np.ndarray, T_reference: np.ndarray) -> np.ndarray:
    """Return translation [m] and rotation vector [rad] from a reference pose to T, (6,)."""
    return np.concatenate([
        T[:3, 3] - T_reference[:3, 3], cv2.Rodrigues(T[:3, :3] @ T_reference[:3, :3].T)[0].ravel()
    ])  # fmt: skip
