"""Least squares over physical parameters: inertias of real bodies, friction that brakes.

Ten inertial parameters are those of a body if and only if its pseudo-inertia P (4, 4) is positive
definite (Wensing, Kim, Slotine 2018, doi 10.1109/LRA.2017.2729659). With Q the pseudo-inertia of
the URDF and s the scale of a friction term f, the fit minimises the convex function

    x' H x / 2 - g' x + strength (sum of D(P_k, Q_k) over the links + sum of d(f, s))
    D(P, Q) = tr(Q^-1 P) - log det(Q^-1 P) - 4,    d(f, s) = f / s - log(f / s) - 1

The log-determinant divergence D does not depend on frames or units, keeps what the data do not
determine at the URDF's values, and is infinite where P is singular (Lee, Wensing, Park 2020,
doi 10.1109/TRO.2019.2926491). Newton's method finds the one minimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from invdyn_ros.robots.rigid_body_dynamics import PSEUDO_INERTIA_BASIS
from invdyn_ros.typing import Array, Mask

MIN_EIGENVALUE = 1e-4  # of P, relative to Q
MIN_MASS = 1e-3  # [kg] of a link of the prior
MIN_RADIUS = 2e-3  # [m] of gyration of a link of the prior
FRICTION_SCALE = 0.1  # prior of a friction term, relative to the target it could explain alone
START, STEP = 1e-2, 1e-2  # first strength of a path of solutions, and the ratio of the next
MAX_ITERATIONS = 100
TOLERANCE = 1e-3  # of the Newton decrement, relative to the strength
ROUNDING = 1e-15  # of the minimised function
ARMIJO, MIN_STEP_SIZE = 1e-4, 1e-6
INTERIOR = 1e-12  # relative distance from the bounds at which rounding errors begin

_UPPER = np.triu_indices(4)
_INERTIAL_OF_PSEUDO = np.linalg.pinv(PSEUDO_INERTIA_BASIS)  # (16, 10)


def _symmetric_basis() -> Array:
    """Return an orthonormal basis (10, 4, 4) of the symmetric matrices."""
    basis = np.zeros((10, 4, 4))
    for a, (i, j) in enumerate(zip(*_UPPER, strict=True)):
        basis[a, i, j] = basis[a, j, i] = 1.0 if i == j else np.sqrt(0.5)
    return basis


_BASIS = _symmetric_basis()
_TRACE = np.trace(_BASIS, axis1=1, axis2=2)


class Coordinates(NamedTuple):
    """Scaled coordinates x of the parameters z = z0 + T x; the prior is x = 0.

    The first 10 n are those of X in P = L (1 + X) L', with L L' = Q; the others those of friction.
    """

    z0: Array  # (m,)
    T: Array  # (m, m)
    num_links: int
    positive: Mask  # (m - 10 n,) whether a friction term is positive


def pseudo_inertias(inertial: Array) -> Array:
    """Return the pseudo-inertias (n, 4, 4) of inertial parameters (n, 10)."""
    return (inertial @ PSEUDO_INERTIA_BASIS).reshape(-1, 4, 4)


def physical_prior(inertial: Array) -> Array:
    """Return inertial parameters (n, 10) with a mass and an extent; others remain as they are."""
    P = pseudo_inertias(inertial)
    mass = np.maximum(P[:, 3, 3], MIN_MASS)
    first = P[:, :3, 3]
    central = P[:, :3, :3] - first[:, :, None] * first[:, None, :] / mass[:, None, None]
    moments, axes = np.linalg.eigh(central)
    moments = np.maximum(moments, MIN_RADIUS**2 * mass[:, None])
    P = P.copy()
    P[:, 3, 3] = mass
    P[:, :3, :3] = (axes * moments[:, None]) @ axes.transpose(0, 2, 1)
    P[:, :3, :3] += first[:, :, None] * first[:, None, :] / mass[:, None, None]
    return np.asarray(P.reshape(-1, 16) @ _INERTIAL_OF_PSEUDO)


def scaled_coordinates(inertial: Array, friction_scale: Array, positive: Mask) -> Coordinates:
    """Return coordinates around the parameters of a URDF.

    Args:
        inertial: (n, 10) of the URDF.
        friction_scale: (k,) scale of each friction term; 0: the term is zero.
        positive: (k,) whether it must not be negative.
    """
    prior = physical_prior(inertial)
    n, k = len(prior), len(friction_scale)
    L = np.linalg.cholesky(pseudo_inertias(prior))  # (n, 4, 4)
    changes = L[:, None] @ _BASIS @ L.transpose(0, 2, 1)[:, None]  # (n, 10, 4, 4)
    columns = changes.reshape(n, 10, 16) @ _INERTIAL_OF_PSEUDO  # (n, coordinate, parameter)
    T = np.zeros((10 * n + k, 10 * n + k))
    for i, block in enumerate(columns):
        T[10 * i : 10 * i + 10, 10 * i : 10 * i + 10] = block.T
    friction = np.arange(10 * n, 10 * n + k)
    T[friction, friction] = friction_scale
    z0 = np.concatenate([prior.ravel(), np.where(positive, friction_scale, 0.0)])
    return Coordinates(z0, T, n, positive)


def solve_physical(
    H: Array, g: Array, coordinates: Coordinates, strengths: Sequence[float]
) -> list[Array]:
    """Return the physical parameters z (m,) of least z' H z / 2 - g' z, for each strength.

    Args:
        H: (m, m) of the parameters.
        g: (m,).
        coordinates: of the parameters.
        strengths: of the prior, relative to the mean curvature of the data.
    """
    z0, T = coordinates.z0, coordinates.T
    A, b = T.T @ H @ T, T.T @ (g - H @ z0)
    scale = max(float(np.trace(A)) / len(A), np.finfo(float).tiny)
    A, b = A / scale, b / scale
    solutions = {}
    x, strength = np.zeros(len(b)), START
    for goal in sorted(strengths, reverse=True):
        while strength > goal / STEP:
            x = _newton(A, b, coordinates, strength, x)
            strength *= STEP
        x = solutions[goal] = _newton(A, b, coordinates, goal, x)
    return [z0 + T @ solutions[strength] for strength in strengths]


def _newton(A: Array, b: Array, coordinates: Coordinates, strength: float, x: Array) -> Array:
    """Return the minimum for one strength, from a start x inside the bounds."""
    value = _value(A, b, coordinates, strength, x)
    for _ in range(MAX_ITERATIONS):
        slope, curvature = _barrier_derivatives(coordinates, x)
        gradient = A @ x - b + strength * slope
        hessian = A + strength * curvature
        D = 1 / np.sqrt(np.maximum(hessian.diagonal(), np.finfo(float).tiny))
        scaled = D[:, None] * hessian * D + ROUNDING * np.eye(len(D))
        step = -D * np.linalg.solve(scaled, D * gradient)
        decrement = -float(gradient @ step)
        if not decrement > TOLERANCE * strength:
            break
        size = 1.0
        while size > MIN_STEP_SIZE:
            new = _value(A, b, coordinates, strength, x + size * step)
            if new <= value - ARMIJO * size * decrement + ROUNDING * abs(value):
                break
            size /= 2
        else:
            break
        x, value = x + size * step, new
    return x


def _factors(coordinates: Coordinates, x: Array) -> tuple[Array, Array]:
    """Return the matrices Y (n, 4, 4) and numbers y (k,) whose logarithms the penalty has."""
    links, n = x[: 10 * coordinates.num_links], coordinates.num_links
    X = np.tensordot(links.reshape(n, 10), _BASIS, 1)
    return X + (1 - MIN_EIGENVALUE) * np.eye(4), x[10 * n :] + 1 - MIN_EIGENVALUE


def _value(A: Array, b: Array, coordinates: Coordinates, strength: float, x: Array) -> float:
    """Return the minimised function, infinite outside the bounds."""
    Y, y = _factors(coordinates, x)
    positive, rest = coordinates.positive, x[10 * coordinates.num_links :]
    eigenvalues = np.linalg.eigvalsh(Y)
    inside = eigenvalues[:, 0] > INTERIOR * np.maximum(eigenvalues[:, -1], 1.0)
    if not (inside.all() and (y[positive] > INTERIOR).all()):  # also for NaN
        return np.inf
    divergence = x[: 10 * coordinates.num_links].reshape(-1, 10) @ _TRACE
    divergence = divergence.sum() / (1 - MIN_EIGENVALUE) - np.log(eigenvalues).sum()
    divergence += (rest[positive] / (1 - MIN_EIGENVALUE) - np.log(y[positive])).sum()
    divergence += 0.5 * (rest[~positive] ** 2).sum()
    return float(0.5 * x @ A @ x - b @ x + strength * divergence)


def _barrier_derivatives(coordinates: Coordinates, x: Array) -> tuple[Array, Array]:
    """Return gradient (m,) and Hessian (m, m) of the penalty."""
    n, positive = coordinates.num_links, coordinates.positive
    Y, y = _factors(coordinates, x)
    inverse = np.linalg.inv(Y)
    products = inverse[:, None] @ _BASIS  # (n, 10, 4, 4)
    gradient = _TRACE / (1 - MIN_EIGENVALUE) - np.trace(products, axis1=2, axis2=3)
    blocks = np.einsum("naij,nbji->nab", products, products)
    rest = np.where(
        positive, 1 / (1 - MIN_EIGENVALUE) - 1 / np.where(positive, y, 1.0), x[10 * n :]
    )
    curvature = np.where(positive, 1 / np.where(positive, y, 1.0) ** 2, 1.0)
    hessian = np.zeros((len(x), len(x)))
    for i, block in enumerate(blocks):
        hessian[10 * i : 10 * i + 10, 10 * i : 10 * i + 10] = block
    index = np.arange(10 * n, len(x))
    hessian[index, index] = curvature
    return np.concatenate([gradient.ravel(), rest]), hessian
