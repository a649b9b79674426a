"""Dry friction of gears that rises towards standstill (Stribeck) and with the load.

It is the smooth sign of the velocity times

    S exp(-(qd / v_s)^2) + L |torque to the links|

beside Coulomb friction, with S and L not negative (Hamon, Gautier, Garrec 2010).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.data.windows import Windows
from invdyn_ros.models.effort_lag import filter_actions
from invdyn_ros.models.least_squares_identification import (
    DynamicParameters,
    NormalEquations,
    friction_terms,
    sum_normal_equations,
)
from invdyn_ros.models.parameter_identification import identify
from invdyn_ros.typing import Array

if TYPE_CHECKING:
    from invdyn_ros.models.rigid_body import RigidBody

PASSES = 3  # in which inertia and the rise of dry friction settle

MIN_IMPROVEMENT = 0.05  # fraction by which it must lower the error, against overfitting


def gear_friction_terms(qd: Tensor, load: Tensor, stribeck_velocity: float) -> Tensor:
    """Return the terms (..., n, 2) of the rise of dry friction.

    Args:
        qd: (..., n) [rad/s].
        load: (..., n) torque to the links [action unit].
        stribeck_velocity: v_s [rad/s].
    """
    return torch.stack([torch.exp(-((qd / stribeck_velocity) ** 2)), load.abs()], dim=-1)


def fit_gear_friction(columns: Tensor, target: Tensor, weight: Tensor) -> tuple[Array, Array]:
    """Fit S and L (n, 2), and return them with the error, relative to that without (n,).

    Args:
        columns: (rows, n, 6) friction terms, then those of S and L times the smooth sign.
        target: (rows, n) less the torque of the links.
        weight: (rows, n) of the rows.
    """
    from scipy.optimize import lsq_linear  # slow to import

    n = target.shape[-1]
    values, left = np.zeros((n, 2)), np.ones(n)
    w = weight.double().cpu().numpy()
    A, y = (columns.double().cpu().numpy() * w[..., None]), target.double().cpu().numpy() * w
    for j in range(n):
        scale = np.maximum(np.linalg.norm(A[:, j], axis=0), 1e-12)
        lower = np.array([-np.inf] * (A.shape[-1] - 2) + [0.0, 0.0])
        fit = lsq_linear(A[:, j] / scale, y[:, j], (lower, np.inf), method="bvls")
        rest = np.linalg.lstsq(A[:, j, :-2] / scale[:-2], y[:, j], rcond=None)[0]
        error = y[:, j] - A[:, j, :-2] / scale[:-2] @ rest
        values[j] = fit.x[-2:] / scale[-2:]
        left[j] = 2 * fit.cost / max(float(error @ error), 1e-30)
    return values, left


def identify_gear_friction(
    model: RigidBody, train: Windows, val: Windows, prior: Tensor
) -> tuple[DynamicParameters, NormalEquations] | None:
    """Identify a model again with dry friction that rises towards standstill and with the load.

    Args:
        model: identified without it.
        train: training data.
        val: validation data.
        prior: inertial parameters of the URDF (10 n,).

    Returns:
        What was identified, and from which equations; None if `val` is not clearly better, and
        then the model is unchanged.
    """
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    simple, error = model.meta, _row_error(model, val)
    result = None
    for _ in range(PASSES):
        values, left = _fit(model, train)
        if not (left < 1 - MIN_IMPROVEMENT).any():
            break
        model.meta = replace(model.meta, gear_friction=tuple(map(tuple, values.tolist())))
        parts = []
        for part in (train, val):
            friction = filter_actions(model.gear_friction(part.motion), model.meta)
            simpler = part._replace(action=part.action - friction)
            parts.append(model.normal_equations(simpler, model.outlier_weight(part)))
        parameters = identify(parts[0], parts[1], prior, model.bounds)
        model.set_parameters(parameters)
        result = parameters, sum_normal_equations(parts)
    if result is not None:
        ratio = (_row_error(model, val) / error.clamp_min(1e-30)).clamp_min(1e-30).log().mean()
        if ratio.exp() < 1 - MIN_IMPROVEMENT:
            return result
    model.load_state_dict(tensors)
    model.meta = simple
    return None


def _fit(model: RigidBody, data: Windows) -> tuple[Array, Array]:
    """Return S and L (n, 2) for the present inertia, and the relative error (n,)."""
    q, qd, qdd = data.motion.split(model.n, dim=-1)
    load = model.compliance * model.tree.torque(q, qd, qdd)
    coulomb_velocity, filter_time = model.config.coulomb_velocity, model.friction_filter_time
    terms = friction_terms(qd, qdd, coulomb_velocity, filter_time)
    rise = gear_friction_terms(qd, load, model.config.stribeck_velocity)
    columns = torch.cat([terms, rise * terms[..., 1:2], load[..., None]], -1)
    weight = model.row_weight(data) * model.outlier_weight(data)
    target = model.target(data.motion, data.action)
    if model.effort_filter is not None:
        columns = model.effort_filter.columns(columns)
        weight, target = (x[:, model.effort_filter.warmup :] for x in (weight, target))
    columns, target, weight = (x.flatten(0, 1) for x in (columns, target, weight))
    return fit_gear_friction(columns[..., :-1], target - columns[..., -1], weight)


def _row_error(model: RigidBody, data: Windows) -> Tensor:
    """Return the weighted mean squared error per joint (n,)."""
    residual = model.fit_residual(data)
    return (residual.error * residual.weight).square().mean(0)
