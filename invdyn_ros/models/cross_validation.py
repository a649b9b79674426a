"""Cross-validation of Gaussian processes on contiguous folds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NUM_FOLDS = 5  # contiguous parts of the training data, held out in turn
MIN_IMPROVEMENT = 0.02  # a choice must lower the error by this fraction, to not fit noise
EPSILON = 1e-9


class CandidateResult(NamedTuple):
    """Predictions of one kind of Gaussian process for held-out folds."""

    inverse_length_scale: Tensor  # (n, d)
    noise: Tensor  # (n,)
    mean: Tensor  # (N, n), for residuals of variance 1
    variance: Tensor  # (N, n)


def split_folds(rows: Tensor) -> list[Tensor]:
    """Split rows (N, ...) into NUM_FOLDS contiguous folds: neighbours in time are correlated."""
    return list(rows.tensor_split(NUM_FOLDS))


def select_candidate(
    candidates: list[CandidateResult], y: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Select the candidate with the lowest error per joint, and the shrinkage of its mean.

    The shrinkage is 0 unless the candidate lowers the error on all folds but one.

    Args:
        candidates: predictions for held-out folds.
        y: residual of the rigid body on each fold (N, n).
        weight: weight of each row (N, n).

    Returns:
        Index of the candidate (n,), shrinkage from 0 to 1 (n,), and its mean and variance (N, n).
    """
    w2 = weight.square()
    means = torch.stack([candidate.mean for candidate in candidates])  # (candidates, N, n)
    shrink = (w2 * means * y).sum(1) / (w2 * means.square()).sum(1).clamp_min(EPSILON)
    shrink = shrink.clamp(0.0, 1.0)  # (candidates, n)
    residual_power = w2 * (y - shrink.unsqueeze(1) * means).square()
    best = residual_power.sum(1).argmin(0)
    joint = torch.arange(y.shape[1])
    improved = torch.stack(
        [
            (a.sum(0) < (1 - MIN_IMPROVEMENT) * b.sum(0))
            for a, b in zip(
                split_folds(residual_power[best, :, joint].T),
                split_folds(w2 * y.square()),
                strict=True,
            )
        ]
    )
    shrinkage = torch.where(improved.sum(0) >= NUM_FOLDS - 1, shrink[best, joint], 0.0)
    variance = torch.stack([candidate.variance for candidate in candidates])[best, :, joint].T
    return best, shrinkage, means[best, :, joint].T, variance
