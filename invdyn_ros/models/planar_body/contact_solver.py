"""Contact solver of planar bodies, which determines the active constraint rows.

The model is MuJoCo's (Todorov 2014, "Convex and analytically-invertible dynamics with contacts and
constraints"; MuJoCo's documentation, "Computation"). Each constraint row has a reference
acceleration

    a_ref = -2 / (d t) u - s / (d t)^2 r

where r < 0 is its distance, u the rate of change of r, t a time constant, s(r) the impedance and d
the largest impedance. The acceleration a of the body minimises

    (a - a_0) M (a - a_0) / 2 + sum over rows of min(0, J a - a_ref)^2 / (2 R),

where a_0 is the acceleration without contacts and R = (1 - s) / s times the inverse weight.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# iterations of Newton's method and of each line search, at most
NEWTON_ITERATIONS, LINE_SEARCH_ITERATIONS = 30, 8


class ContactParameters(NamedTuple):
    """Compliance of constraints: MuJoCo's solref (timeconst) and solimp (dmin, dmax, width)."""

    timeconst: Tensor  # () [s]
    dmin: Tensor  # () impedance at distance zero
    dmax: Tensor  # () impedance at the depth `width`
    width: Tensor  # () [m] or [rad]

    def impedance(self, distance: Tensor) -> Tensor:
        """Return the impedance s of negative distances."""
        x = (-distance / self.width).clamp(0, 1)
        y = torch.where(x < 0.5, 2 * x.square(), 1 - 2 * (1 - x).square())
        return self.dmin + y * (self.dmax - self.dmin)


class ContactConstraints(NamedTuple):
    """Constraint rows of N bodies, in the coordinates [x, z, hinges]."""

    jacobian: Tensor  # (N, R, n)
    aref: Tensor  # (N, R) reference accelerations
    inverse_regularization: Tensor  # (N, R) 1 / R, zero without contact
    damping: Tensor  # (N, R) [1/s] derivative of -aref with respect to the row's velocity


class Contacts(NamedTuple):
    """D contacts of N bodies; those at positive distances are inactive."""

    distance: Tensor  # (N, D) [m]
    normal: Tensor  # (N, D, 2) direction of the force on `link`
    point: Tensor  # (N, D, 2) [m]
    link: Tensor  # (N, D) index of one link
    other: Tensor  # (N, D) index of the other link, -1: the floor


def closest_points(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the closest points (..., 2) of two segments (..., 2 ends, 2)."""
    a, b = (x[..., 1, :] - x[..., 0, :] for x in (first, second))
    between = second[..., 0, :] - first[..., 0, :]
    aa, ab, bb = ((x * y).sum(-1) for x, y in ((a, a), (a, b), (b, b)))
    to_a, to_b = (between * a).sum(-1), (between * b).sum(-1)
    determinant = aa * bb - ab * ab
    parallel = determinant < 1e-9 * aa * bb
    t = torch.where(
        parallel, 0.5, (to_a * bb - to_b * ab) / torch.where(parallel, 1.0, determinant)
    )
    t = t.clamp(0, 1)
    u = ((t * ab - to_b) / bb).clamp(0, 1)
    t = ((u * ab + to_a) / aa).clamp(0, 1)
    return first[..., 0, :] + t[..., None] * a, second[..., 0, :] + u[..., None] * b


def constraint_rows(
    jacobian: Tensor,
    velocity: Tensor,
    distance: Tensor,
    invweight: Tensor,
    parameters: ContactParameters,
) -> ContactConstraints:
    """Return constraint rows; those at positive distances are inactive.

    Args:
        jacobian: (N, R, n).
        velocity: (N, R) rate of change of the distances.
        distance: (N, R).
        invweight: (N, R) inverse weight in the direction of the row.
        parameters: compliance.
    """
    depth = distance.clamp(max=0)
    s = parameters.impedance(depth)
    dt = parameters.dmax * parameters.timeconst
    aref = -2 / dt * velocity - s / dt.square() * depth
    inverse_regularization = torch.where(
        distance < 0, s / ((1 - s) * invweight).clamp(min=1e-12), 0.0
    )
    return ContactConstraints(jacobian, aref, inverse_regularization, (2 / dt).expand_as(aref))


def solve_contacts(
    mass_matrix: Tensor, qacc_smooth: Tensor, constraints: ContactConstraints
) -> Tensor:
    """Return which rows (N, R) are active, by Newton's method with an exact line search.

    A body has converged once a full Newton step leaves the set of active rows unchanged.

    Args:
        mass_matrix: (N, n, n).
        qacc_smooth: (N, n) accelerations without contacts.
        constraints: R rows of each body.
    """
    jacobian, aref, inverse_regularization, _ = constraints
    qacc = qacc_smooth
    result = torch.zeros_like(inverse_regularization, dtype=torch.bool)
    remaining = torch.arange(len(qacc_smooth))
    for _ in range(NEWTON_ITERATIONS):
        residual = (jacobian @ qacc[..., None]).squeeze(2) - aref  # (N, R)
        active = (residual < 0) & (inverse_regularization > 0)
        result[remaining] = active
        active_weight = inverse_regularization * active
        momentum = (mass_matrix @ (qacc - qacc_smooth)[..., None]).squeeze(2)
        gradient = momentum + (jacobian * (active_weight * residual)[..., None]).sum(1)
        hessian = mass_matrix + jacobian.transpose(1, 2) @ (jacobian * active_weight[..., None])
        direction = -torch.linalg.solve(hessian, gradient)
        change = (jacobian @ direction[..., None]).squeeze(2)
        unfinished = (((residual + change < 0) & (inverse_regularization > 0)) != active).any(1)
        if not bool(unfinished.any()):
            break
        mass_matrix, qacc_smooth, jacobian, aref, inverse_regularization, remaining = (
            x[unfinished]
            for x in (mass_matrix, qacc_smooth, jacobian, aref, inverse_regularization, remaining)
        )
        direction = direction[unfinished]
        curvature = (direction[:, None] @ mass_matrix @ direction[..., None])[:, 0]
        slope = (direction * momentum[unfinished]).sum(1, keepdim=True)
        step = _line_search(
            curvature, slope, residual[unfinished], change[unfinished], inverse_regularization
        )
        qacc = qacc[unfinished] + step * direction
    return result.to(mass_matrix)


def _line_search(
    curvature: Tensor, slope: Tensor, residual: Tensor, change: Tensor, weight: Tensor
) -> Tensor:
    """Return the step (N, 1) that minimises a parabola plus the hinged parabolas of the rows.

    Args:
        curvature: (N, 1) of the parabola.
        slope: (N, 1) of the parabola at step zero.
        residual: (N, R) of the rows at step zero.
        change: (N, R) of the residuals per step.
        weight: (N, R) of the rows.
    """
    step = torch.ones_like(slope)
    for _ in range(LINE_SEARCH_ITERATIONS):
        at_step = residual + step * change
        active_weight = weight * (at_step < 0)
        first = slope + step * curvature + (active_weight * at_step * change).sum(1, keepdim=True)
        second = curvature + (active_weight * change.square()).sum(1, keepdim=True)
        step = step - first / second.clamp(min=1e-30)
    return step
