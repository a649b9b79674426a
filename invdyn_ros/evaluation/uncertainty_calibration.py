"""Calibration of predicted standard deviations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

MIN_STD = 1e-12  # avoids division by zero


def uncertainty_calibration(
    errors: Sequence[np.ndarray], stds: Sequence[np.ndarray | None]
) -> dict[str, float] | None:
    """Return calibration metrics of predicted standard deviations; None if there are none.

    Args:
        errors: (T, n) per trajectory, in the action unit.
        stds: (T, n) per trajectory, in the action unit, or None.

    Returns:
        Fraction of errors within 1 and 2 standard deviations, mean negative log likelihood, and
        mean continuous ranked probability score [action unit].
    """
    predicted = [std for std in stds if std is not None]
    if not predicted:
        return None
    error, std = np.concatenate(errors), np.maximum(np.concatenate(predicted), MIN_STD)
    z = np.abs(error / std)
    nll = 0.5 * z**2 + np.log(std) + 0.5 * np.log(2 * np.pi)
    return {
        "within_1_std": float((z <= 1).mean()),  # .683 when calibrated
        "within_2_std": float((z <= 2).mean()),  # .954
        "nll": float(nll.mean()),
        "crps": float(crps(error, std).mean()),
    }


def crps(error: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of Gaussians, in the unit of the error.

    Gneiting and Raftery, JASA 102, 2007, eq. 21.
    """
    z = error / std
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return std * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
