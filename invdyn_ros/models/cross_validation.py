"""Blocks of data left out in turn: what was tried on them enters, the best of it leaves."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NUM_FOLDS = 5  # blocks of the training data, left out in turn
MIN_IMPROVEMENT = 0.02  # share of the error a choice must take away, lest it follows noise
EPSILON = 1e-9


class CandidateResult(NamedTuple):
    """What processes of one kind did on blocks left out."""

    inverse_length_scale: Tensor  # (n, d) inverse length scales
    noise: Tensor  # (n,)
    mean: Tensor  # (N, n), for left-over of variance 1
    variance: Tensor  # (N, n)


def split_folds(rows: Tensor) -> list[Tensor]:
    """Cut rows (N, ...) in FOLDS blocks, in order: neighbours in time are alike."""
    return list(rows.tensor_split(NUM_FOLDS))


def select_candidate(
    candidates: list[CandidateResult], y: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Choose the trial of least error per joint, and how much of its mean to believe.

    A process that does not help on all blocks but one is not believed at all.

    Args:
        trials: processes made without each block.
        y: what the rigid body leaves over on each block (N, n).
        weight: how much a row counts (N, n).

    Returns:
        Index of the trial (n,), belief from 0 to 1 (n,), and its mean and variance (N, n).
    """
    w2 = weight.square()
    means = torch.stack([trial.mean for trial in candidates])  # (trials, N, n)
    shrink = (w2 * means * y).sum(1) / (w2 * means.square()).sum(1).clamp_min(EPSILON)
    shrink = shrink.clamp(0.0, 1.0)  # (trials, n)
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
    variance = torch.stack([trial.variance for trial in candidates])[best, :, joint].T
    return best, shrinkage, means[best, :, joint].T, variance
