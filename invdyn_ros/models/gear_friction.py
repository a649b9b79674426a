"""Dry friction of gears that rises towards standstill (Stribeck) and with the load.

It is the smooth sign of the velocity times

    S exp(-(qd / v_s)^2) + L |torque to the links|

beside Coulomb friction, with 0 <= S <= Coulomb friction and L >= 0 (Hamon, Gautier, Garrec 2010).
Near reversals it looks like the torque of a rotor. So that it does not take the place of its
inertia, which feedback goes through, rotors keep at least the inertia that was identified without
it.
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
)
from invdyn_ros.models.parameter_identification import identify
from invdyn_ros.typing import Array

if TYPE_CHECKING:
    from invdyn_ros.models.rigid_body import RigidBody

PASSES = 3  # in which inertia and the rise of dry friction settle
MIN_IMPROVEMENT = 0.05  # fraction by which it must lower the error, against overfitting
# [rad/s] candidates; slower ones would act on joints that may stick, which have little weight
STRIBECK_VELOCITIES = tuple(np.geomspace(0.06, 0.6, 7))
FINER = np.geomspace(0.75, 1.33, 9)  # factors of the best of them
LOWEST = (-np.inf, 0.0, -np.inf, -np.inf, 0.0, 0.0)  # of the friction terms, L and S
ROTOR_INERTIA = 3  # index of the friction term


def gear_friction_rise(gear_friction: Tensor, qd: Tensor, load: Tensor) -> Tensor:
    """Return the rise (..., n) of dry friction [action unit].

    Args:
        gear_friction: (n, 3) S, L and v_s.
        qd: (..., n) [rad/s].
        load: (..., n) torque to the links [action unit].
    """
    stribeck, load_friction, velocity = gear_friction.unbind(-1)
    return stribeck * torch.exp(-((qd / velocity) ** 2)) + load_friction * load.abs()


def identify_gear_friction(
    model: RigidBody, parameters: DynamicParameters, train: Windows, val: Windows, prior: Tensor
) -> DynamicParameters:
    """Identify a model again with dry friction that rises towards standstill and with the load.

    Args:
        model: the model.
        parameters: its parameters, identified without it.
        train: training data.
        val: validation data.
        prior: inertial parameters of the URDF (10 n,).

    Returns:
        Parameters of the model; the given ones if `val` is not clearly better with others.
    """
    simple, without, error = model.meta, parameters, _row_error(model, val)
    rotor = torch.zeros_like(parameters.friction)
    rotor[:, ROTOR_INERTIA] = parameters.friction[:, ROTOR_INERTIA]
    free = model.bounds._replace(physical=False)  # fast; only the last pass needs the bounds
    for bounds in (*[free] * (PASSES - 1), model.bounds):
        gear_friction = tuple(map(tuple, _fit(model, train).tolist()))
        model.meta = replace(simple, gear_friction=gear_friction)
        train_equations, val_equations = (_equations(model, x, rotor) for x in (train, val))
        parameters = identify(train_equations, val_equations, prior, bounds)
        parameters = parameters._replace(friction=parameters.friction + rotor)
        model.set_parameters(parameters)
        ratio = (_row_error(model, val) / error.clamp_min(1e-30)).clamp_min(1e-30).log().mean()
        if ratio.exp() >= 1 - MIN_IMPROVEMENT:
            model.meta = simple
            model.set_parameters(without)
            return without
    return parameters


def _equations(model: RigidBody, data: Windows, rotor: Tensor) -> NormalEquations:
    """Return normal equations of what friction of gears and the least rotors do not explain.

    Args:
        model: has the friction of gears.
        data: recordings.
        rotor: (n, 4) friction terms, of which only the inertia of the rotors is not zero.
    """
    qdd = data.motion[..., 2 * model.n :]
    explained = model.gear_friction(data.motion) + rotor[:, ROTOR_INERTIA] * qdd
    rest = data._replace(action=data.action - filter_actions(explained, model.meta))
    return model.normal_equations(rest, model.outlier_weight(data))


def _fit(model: RigidBody, data: Windows) -> Array:
    """Return S, L and v_s (n, 3) at the inertia of a model, fitted with all friction."""
    velocities = np.tile(STRIBECK_VELOCITIES, (model.n, 1))  # (n, K)
    coarse = _fit_velocities(model, data, velocities)
    low, high = STRIBECK_VELOCITIES[0], STRIBECK_VELOCITIES[-1]
    return _fit_velocities(model, data, np.clip(coarse[:, 2:] * FINER, low, high))


def _fit_velocities(model: RigidBody, data: Windows, velocities: Array) -> Array:
    """Return S, L and v_s (n, 3) with the best of some v_s (n, K) [rad/s]."""
    q, qd, qdd = data.motion.split(model.n, dim=-1)
    load = model.compliance * model.tree.torque(q, qd, qdd)
    coulomb_velocity, filter_time = model.config.coulomb_velocity, model.friction_filter_time
    terms = friction_terms(qd, qdd, coulomb_velocity, filter_time)
    sign = terms[..., 1]
    # 1 + exp: what is left of Coulomb friction is not negative either
    rises = [(1 + torch.exp(-((qd / v) ** 2))) * sign for v in qd.new_tensor(velocities).T]
    columns = torch.stack([*terms.unbind(-1), load.abs() * sign, *rises, load], -1)
    weight = model.row_weight(data) * model.outlier_weight(data)
    target = model.target(data.motion, data.action)
    if model.effort_filter is not None:
        columns = model.effort_filter.columns(columns)
        weight, target = (x[:, model.effort_filter.warmup :] for x in (weight, target))
    A = torch.cat([columns[..., :-1], (target - columns[..., -1])[..., None]], -1)
    A = (A * weight[..., None]).flatten(0, 1).double()
    grams = torch.einsum("nja,njb->jab", A, A).cpu().numpy()
    return np.stack([_fit_joint(*joint) for joint in zip(grams, velocities, strict=True)])


def _fit_joint(gram: Array, velocities: Array) -> Array:
    """Return S, L and v_s of a joint with the smallest error.

    Args:
        gram: products of the columns: four friction terms, load, one for each velocity, target.
        velocities: (K,) [rad/s].
    """
    from scipy.optimize import lsq_linear  # slow to import

    scale = np.sqrt(np.maximum(gram.diagonal(), 1e-24))
    gram = gram / np.outer(scale, scale) + 1e-12 * np.eye(len(gram))
    root = np.linalg.cholesky(gram).T  # of columns with the same products
    fits = []
    for k, velocity in enumerate(velocities):
        used = [*range(5), 5 + k]
        fit = lsq_linear(root[:, used], root[:, -1], (LOWEST, np.inf), method="bvls")
        load_friction, stribeck = fit.x[4:] * scale[-1] / scale[used[4:]]
        fits.append((fit.cost, stribeck, load_friction, velocity))
    return np.array(min(fits)[1:])


def _row_error(model: RigidBody, data: Windows) -> Tensor:
    """Return the weighted mean squared error per joint (n,)."""
    residual = model.fit_residual(data)
    return (residual.error * residual.weight).square().mean(0)
