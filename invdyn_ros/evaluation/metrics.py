"""How large errors are: errors and targets enter; nmse and rmse leave, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

BLOCKS = 10  # fewer test trajectories than this are cut in time for the bootstrap
RESAMPLES = 1000
MIN_RELATIVE_VARIANCE = (
    1e-12  # share of the largest power of any joint below which there is no action
)


def error_metrics(errors: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return nmse, r2 and rmse, each with mean, per joint and 95% interval, over trajectories.

    r2 is 1 - nmse, but its interval compares each resample with its own variance: it tells
    whether the errors (T, n) are below those of the mean, however much moves in some blocks and
    little in others. A joint whose target never changes has neither (None), and no mean has it.
    """
    blocks = _sums(errors, targets)
    picks = np.random.default_rng(0).integers(len(blocks), size=(RESAMPLES, len(blocks)))
    whole, resampled = blocks.sum(0), blocks[picks].sum(1)
    steady = resampled.copy()
    steady[:, 1:3] = whole[1:3] * (resampled[:, 3:] / whole[3:])  # the variance stays that of all
    measures = (("nmse", _nmse, steady), ("r2", _r2, resampled), ("rmse", _rmse, resampled))
    result = {}
    for name, measure, sums in measures:
        per_joint = measure(whole)
        spread = [finite_mean(row) for row in measure(sums)]
        interval = (
            np.nanpercentile(spread, [2.5, 97.5]) if np.isfinite(spread).any() else [np.nan] * 2
        )
        result[name] = {
            "mean": finite_or_none(finite_mean(per_joint)),
            "per_joint": [finite_or_none(x) for x in per_joint],
            "ci95": [finite_or_none(x) for x in interval],
        }
    return result


def _sums(errors: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> np.ndarray:
    """Return [error^2, target^2, target, count] summed per block, (blocks, 4, n)."""
    parts = 1 if len(errors) >= BLOCKS else -(-BLOCKS // len(errors))
    blocks = []
    for error, target in zip(errors, targets, strict=True):
        count = min(parts, len(error))
        pairs = zip(np.array_split(error, count), np.array_split(target, count), strict=True)
        for e, y in pairs:
            blocks.append([(e * e).sum(0), (y * y).sum(0), y.sum(0), np.full(y.shape[1], len(y))])
    return np.array(blocks)


def _nmse(total: np.ndarray) -> np.ndarray:
    """Return the normalised error per joint from sums (..., 4, n)."""
    error, square, linear, count = np.moveaxis(total, -2, 0)
    variance = square - linear**2 / count
    # a joint without any load has rounding errors for an action
    loaded = np.maximum(square.max(-1, keepdims=True), 1e-12)
    known = variance > MIN_RELATIVE_VARIANCE * np.maximum(square, loaded)
    return np.where(known, error / np.where(known, variance, 1.0), np.nan)


def _r2(total: np.ndarray) -> np.ndarray:
    return 1 - _nmse(total)


def _rmse(total: np.ndarray) -> np.ndarray:
    return np.sqrt(total[..., 0, :] / total[..., 3, :])


def finite_mean(values: np.ndarray) -> float:
    """Return the mean of what is known."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def finite_or_none(value: float) -> float | None:
    """Return a number JSON can hold."""
    return float(value) if np.isfinite(value) else None
