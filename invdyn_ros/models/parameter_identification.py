"""Identification of physical parameters: inertia, friction and compliance of an arm.

The parameters are those of real bodies, see `physical_parameters`. What the data do not determine
stays at the URDF's values; how strongly is chosen by validation. Joints are weighted by the
inverse of their noise variance, which a fit without bounds estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.models.least_squares_identification import (
    DynamicParameters,
    NormalEquations,
    mean_squared_error,
    sum_normal_equations,
)
from invdyn_ros.models.physical_parameters import (
    FRICTION_SCALE,
    Coordinates,
    scaled_coordinates,
    solve_physical,
)
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS

STRENGTHS = tuple(10.0**k for k in range(-13, -1))  # of the prior, relative to that of the data
MIN_RELATIVE_DIAGONAL = 1e-16  # of the largest diagonal entry; smaller ones are rounding errors
MIN_RELATIVE_ERROR = 1e-12  # lower bound of the mean squared error, relative to the target's power
MIN_RELATIVE_NOISE = 1e-6  # of the variance of the noise, relative to the target's power
MIN_COMPLIANCE = 1e-6  # relative to the largest of the joints
OFFSET = 2  # index of the friction term that may have any sign


class Bounds(NamedTuple):
    """What is known of the parameters beforehand.

    Attributes:
        is_torque: whether the target is the torque, so that compliance is 1.
        brakes: whether viscous and Coulomb friction and rotor inertia are positive; those of a
            position servo also stand for its own dynamics.
        physical: whether the bounds apply and inertias are those of real bodies; otherwise a
            ridge keeps the parameters near the URDF's.
    """

    is_torque: bool
    brakes: bool = True
    physical: bool = True


def identify(
    train: NormalEquations,
    val: NormalEquations,
    prior: Tensor,
    bounds: Bounds,
    strengths: Sequence[float] = STRENGTHS,
) -> DynamicParameters:
    """Identify all parameters; the strength of the prior is that of the lowest error on `val`.

    Args:
        train: normal equations of the training data.
        val: normal equations of the validation data.
        prior: inertial parameters of the URDF (10 n,).
        bounds: what is known beforehand.
        strengths: candidates.
    """
    target_power = (train.target_power / train.num_rows).clamp_min(1e-30)
    weights = 1 / target_power
    best = DynamicParameters(
        prior, torch.zeros_like(train.moment[:, len(prior) :]), torch.ones_like(target_power)
    )
    if not bounds.is_torque:
        best = _with_compliance(train, best)

    def val_error(candidate: DynamicParameters) -> float:
        return float((weights * mean_squared_error(val, candidate)).sum())

    for _ in range(2 if bounds.is_torque else 6):
        best = min(_solve_ridge(train, best, prior, weights, strengths), key=val_error)
        if not bounds.is_torque:
            best = _with_compliance(train, best)
        # the lower bound keeps one joint of noise-free data from taking all the weight
        noise = torch.maximum(mean_squared_error(train, best), MIN_RELATIVE_NOISE * target_power)
        weights = 1 / noise
    if not bounds.physical:
        return best
    return min(_solve_physical(train, best, prior, weights, bounds, strengths), key=val_error)


def cross_identify(
    folds: Sequence[NormalEquations], prior: Tensor, bounds: Bounds
) -> tuple[DynamicParameters, list[DynamicParameters], Tensor]:
    """Identify with the strength of the prior that has the lowest error in cross-validation.

    Args:
        folds: normal equations of each fold.
        prior: inertial parameters of the URDF (10 n,).
        bounds: what is known beforehand.

    Returns:
        Parameters of all folds, parameters without each fold, and the mean squared error (n,) on
        the held-out folds.
    """
    strengths = STRENGTHS[1::2]
    total = sum_normal_equations(folds)
    training_parts = [
        sum_normal_equations([*folds[:k], *folds[k + 1 :]]) for k in range(len(folds))
    ]
    candidates = [
        [identify(part, part, prior, bounds, (strength,)) for part in training_parts]
        for strength in strengths
    ]
    fraction = torch.tensor([fold.num_rows / total.num_rows for fold in folds]).to(prior)
    errors = torch.stack(
        [torch.stack(list(map(mean_squared_error, folds, row))).T @ fraction for row in candidates]
    )  # (strengths, n)
    # the lower bound keeps rounding errors of noise-free data from deciding
    floor = MIN_RELATIVE_ERROR * total.target_power / total.num_rows
    errors = torch.maximum(errors, floor.clamp_min(torch.finfo(prior.dtype).tiny))
    best = int((errors / errors.min(0).values).sum(1).argmin())
    final = identify(total, total, prior, bounds, (strengths[best],))
    return final, candidates[best], errors[best]


def total_equations(
    data: NormalEquations, compliance: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the normal equations (m, m) and (m,) of all joints at a given compliance.

    The m = 14 n parameters are the inertial ones and the four of friction of each joint.

    Args:
        data: normal equations.
        compliance: (n,).
        weights: of the joints (n,).
    """
    n = len(weights)
    k = data.moment.shape[1] - NUM_FRICTION_TERMS
    width = k + n * NUM_FRICTION_TERMS
    H, g = data.gram.new_zeros(width, width), data.gram.new_zeros(width)
    for j in range(n):
        index = torch.cat(
            [torch.arange(k), k + NUM_FRICTION_TERMS * j + torch.arange(NUM_FRICTION_TERMS)]
        ).to(H.device)
        columns = torch.cat([compliance[j].expand(k), compliance.new_ones(NUM_FRICTION_TERMS)])
        H[index[:, None], index] += weights[j] * columns[:, None] * data.gram[j] * columns
        g[index] += weights[j] * columns * data.moment[j]
    return H, g


