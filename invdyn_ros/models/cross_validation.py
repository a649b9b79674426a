"""Cross-validation of Gaussian processes on contiguous folds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.models.gaussian_process import (
    fit_gaussian_process,
    posterior,
    select_inducing_points,
)
from invdyn_ros.models.rigid_body_config import NUM_FOLDS

MIN_IMPROVEMENT = 0.02  # fraction by which a choice must lower the error, against overfitting
EPSILON = 1e-9  # lower bound of denominators
NOISE_RATIOS = (1.0, 10.0, 100.0)  # variance of the noise relative to the prior variance


class CandidateResult(NamedTuple):
    """Hyperparameters of the Gaussian processes, and their predictions for held-out folds."""

    inverse_length_scale: Tensor  # (n, d)
    noise: Tensor  # (n,) variance, relative to the prior variance
    mean: Tensor  # (N, n), for residuals of variance 1
    variance: Tensor  # (N, n)


def split_folds(rows: Tensor) -> list[Tensor]:
    """Split rows (N, ...) into NUM_FOLDS contiguous folds: neighbours in time are correlated."""
    return list(rows.tensor_split(NUM_FOLDS))


def cross_validate(
    x: Tensor,
    residuals: list[Tensor],
    weight: Tensor,
    inverse_length_scale: Tensor,
    num_inducing: int,
) -> list[CandidateResult]:
    """Predict each fold by processes that are fitted to the other folds, for all NOISE_RATIOS.

    Args:
        x: features (N, n, d).
        residuals: targets (N, n) of each fold's processes, by the rigid body without that fold.
        weight: weight of each row (N, n).
        inverse_length_scale: (n, d).
        num_inducing: number of inducing points.
    """
    scaled, predictions = x * inverse_length_scale, []
    noises = [x.new_full((x.shape[1],), ratio) for ratio in NOISE_RATIOS]
    parts = list(zip(*(split_folds(values) for values in (scaled, weight)), strict=True))
    for k, (held_out, _) in enumerate(parts):
        training_parts = [part for i, part in enumerate(parts) if i != k]
        xs, ws = (torch.cat(column) for column in zip(*training_parts, strict=True))
        ys = torch.cat([y for i, y in enumerate(split_folds(residuals[k])) if i != k])
        inducing_points = select_inducing_points(xs, num_inducing)
        predictions.append(
            [
                posterior(fit_gaussian_process(xs, ys, ws, noise, inducing_points), held_out)
                for noise in noises
            ]
        )
    candidates = []
    for noise, folds in zip(noises, zip(*predictions, strict=True), strict=True):
        mean, variance = (torch.cat(column) for column in zip(*folds, strict=True))
        candidates.append(CandidateResult(inverse_length_scale, noise, mean, variance))
    return candidates


def select_candidate(
    candidates: list[CandidateResult], y: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Select the candidate with the lowest error per joint, and the shrinkage of its mean.

    The shrinkage is 0 unless the candidate lowers the error on at least all folds but one.

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
