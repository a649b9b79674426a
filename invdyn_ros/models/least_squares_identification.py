"""Least-squares identification of inertia, friction and compliance.

The target of joint j is linear in its parameters, except for one product:

    y_j = c_j Y_j(q, qd, qdd) theta + phi_j . [qd_j, tanh(qd_j / v), 1, qdd_j]

with theta (10 n,) the inertial parameters, phi_j viscous and Coulomb friction, offset and rotor
inertia, and c_j the target per unit of torque: 1 for torques, 1 / stiffness for the offset of a
servo, 1 / gain for a current.
All functions below use the sums Y'Y, Y'y and y'y, so one pass over the data is enough.
Atkeson, An, Hollerbach 1986; Swevers, Verdonck, De Schutter, doi 10.1109/MCS.2007.904659.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree

RIDGES = tuple(10.0**k for k in range(-13, -1))  # of normal equations with unit diagonal
MIN_RELATIVE_DIAGONAL = 1e-16  # of the largest diagonal entry; smaller ones are rounding errors
STICTION_WEIGHT = 0.01  # weight of a joint that may stick; others have weight 1
MIN_RELATIVE_ERROR = 1e-12  # lower bound of the mean squared error, relative to the target's power
CHUNK_SIZE = 4096  # rows per pass, to bound memory


class NormalEquations(NamedTuple):
    """Sums over rows, per joint, with m = 10 n + 4 columns."""

    gram: Tensor  # (n, m, m)
    moment: Tensor  # (n, m)
    target_power: Tensor  # (n,)
    num_rows: int


class DynamicParameters(NamedTuple):
    """Identified parameters."""

    inertial: Tensor  # (10 n,)
    friction: Tensor  # (n, 4)
    compliance: Tensor  # (n,)


def smooth_sign(
    qd: Tensor, qdd: Tensor, coulomb_velocity: float, filter_time: Tensor | float = 0.0
) -> Tensor:
    """Return the smooth sign (..., n) of the velocities, from -1 to 1.

    A recorded effort is often low-pass filtered, so that at every reversal Coulomb friction
    changes sign over the same time `filter_time` [s]. At the acceleration qdd this corresponds to
    the velocity filter_time qdd.

    Args:
        qd: (..., n) [rad/s].
        qdd: (..., n) [rad/s2].
        coulomb_velocity: [rad/s] at which Coulomb friction is fully developed.
        filter_time: [s], for all joints or (n,).
    """
    return torch.tanh(qd / torch.sqrt(coulomb_velocity**2 + (filter_time * qdd) ** 2))


def friction_terms(
    qd: Tensor, qdd: Tensor, coulomb_velocity: float, filter_time: Tensor | float = 0.0
) -> Tensor:
    """Return [qd, smooth sign, 1, qdd] (..., n, 4).

    Args:
        qd: (..., n) [rad/s].
        qdd: (..., n) [rad/s2].
        coulomb_velocity: [rad/s] at which Coulomb friction is fully developed.
        filter_time: [s], for all joints or (n,).
    """
    return torch.stack(
        [qd, smooth_sign(qd, qdd, coulomb_velocity, filter_time), torch.ones_like(qd), qdd], dim=-1
    )


def normal_equations(
    tree: RigidBodyTree,
    motion: Tensor,
    target: Tensor,
    coulomb_velocity: float,
    min_velocity: float = 0.0,
    filter_time: Tensor | float = 0.0,
) -> NormalEquations:
    """Return the normal equations of motion (N, 3n) and target (N, n).

    Args:
        tree: the arm.
        motion: [q, qd, qdd] (N, 3n).
        target: (N, n).
        coulomb_velocity: velocity [rad/s] at which Coulomb friction is fully developed.
        min_velocity: joints slower than this [rad/s] have little weight: a joint that sticks holds
            any torque up to its friction, so its motion does not determine its torque.
        filter_time: time [s] over which friction changes sign at a reversal, for all joints or
            (n,).
    """
    n, m = target.shape[-1], 10 * target.shape[-1] + NUM_FRICTION_TERMS
    gram, moment, power = target.new_zeros(n, m, m), target.new_zeros(n, m), target.new_zeros(n)
    for rows, y in zip(motion.split(CHUNK_SIZE), target.split(CHUNK_SIZE), strict=True):
        q, qd, qdd = rows.split(n, dim=-1)
        friction = friction_terms(qd, qdd, coulomb_velocity, filter_time)
        columns = torch.cat([tree.regressor(q, qd, qdd), friction], dim=-1)
        weight = row_weight(qd, min_velocity)
        A = (columns * weight[..., None]).transpose(0, 1)  # (n, rows, m)
        y = y * weight
        gram += A.mT @ A
        moment += (A.mT @ y.T.unsqueeze(-1)).squeeze(-1)
        power += (y * y).sum(0)
    return NormalEquations(gram, moment, power, len(target))


def row_weight(qd: Tensor, min_velocity: float) -> Tensor:
    """Return the weight of a row for each joint (..., n)."""
    return torch.where(qd.abs() >= min_velocity, 1.0, STICTION_WEIGHT).to(qd)


def sum_normal_equations(parts: Sequence[NormalEquations]) -> NormalEquations:
    """Return the normal equations of several parts of the data together."""
    gram, moment, power = (
        torch.stack([part[i] for part in parts]).sum(0)  # type: ignore[misc]
        for i in range(3)
    )
    return NormalEquations(gram, moment, power, sum(part.num_rows for part in parts))


def mean_squared_error(data: NormalEquations, parameters: DynamicParameters) -> Tensor:
    """Return the mean squared error per joint (n,)."""
    x = torch.cat(
        [parameters.compliance[:, None] * parameters.inertial, parameters.friction], dim=-1
    )  # (n, m)
    quadratic = torch.einsum("jm,jmk,jk->j", x, data.gram, x)
    return (
        (data.target_power - 2 * (x * data.moment).sum(-1) + quadratic) / data.num_rows
    ).clamp_min(0.0)


def identify(
    train: NormalEquations,
    val: NormalEquations,
    prior: Tensor,
    is_torque: bool,
    ridges: Sequence[float] = RIDGES,
) -> DynamicParameters:
    """Identify all parameters, with a ridge towards the URDF's inertia and zero friction.

    Many parameters do not affect the torque (only base parameters do); the ridge keeps those at
    the URDF's values. Its strength is the one with the lowest error on `val`. Joints are weighted
    by the inverse of their noise variance.

    Args:
        train: normal equations of the training data.
        val: normal equations of the validation data.
        prior: inertial parameters of the URDF (10 n,).
        is_torque: whether the target is the torque, so that compliance is 1.
        ridges: candidate strengths.
    """
    start = DynamicParameters(
        prior, torch.zeros_like(train.moment[:, len(prior) :]), torch.ones_like(train.target_power)
    )
    if not is_torque:
        start = _with_compliance(train, start)
    target_power = (train.target_power / train.num_rows).clamp_min(1e-30)
    weights = 1 / target_power
    best = start
    for _ in range(2 if is_torque else 6):
        candidates = _solve_ridge(train, best, prior, weights, ridges)
        best = min(
            candidates,
            key=lambda candidate: float((weights * mean_squared_error(val, candidate)).sum()),
        )
        if not is_torque:
            best = _with_compliance(train, best)
        # the lower bound keeps one joint of noise-free data from taking all the weight
        weights = 1 / torch.maximum(mean_squared_error(train, best), 1e-6 * target_power)
    return best


def cross_identify(
    folds: Sequence[NormalEquations], prior: Tensor, is_torque: bool
) -> tuple[DynamicParameters, list[DynamicParameters], Tensor]:
    """Identify with the ridge that has the lowest error in cross-validation.

    Args:
        folds: normal equations of each fold.
        prior: inertial parameters of the URDF (10 n,).
        is_torque: whether the target is the torque, so that compliance is 1.

    Returns:
        Parameters of all folds, parameters without each fold, and the mean squared error (n,) on
        the held-out folds.
    """
    ridges = RIDGES[1::2]
    total = sum_normal_equations(folds)
    training_parts = [
        sum_normal_equations([*folds[:k], *folds[k + 1 :]]) for k in range(len(folds))
    ]
    candidates = [
        [identify(part, part, prior, is_torque, (ridge,)) for part in training_parts]
        for ridge in ridges
    ]
    fraction = torch.tensor([fold.num_rows / total.num_rows for fold in folds]).to(prior)
    errors = torch.stack(
        [torch.stack(list(map(mean_squared_error, folds, row))).T @ fraction for row in candidates]
    )  # (ridges, n)
    # the lower bound keeps rounding errors of noise-free data from deciding
    floor = MIN_RELATIVE_ERROR * total.target_power / total.num_rows
    errors = torch.maximum(errors, floor.clamp_min(torch.finfo(prior.dtype).tiny))
    best = int((errors / errors.min(0).values).sum(1).argmin())
    final = identify(total, total, prior, is_torque, (ridges[best],))
    return final, candidates[best], errors[best]


def _solve_ridge(
    data: NormalEquations,
    start: DynamicParameters,
    prior: Tensor,
    weights: Tensor,
    ridges: Sequence[float],
) -> list[DynamicParameters]:
    """Solve for inertia and friction at given compliance, once for each ridge.

    Args:
        data: normal equations.
        start: parameters with the given compliance.
        prior: inertial parameters of the URDF (10 n,).
        weights: of the joints (n,).
        ridges: strengths.
    """
    k, n = len(prior), len(weights)
    width = k + n * NUM_FRICTION_TERMS
    H, g = prior.new_zeros(width, width), prior.new_zeros(width)
    x0 = torch.cat([prior, prior.new_zeros(n * NUM_FRICTION_TERMS)])
    for j in range(n):
        index = torch.cat(
            [torch.arange(k), k + NUM_FRICTION_TERMS * j + torch.arange(NUM_FRICTION_TERMS)]
        ).to(prior.device)
        columns = torch.cat([start.compliance[j].expand(k), prior.new_ones(NUM_FRICTION_TERMS)])
        gram = columns[:, None] * data.gram[j] * columns
        H[index[:, None], index] += weights[j] * gram
        g[index] += weights[j] * (columns * data.moment[j] - gram @ x0[index])
    diagonal = H.diagonal()
    observable = diagonal > MIN_RELATIVE_DIAGONAL * diagonal.max()
    D = torch.where(observable, diagonal.rsqrt(), 0.0)  # 0: the parameter keeps its prior value
    values, U = torch.linalg.eigh(D[:, None] * H * D)
    projected = U.T @ (D * g)
    solutions = []
    for ridge in ridges:
        x = x0 + D * (U @ (projected / (values.clamp_min(0.0) + ridge)))
        solutions.append(
            DynamicParameters(x[:k], x[k:].view(n, NUM_FRICTION_TERMS), start.compliance)
        )
    return solutions


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
    return DynamicParameters(start.inertial, x[:, 1:], x[:, 0])
