"""Errors and standard deviations enter; how far the latter can be believed leaves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

MIN_STD = 1e-12  # standard deviation below which nothing is measured


def uncertainty_calibration(
    errors: Sequence[np.ndarray], stds: Sequence[np.ndarray | None]
) -> dict[str, float] | None:
    """Judge the spread of predictions; None without any.

    Args:
        errors: (T, n) per trajectory, in the action unit.
        deviations: (T, n) per trajectory, in the same unit, or None.

    Returns:
        Share of the truth within 1 and 2 standard deviations, mean negative log likelihood and
        mean continuous ranked probability score [action unit].
    """
    known = [std for std in stds if std is not None]
    if not known:
        return None
    error, std = np.concatenate(errors), np.maximum(np.concatenate(known), MIN_STD)
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

    Gneiting and Raftery, JASA 102, 2007, eq. 21: the absolute error, less what an honest spread
    earns.
    """
    z = error / std
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return std * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
