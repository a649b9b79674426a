"""Normal equations of the identification of inertia, friction and compliance.

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

from invdyn_ros.models.effort_lag import EffortFilter
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree

STICTION_WEIGHT = 0.01  # weight of a joint that may stick; others have weight 1
HUBER_LIMIT = 3.0  # robust standard deviations up to which an error counts in full
MIN_OUTLIER = 0.02  # of the standard deviation of the target; smaller errors are none
MAD_TO_STD = 1.4826  # of normal errors
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
    effort_filter: EffortFilter | None = None,
    weight: Tensor | None = None,
) -> NormalEquations:
    """Return the normal equations of motion (N, T, 3n) and target (N, T, n).

    Args:
        tree: the arm.
        motion: [q, qd, qdd] (N, T, 3n), N windows of T successive frames.
        target: (N, T, n).
        coulomb_velocity: velocity [rad/s] at which Coulomb friction is fully developed.
        min_velocity: joints slower than this [rad/s] have little weight: a joint that sticks holds
            any torque up to its friction, so its motion does not determine its torque.
        filter_time: time [s] over which friction changes sign at a reversal, for all joints or
            (n,).
        effort_filter: low-pass filter of the recorded target; None: none. Its first frames in
            each window are left out.
        weight: (N, T, n) of the rows beside that of slow joints, see `huber_weight`; None: 1.
    """
    n, m = target.shape[-1], 10 * target.shape[-1] + NUM_FRICTION_TERMS
    gram, moment, power = target.new_zeros(n, m, m), target.new_zeros(n, m), target.new_zeros(n)
    size, num_rows = max(CHUNK_SIZE // motion.shape[1], 1), 0
    factors = torch.ones_like(target) if weight is None else weight
    for rows, y, factor in zip(*(x.split(size) for x in (motion, target, factors)), strict=True):
        q, qd, qdd = rows.split(n, dim=-1)
        friction = friction_terms(qd, qdd, coulomb_velocity, filter_time)
        columns = torch.cat([tree.regressor(q, qd, qdd), friction], dim=-1)
        w = row_weight(qd, min_velocity) * factor
        if effort_filter is not None:
            columns = effort_filter.columns(columns)
            w, y = (x[:, effort_filter.warmup :] for x in (w, y))
        A = (columns * w[..., None]).flatten(0, 1).transpose(0, 1)  # (n, rows, m)
        y = (y * w).flatten(0, 1)
        gram += A.mT @ A
        moment += (A.mT @ y.T.unsqueeze(-1)).squeeze(-1)
        power += (y * y).sum(0)
        num_rows += len(y)
    return NormalEquations(gram, moment, power, num_rows)


def row_weight(qd: Tensor, min_velocity: float) -> Tensor:
    """Return the weight of a row for each joint (..., n)."""
    return torch.where(qd.abs() >= min_velocity, 1.0, STICTION_WEIGHT).to(qd)


def huber_weight(error: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Return factors (..., n) of rows, from 0 to 1, that bound the effect of outliers.

    Errors up to HUBER_LIMIT robust standard deviations of their joint count in full, larger ones
    as if they were that large (Huber 1964, doi 10.1214/aoms/1177703732).

    Args:
        error: of a fit (..., n).
        weight: of the rows (..., n); the standard deviation is that of rows with weight 1.
        target: (..., n) that was fitted.
    """
    factor, least = torch.ones_like(error), MIN_OUTLIER * target.flatten(0, -2).std(0)
    for j in range(error.shape[-1]):
        size = error[..., j].abs()
        full = size[weight[..., j] >= 1]
        limit = HUBER_LIMIT * MAD_TO_STD * (full if len(full) else size).median()
        limit = torch.maximum(limit, least[j])
        if limit > 0:
            factor[..., j] = (limit / size.clamp_min(float(limit))).sqrt()
    return factor


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
