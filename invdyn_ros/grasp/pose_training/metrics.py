"""How well a network sees: what it says and what is true enter, figures leave."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from invdyn_ros.grasp.estimation.block_estimate import QUARTER
from invdyn_ros.grasp.estimation.block_pose_estimator import (
    MAX_POSITION_STD,
    MIN_ON_TABLE_PROBABILITY,
    BlockPosePrediction,
)
from invdyn_ros.typing import Array, Mask

COVERED = 0.95  # share of the truth inside an ellipse
MILLI = 1e3


def select(
    belief: BlockPosePrediction, facts: NDArray[Any], chosen: Mask
) -> tuple[BlockPosePrediction, NDArray[Any]]:
    """Return what is said and true of some of the pictures (N,)."""
    return BlockPosePrediction(*(part[chosen] for part in belief)), facts[chosen]


def yaw_error(belief: BlockPosePrediction, facts: NDArray[Any]) -> Array:
    """Return the errors (N,) of the yaw, up to half a quarter turn [rad]."""
    return np.asarray((belief.yaw - facts["yaw"] + QUARTER / 2) % QUARTER - QUARTER / 2)


def detected_mask(belief: BlockPosePrediction) -> Mask:
    """Return which of the pictures (N,) give a sighting."""
    return (belief.on_table_probability >= MIN_ON_TABLE_PROBABILITY) & (
        belief.std[:, :2].max(axis=1) <= MAX_POSITION_STD
    )


def fit_std_scale(belief: BlockPosePrediction, facts: NDArray[Any]) -> tuple[float, float]:
    """Return by how much standard deviations of place and yaw are too small.

    With them, 95% of the truth lies inside the 95% ellipse and interval. Only pictures in which
    the block lies on the table, and that are sure of it by themselves, say something.
    """
    chosen = (facts["on_table"] > 0) & detected_mask(belief)
    if not chosen.any():
        return 1.0, 1.0
    place, yaw = _squares(belief, facts)
    factors = [
        np.sqrt(np.quantile(squares[chosen], COVERED) / chi2.ppf(COVERED, freedom))
        for squares, freedom in ((place, 2), (yaw, 1))
    ]
    return float(factors[0]), float(factors[1])


def _squares(belief: BlockPosePrediction, facts: NDArray[Any]) -> tuple[Array, Array]:
    """Return squared errors over their variance, of the place (N,) and the yaw (N,)."""
    place = np.square((belief.position - facts["position"]) / belief.std[:, :2])
    return place.sum(axis=1), np.square(yaw_error(belief, facts) / belief.std[:, 2])


def pose_metrics(belief: BlockPosePrediction, facts: NDArray[Any]) -> dict[str, Any]:
    """Return how well sightings meet the truth.

    Returns:
        Pictures; the share of blocks on the table that are sighted, and of blocks elsewhere that
        are sighted wrongly; error of place [mm] and yaw [deg] of the sightings, beside the error
        of always saying the middle; share of the truth inside the 95% ellipse and interval.
    """
    rest, told = facts["on_table"] > 0, detected_mask(belief)
    both = rest & told
    if not both.any():
        return {"images": len(facts), "detected_fraction": 0.0}
    off = np.linalg.norm(belief.position - facts["position"], axis=1)[both] * MILLI
    middle = facts["position"][both] - facts["position"][both].mean(axis=0)
    turn = np.degrees(np.abs(yaw_error(belief, facts)[both]))
    place, yaw = (squares[both] for squares in _squares(belief, facts))
    return {
        "images": len(facts),
        "detected_fraction": float(told[rest].mean()),
        "false_detection_fraction": float(told[~rest].mean()) if (~rest).any() else 0.0,
        "position_error_mm": {
            "p50": float(np.median(off)),
            "p95": float(np.quantile(off, COVERED)),
        },
        "centre_baseline_mm": {"p50": float(np.median(np.linalg.norm(middle, axis=1)) * MILLI)},
        "yaw_error_deg": {"p50": float(np.median(turn)), "p95": float(np.quantile(turn, COVERED))},
        "position_coverage": float((place <= chi2.ppf(COVERED, 2)).mean()),
        "yaw_coverage": float((yaw <= chi2.ppf(COVERED, 1)).mean()),
    }
