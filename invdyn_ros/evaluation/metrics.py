"""Error metrics of predictions with bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MIN_BLOCKS = 10  # fewer trajectories are cut into blocks of time for the bootstrap
RESAMPLES = 1000
MIN_RELATIVE_VARIANCE = 1e-12  # of the largest mean square; less is a constant action


def error_metrics(errors: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return nmse, r2 and rmse: mean over joints, per joint, and 95% interval of the mean.

    r2 is 1 - nmse, but its interval divides by the variance of each resample, while that of nmse
    divides by the variance of all data. A joint whose target is constant has no nmse and no r2
    (None) and does not count in the means.

    Args:
        errors: (T, n) per trajectory.
        targets: (T, n) per trajectory.
    """
    blocks = _sums(errors, targets)
    picks = np.random.default_rng(0).integers(len(blocks), size=(RESAMPLES, len(blocks)))
    whole, resampled = blocks.sum(0), blocks[picks].sum(1)
    fixed_variance = resampled.copy()
    fixed_variance[:, 1:3] = whole[1:3] * (resampled[:, 3:] / whole[3:])
    measures = (
        ("nmse", _nmse, fixed_variance),
        ("r2", _r2, resampled),
        ("rmse", _rmse, resampled),
    )
    result = {}
    for name, measure, sums in measures:
        per_joint = measure(whole)
        means = [finite_mean(row) for row in measure(sums)]
        interval = (
            np.nanpercentile(means, [2.5, 97.5]) if np.isfinite(means).any() else [np.nan] * 2
        )
        result[name] = {
            "mean": finite_or_none(finite_mean(per_joint)),
            "per_joint": [finite_or_none(x) for x in per_joint],
            "ci95": [finite_or_none(x) for x in interval],
        }
    return result


def _sums(errors: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sums of error^2, target^2, target and count per block, (blocks, 4, n)."""
    parts = 1 if len(errors) >= MIN_BLOCKS else -(-MIN_BLOCKS // len(errors))
    blocks = []
    for error, target in zip(errors, targets, strict=True):
        count = min(parts, len(error))
        pairs = zip(np.array_split(error, count), np.array_split(target, count), strict=True)
        for e, y in pairs:
            blocks.append([(e * e).sum(0), (y * y).sum(0), y.sum(0), np.full(y.shape[1], len(y))])
    return np.array(blocks)


def _nmse(total: np.ndarray) -> np.ndarray:
    """Return the normalised mean squared error per joint from sums (..., 4, n)."""
    error, square, linear, count = np.moveaxis(total, -2, 0)
    variance = square - linear**2 / count
    # the action of an unloaded joint consists of rounding errors
    loaded = np.maximum(square.max(-1, keepdims=True), 1e-12)
    valid = variance > MIN_RELATIVE_VARIANCE * np.maximum(square, loaded)
    return np.where(valid, error / np.where(valid, variance, 1.0), np.nan)


def _r2(total: np.ndarray) -> np.ndarray:
    return 1 - _nmse(total)


def _rmse(total: np.ndarray) -> np.ndarray:
    return np.sqrt(total[..., 0, :] / total[..., 3, :])


def finite_mean(values: np.ndarray) -> float:
    """Return the mean of the finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def finite_or_none(value: float) -> float | None:
    """Return a number that JSON can represent; None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None
