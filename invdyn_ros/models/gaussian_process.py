"""Sparse Gaussian process regression, one process per joint.

The kernel is k(x, z) = exp(-|x - z|^2 / 2) of features that are already divided by their length
scales. Far from all data it is zero, so the mean falls to zero and the variance rises to 1.

With M inducing points Z, phi(x) = k(x, Z) chol(k(Z, Z))^-T and Bayesian linear regression on phi
this is the deterministic training conditional of Quinonero-Candela and Rasmussen, JMLR 6, 2005,
eq. 20; the inducing points are the pivots of an incomplete Cholesky factor of the kernel matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

JITTER = 1e-6  # on the diagonal of k(Z, Z), for coinciding inducing points


class GaussianProcess(NamedTuple):
    """Posterior of n joints with M inducing points of d features."""

    inducing_points: Tensor  # (n, M, d)
    mean_weights: Tensor  # (n, M)
    variance_reduction: Tensor  # (n, M, M) R; the variance is 1 - |k(x, Z) R|^2


def kernel(x: Tensor, inducing_points: Tensor) -> Tensor:
    """Return k (..., n, M) between features (..., n, d) and inducing points (n, M, d)."""
    cross = torch.einsum("...nd,nmd->...nm", x, inducing_points)
    square = x.square().sum(-1, keepdim=True) + inducing_points.square().sum(-1) - 2 * cross
    return torch.exp(-0.5 * square.clamp_min(0.0))


def posterior(process: GaussianProcess, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance (..., n) at features (..., n, d); the prior's are 0 and 1."""
    k = kernel(x, process.inducing_points)
    explained = torch.einsum("...nm,nmk->...nk", k, process.variance_reduction)
    return (k * process.mean_weights).sum(-1), (1 - explained.square().sum(-1)).clamp(0.0, 1.0)


def fit_gaussian_process(
    x: Tensor, y: Tensor, weight: Tensor, noise: Tensor, inducing_points: Tensor
) -> GaussianProcess:
    """Fit one process per joint.

    Args:
        x: features (N, n, d).
        y: targets (N, n).
        weight: weight of each row (N, n), the inverse of its standard deviation.
        noise: variance of the noise of y, relative to the prior variance (n,).
        inducing_points: (n, M, d), from `select_inducing_points`.
    """
    eye = torch.eye(inducing_points.shape[1]).to(x)
    noise = noise[:, None, None]
    # (n, M, M)
    inducing_kernel = kernel(inducing_points.transpose(0, 1), inducing_points).transpose(0, 1)
    factor = torch.linalg.cholesky(inducing_kernel + JITTER * eye)
    k = kernel(x, inducing_points).transpose(0, 1) * weight.T.unsqueeze(-1)  # (n, N, M)
    phi = torch.linalg.solve_triangular(factor, k.mT, upper=False)  # (n, M, N)
    root = torch.linalg.cholesky(phi @ phi.mT + noise * eye)
    mean = torch.cholesky_solve(phi @ (y * weight).T.unsqueeze(-1), root)  # (n, M, 1)
    posterior_covariance = noise * torch.cholesky_inverse(root)
    values, vectors = torch.linalg.eigh(eye - posterior_covariance)
    reduction = vectors * values.clamp_min(0.0).sqrt().unsqueeze(-2)
    solution = torch.linalg.solve_triangular(
        factor.mT, torch.cat([mean, reduction], -1), upper=True
    )
    return GaussianProcess(inducing_points, solution[..., 0], solution[..., 1:])


def select_inducing_points(x: Tensor, count: int) -> Tensor:
    """Return the M = `count` most informative features (n, M, d) of each joint, out of (N, n, d).

    Features are repeated if there are fewer than M.
    """
    points = x.transpose(0, 1)  # (n, N, d)
    n, rows, _ = points.shape
    residual_variance, factor = points.new_ones(n, rows), points.new_zeros(n, rows, count)
    joint, selected = torch.arange(n, device=x.device), []
    for m in range(count):
        pivot = residual_variance.argmax(1)
        selected.append(points[joint, pivot])
        k = kernel(x, selected[-1].unsqueeze(1))[..., 0].T  # (n, N)
        explained = (factor[..., :m] @ factor[joint, pivot, :m].unsqueeze(-1)).squeeze(-1)
        scale = residual_variance[joint, pivot].clamp_min(JITTER).sqrt()
        factor[..., m] = (k - explained) / scale.unsqueeze(-1)
        residual_variance = (residual_variance - factor[..., m].square()).clamp_min(0.0)
    return torch.stack(selected, 1)
