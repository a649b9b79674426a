"""Maximum-likelihood estimation of variance components."""

from __future__ import annotations

from torch import Tensor

NUM_ITERATIONS = 100  # of the maximisation
MIN_VARIANCE = 1e-18  # lower bound, against divisions by zero


def fit_variance_components(terms: Tensor, error: Tensor) -> Tensor:
    """Return the p >= 0 (n, k) of greatest likelihood for error (N, n) ~ N(0, terms (N, n, k) p).

    Each iteration minimises an upper bound of the negative log likelihood, so none increases it.
    """
    square = error.square().unsqueeze(-1)
    p = (
        square.mean(0).expand(terms.shape[1:])
        / terms.mean(0).clamp_min(MIN_VARIANCE)
        / terms.shape[-1]
    )
    p = p.clamp_min(MIN_VARIANCE)
    for _ in range(NUM_ITERATIONS):
        inverse = 1 / (terms * p).sum(-1, keepdim=True).clamp_min(MIN_VARIANCE)
        slope = (terms * inverse).sum(0).clamp_min(MIN_VARIANCE)
        p = p * ((square * terms * inverse**2).sum(0) / slope).sqrt()
    return p
