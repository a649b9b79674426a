"""Accuracy and calibration metrics of the block pose network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from invdyn_ros.grasp.estimation.block_estimate import QUARTER_TURN
from invdyn_ros.grasp.estimation.block_pose_estimator import (
    MAX_POSITION_STD,
    MIN_ON_TABLE_PROBABILITY,
    BlockPosePrediction,
)
from invdyn_ros.typing import Array, Mask

COVERAGE = 0.95  # nominal probability of the confidence ellipse and interval
MM_PER_M = 1e3


def select(
    prediction: BlockPosePrediction, labels: NDArray[Any], mask: Mask
) -> tuple[BlockPosePrediction, NDArray[Any]]:
    """Return the predictions and labels of some images.

    Args:
        prediction: predictions for N images.
        labels: (N,) structured array of type `labels_dtype`.
        mask: (N,) images to select.
    """
    return BlockPosePrediction(*(part[mask] for part in prediction)), labels[mask]


def yaw_error(prediction: BlockPosePrediction, labels: NDArray[Any]) -> Array:
    """Return the errors (N,) of the yaw modulo a quarter turn, in [-pi/4, pi/4) [rad]."""
    return np.asarray(
        (prediction.yaw - labels["yaw"] + QUARTER_TURN / 2) % QUARTER_TURN - QUARTER_TURN / 2
    )


def detected_mask(prediction: BlockPosePrediction) -> Mask:
    """Return which images (N,) give a detection."""
    on_table = prediction.on_table_probability >= MIN_ON_TABLE_PROBABILITY
    return on_table & (prediction.std[:, :2].max(axis=1) <= MAX_POSITION_STD)


def fit_std_scale(prediction: BlockPosePrediction, labels: NDArray[Any]) -> tuple[float, float]:
    """Return the factors that calibrate the standard deviations of position and yaw.

    With these factors, 95% of the labels lie inside the predicted 95% ellipse and interval. Only
    images with a detection of a block on the table count.
    """
    mask = (labels["on_table"] > 0) & detected_mask(prediction)
    if not mask.any():
        return 1.0, 1.0
    position, yaw = _normalised_squared_errors(prediction, labels)
    factors = [
        np.sqrt(np.quantile(squares[mask], COVERAGE) / chi2.ppf(COVERAGE, dof))
        for squares, dof in ((position, 2), (yaw, 1))
    ]
    return float(factors[0]), float(factors[1])


def _normalised_squared_errors(
    prediction: BlockPosePrediction, labels: NDArray[Any]
) -> tuple[Array, Array]:
    """Return squared errors over their predicted variance, of position (N,) and yaw (N,)."""
    position = np.square((prediction.position - labels["position"]) / prediction.std[:, :2])
    yaw = np.square(yaw_error(prediction, labels) / prediction.std[:, 2])
    return position.sum(axis=1), yaw


def pose_metrics(prediction: BlockPosePrediction, labels: NDArray[Any]) -> dict[str, Any]:
    """Return the accuracy of the detections.

    Returns:
        images: number of images.
        detected_fraction: fraction of the blocks on the table that are detected.
        false_detection_fraction: fraction of the images without a block on the table that give a
            detection.
        position_error_mm, yaw_error_deg: median and 95th percentile of the errors.
        centre_baseline_mm: median position error of a constant prediction, the mean label.
        position_coverage, yaw_coverage: fraction of labels inside the predicted 95% ellipse and
            interval.
    """
    on_table, detected = labels["on_table"] > 0, detected_mask(prediction)
    mask = on_table & detected
    if not mask.any():
        return {"images": len(labels), "detected_fraction": 0.0}
    error = np.linalg.norm(prediction.position - labels["position"], axis=1)[mask] * MM_PER_M
    baseline = labels["position"][mask] - labels["position"][mask].mean(axis=0)
    yaw = np.degrees(np.abs(yaw_error(prediction, labels)[mask]))
    position_squares, yaw_squares = (
        squares[mask] for squares in _normalised_squared_errors(prediction, labels)
    )
    return {
        "images": len(labels),
        "detected_fraction": float(detected[on_table].mean()),
        "false_detection_fraction": (
            float(detected[~on_table].mean()) if (~on_table).any() else 0.0
        ),
        "position_error_mm": _percentiles(error),
        "centre_baseline_mm": {
            "p50": float(np.median(np.linalg.norm(baseline, axis=1)) * MM_PER_M)
        },
        "yaw_error_deg": _percentiles(yaw),
        "position_coverage": float((position_squares <= chi2.ppf(COVERAGE, 2)).mean()),
        "yaw_coverage": float((yaw_squares <= chi2.ppf(COVERAGE, 1)).mean()),
    }


def _percentiles(errors: Array) -> dict[str, float]:
    return {"p50": float(np.median(errors)), "p95": float(np.quantile(errors, 0.95))}
