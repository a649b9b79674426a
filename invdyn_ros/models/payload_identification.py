"""Identification of a payload from two recordings of one arm, without it and with it.

Both recordings share the inertial parameters theta of the arm, offsets and rotor inertias; the
payload adds its ten parameters p to those of the link that carries it. Viscous and Coulomb
friction may differ, since they change with load and temperature:

    tau_without = Y theta + friction,    tau_with = Y (theta + E p) + friction'

Least squares over all of them, less what is not of interest (a Schur complement), leaves normal
equations for p alone. Atkeson, An, Hollerbach 1986, doi 10.1177/027836498600500306.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.config import from_mapping
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.base_parameters import BaseParameters, find_base_parameters
from invdyn_ros.models.identification_report import Z95
from invdyn_ros.models.least_squares_identification import DynamicParameters
from invdyn_ros.models.parameter_identification import total_equations
from invdyn_ros.models.physical_parameters import (
    physical_prior,
    pseudo_inertias,
    scaled_coordinates,
    solve_physical,
)
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS
from invdyn_ros.robots.multibody_tree import inertial_parameters
from invdyn_ros.robots.payload import Payload, carrying_joint
from invdyn_ros.typing import Array

PASSES = 4  # in which noise and weights of outliers settle
PRIOR_RADIUS = 0.05  # [m] of gyration of the payload, where the motion shows no inertia
MIN_RELATIVE_NOISE = 1e-10  # of the variance of the noise, relative to the target's power
ROUNDING = 1e-12  # relative eigenvalue of parameters that the data do not show
COMMON_TERMS = (2, 3)  # offset and rotor inertia, the friction terms that do not change
DERIVATIVE_STEP = 1e-6  # relative


class PayloadEstimate(NamedTuple):
    """Parameters of the payload in the frame of the joint that carries it."""

    value: Array  # (10,)
    covariance: Array  # (10, 10)


def identify_payload(model: RigidBody, without: Windows, loaded: Windows, link: str) -> Payload:
    """Identify a payload; see the module.

    Args:
        model: the arm, with the timing of the actions.
        without: recording without payload.
        loaded: recording with it.
        link: link that carries it, in whose frame the result is.

    Raises:
        ValueError: the second recording has not more mass than the first.
    """
    joint, T = carrying_joint(model.meta.urdf, model.meta.joint_names, link)
    estimate = _estimate(model, (without, loaded), joint)
    to_link = _transformation(np.asarray(np.linalg.inv(T), float))
    value, covariance = to_link @ estimate.value, to_link @ estimate.covariance @ to_link.T
    mass, std = float(value[0]), float(np.sqrt(covariance[0, 0]))
    if not mass > Z95 * std:
        raise ValueError(
            f"the payload has {mass:.3g} +- {Z95 * std:.2g} kg, so no mass was added; is --with "
            "the recording with it, and does the motion tilt the wrist?"
        )
    deviations = np.sqrt(np.diag(_derivative(value) @ covariance @ _derivative(value).T))
    intervals = (_body(value) + Z95 * np.outer((-1, 1), deviations)).T.tolist()
    mass, *center_and_moments = _body(_physical(value, covariance)).tolist()
    inertia = np.zeros((3, 3))
    inertia[np.triu_indices(3)] = center_and_moments[3:]
    inertia += np.triu(inertia, 1).T
    values = {
        "link": link,
        "mass": mass,
        "center": center_and_moments[:3],
        "inertia": inertia.tolist(),
        "mass_ci95": intervals[0],
        "center_ci95": intervals[1:4],
        "inertia_ci95": intervals[4:],
    }
    return from_mapping(Payload, values, "the identified payload")


def _estimate(
    model: RigidBody, recordings: tuple[Windows, Windows], joint: int
) -> PayloadEstimate:
    """Return the payload at a joint by least squares without bounds.

    The model has the parameters of the arm with payload afterwards.
    """
    n, joint_names = model.n, model.meta.joint_names
    maps = _parameter_maps(find_base_parameters(model.tree, joint_names), n, joint)
    one = torch.ones(n, dtype=model.dtype)
    powers = [model.target(r.motion, r.action).square().flatten(0, 1).mean(0) for r in recordings]
    variances = powers = [power.clamp_min(1e-30) for power in powers]
    weights: list[Tensor | None] = [None, None]
    for _ in range(PASSES):
        H, g = np.zeros((maps[0].shape[1],) * 2), np.zeros(maps[0].shape[1])
        for data, weight, variance, M in zip(recordings, weights, variances, maps, strict=True):
            equations = model.normal_equations(data, weight)
            A, b = total_equations(equations, one, 1 / variance)
            H, g = H + M.T @ A.numpy() @ M, g + M.T @ b.numpy()
        x = _solve(H, g)
        variances, weights = [], []
        for data, power, M in zip(recordings, powers, maps, strict=True):
            z = torch.from_numpy(M @ x)
            friction = z[10 * n :].view(n, NUM_FRICTION_TERMS)
            model.set_parameters(DynamicParameters(z[: 10 * n], friction, one))
            noise, times = model.fit_residual(data).noise(len(x) // 2)
            variance = torch.from_numpy(noise * times)
            variances.append(torch.maximum(variance, MIN_RELATIVE_NOISE * power))
            weights.append(model.outlier_weight(data))
    return _marginal(H, x)


def _parameter_maps(base: BaseParameters, n: int, joint: int) -> tuple[Array, Array]:
    """Return the matrices (14 n, m) from the unknowns to the parameters without and with payload.

    The unknowns are the base parameters, changes of friction and the ten of the payload.

    Args:
        base: of the arm.
        n: number of joints.
        joint: index of the joint that carries the payload.
    """
    common = np.eye(14 * n)[:, base.leading]
    changing = [
        10 * n + NUM_FRICTION_TERMS * j + term
        for j in range(n)
        for term in range(NUM_FRICTION_TERMS)
        if term not in COMMON_TERMS
    ]
    change, payload = np.eye(14 * n)[:, changing], np.eye(14 * n)[:, 10 * joint :][:, :10]
    added = np.hstack([change, payload])
    return np.hstack([common, np.zeros_like(added)]), np.hstack([common, added])


def _solve(H: Array, g: Array) -> Array:
    """Solve normal equations (m, m) and (m,); what they do not determine is zero."""
    D = 1 / np.sqrt(np.maximum(H.diagonal(), np.finfo(float).tiny))
    values, U = np.linalg.eigh(D[:, None] * H * D)
    observable = values > ROUNDING * values[-1]
    return D * (U[:, observable] @ ((U[:, observable].T @ (D * g)) / values[observable]))


def _marginal(H: Array, x: Array) -> PayloadEstimate:
    """Return value and covariance of the last ten unknowns x (m,) with information H (m, m)."""
    D = 1 / np.sqrt(np.maximum(H.diagonal(), np.finfo(float).tiny))
    values, U = np.linalg.eigh(D[:, None] * H * D)
    root = (D[:, None] * U)[-10:] / np.sqrt(np.maximum(values, ROUNDING * values[-1]))
    return PayloadEstimate(x[-10:], root @ root.T)


def _physical(value: Array, covariance: Array) -> Array:
    """Return the parameters (10,) of the likeliest body, given an estimate without bounds.

    Args:
        value: (10,).
        covariance: (10, 10).
    """
    mass, center = value[0], value[1:4] / value[0]
    P = mass * np.outer(*[np.append(center, 1.0)] * 2)
    P[:3, :3] += mass * PRIOR_RADIUS**2 / 3 * np.eye(3)
    prior = physical_prior(inertial_parameters(P)[None])
    coordinates = scaled_coordinates(prior, np.zeros(0), np.zeros(0, bool))
    information = np.asarray(np.linalg.inv(covariance), float)
    scale = float(np.trace(coordinates.T.T @ information @ coordinates.T)) / len(value)
    (result,) = solve_physical(information, information @ value, coordinates, (1 / scale,))
    return result


def _body(value: Array) -> Array:
    """Return mass, centre and inertia about it (10,) of inertial parameters (10,)."""
    P = pseudo_inertias(value[None])[0]
    center = value[1:4] / value[0]
    P[:3, :3] -= value[0] * np.outer(center, center)
    return np.concatenate([value[:1], center, inertial_parameters(P)[4:]])


def _derivative(value: Array) -> Array:
    """Return the derivative (10, 10) of `_body`."""
    steps = DERIVATIVE_STEP * value[0] * np.eye(10)
    columns = [_body(value + step) - _body(value - step) for step in steps]
    return np.stack(columns, 1) / (2 * DERIVATIVE_STEP * value[0])


def _transformation(T: Array) -> Array:
    """Return the matrix (10, 10) that moves inertial parameters by a pose (4, 4)."""
    columns = [inertial_parameters(T @ P @ T.T) for P in pseudo_inertias(np.eye(10))]
    return np.stack(columns, 1)
