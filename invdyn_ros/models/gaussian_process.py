"""Sparse Gaussian processes, one per joint: features enter, mean and variance leave.

The kernel is k(x, z) = exp(-|x - z|^2 / 2) of features that are already divided by their length
scales. Far from all data it is zero, so the mean falls to zero and the variance rises to 1.

With M centres Z, phi(x) = k(x, Z) chol(k(Z, Z))^-T and Bayesian linear regression on phi this is
the deterministic training conditional of Quinonero-Candela and Rasmussen, JMLR 6, 2005, eq. 20;
the centres are the pivots of an incomplete Cholesky factor of the kernel matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

JITTER = 1e-6  # on the diagonal of k(Z, Z), where two centres may coincide


class GaussianProcess(NamedTuple):
    """The posterior of n joints with M centres of d features."""

    centres: Tensor  # (n, M, d)
    weight: Tensor  # (n, M)
    known: Tensor  # (n, M, M)


def kernel(x: Tensor, centres: Tensor) -> Tensor:
    """Return k (..., n, M) between features (..., n, d) and centres (n, M, d)."""
    cross = torch.einsum("...nd,nmd->...nm", x, centres)
    square = x.square().sum(-1, keepdim=True) + centres.square().sum(-1) - 2 * cross
    return torch.exp(-0.5 * square.clamp_min(0.0))


def posterior(process: GaussianProcess, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance (..., n) at features (..., n, d); the prior is 0 and 1."""
    k = kernel(x, process.centres)
    learned = torch.einsum("...nm,nmk->...nk", k, process.known)
    return (k * process.weight).sum(-1), (1 - learned.square().sum(-1)).clamp(0.0, 1.0)


def fit(x: Tensor, y: Tensor, weight: Tensor, noise: Tensor, centres: Tensor) -> GaussianProcess:
    """Fit one process per joint.

    Args:
        x: features (N, n, d).
        y: what is to be explained (N, n).
        weight: how much a row counts (N, n), as the inverse of its standard deviation.
        noise: variance of y's noise as a share of the prior's (n,).
        centres: (n, M, d), from `pivots`.
    """
    eye = torch.eye(centres.shape[1]).to(x)
    noise = noise[:, None, None]
    within = kernel(centres.transpose(0, 1), centres).transpose(0, 1)  # (n, M, M)
    factor = torch.linalg.cholesky(within + JITTER * eye)
    k = kernel(x, centres).transpose(0, 1) * weight.T.unsqueeze(-1)  # (n, N, M)
    phi = torch.linalg.solve_triangular(factor, k.mT, upper=False)  # (n, M, N)
    root = torch.linalg.cholesky(phi @ phi.mT + noise * eye)
    mean = torch.cholesky_solve(phi @ (y * weight).T.unsqueeze(-1), root)  # (n, M, 1)
    left = noise * torch.cholesky_inverse(root)  # posterior covariance
    values, vectors = torch.linalg.eigh(eye - left)
    known = vectors * values.clamp_min(0.0).sqrt().unsqueeze(-2)
    both = torch.linalg.solve_triangular(factor.mT, torch.cat([mean, known], -1), upper=True)
    return GaussianProcess(centres, both[..., 0], both[..., 1:])


def pivots(x: Tensor, count: int) -> Tensor:
    """Return M = `count` of the features (N, n, d), per joint those that tell most (n, M, d).

    Rows come twice where there are fewer than that.
    """
    points = x.transpose(0, 1)  # (n, N, d)
    n, rows, _ = points.shape
    left, factor = points.new_ones(n, rows), points.new_zeros(n, rows, count)
    joint, chosen = torch.arange(n, device=x.device), []
    for m in range(count):
        pivot = left.argmax(1)
        chosen.append(points[joint, pivot])
        k = kernel(x, chosen[-1].unsqueeze(1))[..., 0].T  # (n, N)
        explained = (factor[..., :m] @ factor[joint, pivot, :m].unsqueeze(-1)).squeeze(-1)
        scale = left[joint, pivot].clamp_min(JITTER).sqrt()
        factor[..., m] = (k - explained) / scale.unsqueeze(-1)
        left = (left - factor[..., m].square()).clamp_min(0.0)
    return torch.stack(chosen, 1)