def prior_coordinates(data: NormalEquations, prior: Tensor, bounds: Bounds) -> Coordinates:
    """Return coordinates in which the prior has unit scale, that of friction relative to the data.

    Args:
        data: normal equations.
        prior: inertial parameters of the URDF (10 n,).
        bounds: what is known beforehand.
    """
    power = data.gram.diagonal(dim1=-2, dim2=-1)[:, len(prior) :]  # (n, 4)
    observable = power > MIN_RELATIVE_DIAGONAL * power.max()
    scale = (data.target_power[:, None] / torch.where(observable, power, 1.0)).sqrt()
    scale = FRICTION_SCALE * torch.where(observable, scale, 0.0)
    positive = np.full(scale.shape, bounds.brakes)
    positive[:, OFFSET] = False
    inertial = prior.view(-1, 10).double().cpu().numpy()
    friction_scale = scale.double().cpu().numpy()
    return scaled_coordinates(inertial, friction_scale.ravel(), positive.ravel())


def _solve_ridge(
    data: NormalEquations,
    start: DynamicParameters,
    prior: Tensor,
    weights: Tensor,
    ridges: Sequence[float],
) -> list[DynamicParameters]:
    """Solve for inertia and friction without bounds at given compliance, once for each ridge.

    Args:
        data: normal equations.
        start: parameters with the given compliance.
        prior: inertial parameters of the URDF (10 n,).
        weights: of the joints (n,).
        ridges: strengths of a ridge towards the URDF's inertia and zero friction.
    """
    k, n = len(prior), len(weights)
    H, g = total_equations(data, start.compliance, weights)
    x0 = torch.cat([prior, prior.new_zeros(n * NUM_FRICTION_TERMS)])
    diagonal = H.diagonal()
    observable = diagonal > MIN_RELATIVE_DIAGONAL * diagonal.max()
    D = torch.where(observable, diagonal.rsqrt(), 0.0)  # 0: the parameter keeps its prior value
    values, U = torch.linalg.eigh(D[:, None] * H * D)
    projected = U.T @ (D * (g - H @ x0))
    solutions = []
    for ridge in ridges:
        x = x0 + D * (U @ (projected / (values.clamp_min(0.0) + ridge)))
        solutions.append(
            DynamicParameters(x[:k], x[k:].view(n, NUM_FRICTION_TERMS), start.compliance)
        )
    return solutions


def _solve_physical(
    data: NormalEquations,
    start: DynamicParameters,
    prior: Tensor,
    weights: Tensor,
    bounds: Bounds,
    strengths: Sequence[float],
) -> list[DynamicParameters]:
    """Solve for physical inertia and friction at given compliance, once for each strength.

    Args:
        data: normal equations.
        start: parameters with the given compliance.
        prior: inertial parameters of the URDF (10 n,).
        weights: of the joints (n,).
        bounds: what is known beforehand.
        strengths: of the prior.
    """
    k, n = len(prior), len(weights)
    H, g = total_equations(data, start.compliance, weights)
    coordinates = prior_coordinates(data, prior, bounds)
    solutions = solve_physical(
        H.double().cpu().numpy(), g.double().cpu().numpy(), coordinates, strengths
    )
    rows = [torch.from_numpy(z).to(prior) for z in solutions]
    return [
        DynamicParameters(z[:k], z[k:].view(n, NUM_FRICTION_TERMS), start.compliance) for z in rows
    ]


def _with_compliance(data: NormalEquations, start: DynamicParameters) -> DynamicParameters:
    """Solve for compliance and friction of each joint at given inertia."""
    T = torch.block_diag(
        start.inertial[:, None], torch.eye(NUM_FRICTION_TERMS).to(start.inertial)
    )  # (m, 5)
    H, g = T.T @ data.gram @ T, data.moment @ T
    D = H.diagonal(dim1=-2, dim2=-1)
    D = torch.where(D > 0, D, torch.ones_like(D)).rsqrt()
    # without gravity, inertia and rotor inertia of a joint are indistinguishable
    ridge = 1e-9 * torch.eye(H.shape[-1]).to(H)
    x = D * torch.linalg.solve(D[:, :, None] * H * D[:, None, :] + ridge, D * g)
    compliance = x[:, 0].clamp_min(MIN_COMPLIANCE * x[:, 0].max().clamp_min(1e-9))
    return DynamicParameters(start.inertial, x[:, 1:], compliance)
