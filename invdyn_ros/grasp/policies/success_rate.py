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
    """A difference of two success rates with its 95% interval, -1 to 1 each."""

    value: float
    ci_low: float
    ci_high: float


def paired_difference(ours: Sequence[bool], theirs: Sequence[bool]) -> SuccessDifference:
    """Return by how much our success rate is above theirs in the same episodes.

    Method 10 of Newcombe, Improved confidence intervals for the difference between binomial
    proportions based on paired data, Statistics in Medicine 17 (1998): the Wilson intervals of
    both rates, and how much the two have in common.

    Args:
        ours: (N,) which episodes were successes of ours.
        theirs: (N,) which of the same were theirs.

    Raises:
        ValueError: no episodes, or not as many of the one as of the other.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"{len(ours)} and {len(theirs)} episodes are no pairs")
    a, b, n = np.asarray(ours, bool), np.asarray(theirs, bool), len(ours)
    p, q = float(a.mean()), float(b.mean())
    (p_low, p_high), (q_low, q_high) = _wilson(int(a.sum()), n), _wilson(int(b.sum()), n)
    common = _correlation(a, b)

    def reach(p_side: float, q_side: float) -> float:
        square = p_side**2 - 2 * common * p_side * q_side + q_side**2
        return float(np.sqrt(max(square, 0.0)))

    low, high = reach(p - p_low, q_high - q), reach(p_high - p, q - q_low)
    return SuccessDifference(p - q, p - q - low, p - q + high)


def _correlation(a: Mask, b: Mask) -> float:
    """Return the correlation of two outcomes (N,), a positive one corrected for continuity."""
    both, none = int((a & b).sum()), int((~a & ~b).sum())
    product = float(both * none - int((a & ~b).sum()) * int((~a & b).sum()))
    if product > 0:
        product = max(product - len(a) / 2, 0.0)
    margins = float(a.sum()) * float((~a).sum()) * float(b.sum()) * float((~b).sum())
    return product / np.sqrt(margins) if margins else 0.0
