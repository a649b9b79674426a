"""Success rates with confidence intervals, and their differences over paired episodes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from invdyn_ros.typing import Mask


def success_interval(successes: int, episodes: int) -> list[float]:
    """Return the 95% Wilson interval of a success rate."""
    return [round(end, 4) for end in _wilson(successes, episodes)]


def _wilson(successes: int, episodes: int) -> tuple[float, float]:
    interval = binomtest(successes, episodes).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


class SuccessDifference(NamedTuple):
    """A difference of two success rates with its 95% interval, each in [-1, 1]."""

    value: float
    ci_low: float
    ci_high: float


def paired_difference(a: Sequence[bool], b: Sequence[bool]) -> SuccessDifference:
    """Return the success rate of policy a minus that of policy b on the same episodes.

    Method 10 of Newcombe, Improved confidence intervals for the difference between binomial
    proportions based on paired data, Statistics in Medicine 17 (1998): it combines the Wilson
    intervals of both rates and their correlation.

    Args:
        a: (N,) successes of policy a.
        b: (N,) successes of policy b.

    Raises:
        ValueError: no episodes, or not the same number of both.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"{len(a)} and {len(b)} episodes; run both policies on the same episodes")
    first, second, n = np.asarray(a, bool), np.asarray(b, bool), len(a)
    p, q = float(first.mean()), float(second.mean())
    p_low, p_high = _wilson(int(first.sum()), n)
    q_low, q_high = _wilson(int(second.sum()), n)
    correlation = _correlation(first, second)

    def half_width(p_side: float, q_side: float) -> float:
        square = p_side**2 - 2 * correlation * p_side * q_side + q_side**2
        return float(np.sqrt(max(square, 0.0)))

    low, high = half_width(p - p_low, q_high - q), half_width(p_high - p, q - q_low)
    return SuccessDifference(p - q, p - q - low, p - q + high)


def _correlation(a: Mask, b: Mask) -> float:
    """Return the correlation of two outcomes (N,), a positive one corrected for continuity."""
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    product = float(both * neither - int((a & ~b).sum()) * int((~a & b).sum()))
    if product > 0:
        product = max(product - len(a) / 2, 0.0)
    margins = float(a.sum()) * float((~a).sum()) * float(b.sum()) * float((~b).sum())
    return product / np.sqrt(margins) if margins else 0.0
