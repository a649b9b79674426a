"""Refinement of all contact parameters by Levenberg-Marquardt on the errors of one step.

The residuals have the weights of Geman and McClure, so that effects which the model cannot
represent, such as those of a missing capsule, do not distort the other parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from invdyn_ros.models.planar_body.contact_solver import ContactParameters
from invdyn_ros.models.planar_body.dynamics import KinematicTree
from invdyn_ros.models.planar_body.geometry_identification import UNKNOWN_RADIUS_RATIO
from invdyn_ros.models.planar_body.inertia_identification import Steps
from invdyn_ros.models.planar_body.parameters import BodyParameters
from invdyn_ros.models.planar_body.simulator import PlanarBody

KERNEL_WIDTHS = (0.3, 0.1, 0.03, 0.01, 0.003)  # of the robust kernel, in standardised residuals
ITERATIONS_PER_WIDTH = 3
FINITE_DIFFERENCE = 1e-5  # step of finite differences, in scales of each parameter
INITIAL_DAMPING, DAMPING_DECREASE, DAMPING_INCREASE, MAX_TRIES = 1e-3, 5.0, 6.0, 6
MIN_RELATIVE_CURVATURE = 1e-9  # fraction of the largest curvature; parameters below stay fixed
PARAMETER_SCALES = {
    "lower": 0.01, "upper": 0.01, "capsule_ends": 0.01, "capsule_radius": 0.01,
    "floor_height": 0.01, "friction": 0.1,
}  # fmt: skip
CONTACT_FIELDS = ("contact", "limit")
RADIUS_CANDIDATES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # factors of an unknown radius
MAX_COST_RATIO = 0.98  # of a candidate to the current parameters, to be accepted
LENGTH_CANDIDATES, NUM_DIRECTIONS = (0.05, 0.1, 0.2), 8  # [m] of a capsule with one known end


def refine_parameters(
    body: PlanarBody,
    parameters: BodyParameters,
    steps: Steps,
    velocity_std: Tensor,
    on_iteration: Callable[[], object] = lambda: None,
) -> BodyParameters:
    """Return parameters with the limits, capsules, floor, friction and contacts that fit best.

    Args:
        body: simulator.
        parameters: initial values.
        steps: steps with contacts.
        velocity_std: (n,) standard deviation of a step's change of velocity.
        on_iteration: called after each of len(KERNEL_WIDTHS) * ITERATIONS_PER_WIDTH iterations,
            for a progress bar.
    """
    count = sum(part.numel() for part in _free_parameters(parameters))
    offsets = torch.zeros(count, dtype=steps.q.dtype)

    def residuals(offsets: Tensor) -> Tensor:
        return velocity_residuals(body, _apply_offsets(parameters, offsets), steps, velocity_std)

    damping, residual = INITIAL_DAMPING, residuals(offsets)
    for width, _ in product(KERNEL_WIDTHS, range(ITERATIONS_PER_WIDTH)):
        jacobian = _residual_jacobian(residuals, offsets, residual)
        weights = (width**2 / (width**2 + residual.square().sum(1))).square()
        weighted = (jacobian * weights[:, None, None]).flatten(0, 1)
        hessian, gradient = weighted.T @ jacobian.flatten(0, 1), weighted.T @ residual.flatten()
        for _ in range(MAX_TRIES):
            step = _lm_step(hessian, gradient, damping)
            candidate = residuals(offsets + step)
            if robust_loss(candidate, width) < robust_loss(residual, width):
                offsets, residual = offsets + step, candidate
                damping = damping / DAMPING_DECREASE
                break
            damping *= DAMPING_INCREASE
        else:
            damping = INITIAL_DAMPING
        on_iteration()
    return _apply_offsets(parameters, offsets)


def _residual_jacobian(
    residuals: Callable[[Tensor], Tensor], offsets: Tensor, residual: Tensor
) -> Tensor:
    """Return the Jacobian (N, n, P) of `residuals` at `offsets` by finite differences."""
    steps = FINITE_DIFFERENCE * torch.eye(len(offsets), dtype=offsets.dtype)
    return torch.stack(
        [(residuals(offsets + step) - residual) / FINITE_DIFFERENCE for step in steps], 2
    )


def robust_loss(residual: Tensor, width: float) -> Tensor:
    """Return the loss of Geman and McClure of residuals (N, n), a scalar."""
    squared = residual.square().sum(1)
    return (squared / (squared + width**2)).sum()


def _lm_step(hessian: Tensor, gradient: Tensor, damping: float) -> Tensor:
    """Return a Levenberg-Marquardt step (P,), zero for parameters without curvature."""
    curvature = hessian.diagonal()
    minimum = MIN_RELATIVE_CURVATURE * curvature.max()
    step = -torch.linalg.solve(hessian + torch.diag(damping * curvature + minimum), gradient)
    return torch.where(curvature < minimum, 0.0, step.clamp(-1, 1))


def _apply_offsets(parameters: BodyParameters, offsets: Tensor) -> BodyParameters:
    """Return the parameters moved by offsets (P,)."""
    parts = iter(offsets.split([part.numel() for part in _free_parameters(parameters)]))
    values: dict[str, Any] = {}
    for name, scale in PARAMETER_SCALES.items():
        value = getattr(parameters, name)
        values[name] = value + scale * next(parts).view_as(value)
    values["invweight"] = parameters.invweight * (next(parts) / 10).exp()
    for name in CONTACT_FIELDS:
        contact: ContactParameters = getattr(parameters, name)
        timeconst, dmin, dmax, width = next(parts)
        values[name] = ContactParameters(
            contact.timeconst * (timeconst / 10).exp(),
            torch.sigmoid(torch.logit(contact.dmin) + dmin),
            torch.sigmoid(torch.logit(contact.dmax) + dmax),
            contact.width * width.exp(),
        )
    return parameters._replace(**values)


def _free_parameters(parameters: BodyParameters) -> list[Tensor]:
    """Return the refined parameters in the order of the offsets."""
    contacts = [torch.stack(list(getattr(parameters, name))) for name in CONTACT_FIELDS]
    return [
        *(getattr(parameters, name) for name in PARAMETER_SCALES),
        parameters.invweight,
        *contacts,
    ]


def select_geometry(
    tree: KinematicTree,
    capsule_links: tuple[int, ...],
    parameters: BodyParameters,
    num_unobserved_ends: Tensor,
    steps: Steps,
    velocity_std: Tensor,
) -> tuple[PlanarBody, BodyParameters]:
    """Select self-collision and the unobserved dimensions of capsules that fit steps best.

    Args:
        tree: topology.
        capsule_links: link of each capsule.
        parameters: initial values.
        num_unobserved_ends: (K,) ends without contact; if 2, the radius is a guess.
        steps: steps with contacts.
        velocity_std: (n,) standard deviation of a step's change of velocity.
    """

    def cost(body: PlanarBody, parameters: BodyParameters) -> float:
        residual = velocity_residuals(body, parameters, steps, velocity_std)
        return float(robust_loss(residual, KERNEL_WIDTHS[0]))

    bodies = [PlanarBody(tree, capsule_links, collide) for collide in (True, False)]
    body = min(bodies, key=lambda body: cost(body, parameters))
    for capsule in num_unobserved_ends.nonzero()[:, 0]:
        candidates = list(
            (_radius_candidates if num_unobserved_ends[capsule] > 1 else _end_candidates)(
                parameters, int(capsule)
            )
        )
        costs = [cost(body, candidate) for candidate in candidates]
        if min(costs) < MAX_COST_RATIO * cost(body, parameters):
            parameters = candidates[costs.index(min(costs))]
    return body, parameters


def _radius_candidates(parameters: BodyParameters, capsule: int) -> Iterator[BodyParameters]:
    """Yield the parameters with other radii of a capsule."""
    for factor in RADIUS_CANDIDATES:
        radius = parameters.capsule_radius.clone()
        radius[capsule] *= factor / UNKNOWN_RADIUS_RATIO
        yield parameters._replace(capsule_radius=radius)


def _end_candidates(parameters: BodyParameters, capsule: int) -> Iterator[BodyParameters]:
    """Yield the parameters with other second ends of a capsule."""
    for length in LENGTH_CANDIDATES:
        for direction in range(NUM_DIRECTIONS):
            ends = parameters.capsule_ends.clone()
            angle = torch.tensor(2 * math.pi * direction / NUM_DIRECTIONS)
            ends[capsule, 1] = ends[capsule, 0] + length * torch.stack([angle.cos(), angle.sin()])
            yield parameters._replace(capsule_ends=ends)


def velocity_residuals(
    body: PlanarBody, parameters: BodyParameters, steps: Steps, velocity_std: Tensor
) -> Tensor:
    """Return the standardised errors (N, n) of the velocities after steps.

    Args:
        body: simulator.
        parameters: of the body.
        steps: N steps.
        velocity_std: (n,) divides the errors.
    """
    h = torch.full((len(steps.q), 1), steps.h, dtype=steps.q.dtype)
    return (body.step(parameters, steps.q, steps.v, h)[1] - steps.next_v) / velocity_std
