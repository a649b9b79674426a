"""The last digits: figures that are nearly right and steps enter, figures that are right leave.

Levenberg-Marquardt on the errors of one step, with the weights of Geman and McClure, so that what
a body of this kind cannot do (or a capsule that nobody saw) does not bend the rest.
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
from invdyn_ros.models.planar_body.simulator import BodyParameters, PlanarBody

KERNEL_WIDTHS = (
    0.3,
    0.1,
    0.03,
    0.01,
    0.003,
)  # of errors that count in full, over a step's usual change
ITERATIONS_PER_WIDTH = 3  # at each of them
FINITE_DIFFERENCE = 1e-5  # of a figure, in its own size, that tells a slope
INITIAL_DAMPING, DAMPING_DECREASE, DAMPING_INCREASE, MAX_TRIES = 1e-3, 5.0, 6.0, 6
MIN_RELATIVE_CURVATURE = 1e-9  # share of the largest curvature below which a figure does not count
PARAMETER_SCALES = {  # in which figures move
    "lower": 0.01, "upper": 0.01, "capsule_ends": 0.01, "capsule_radius": 0.01, "floor_height": 0.01, "friction": 0.1,
}  # fmt: skip
CONTACT_FIELDS = ("contact", "limit")
RADIUS_CANDIDATES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # tried of a radius that is guessed
MIN_IMPROVEMENT = 0.98  # of the cost, from which on another guess is taken
LENGTH_CANDIDATES, NUM_DIRECTIONS = (
    (0.05, 0.1, 0.2),
    8,
)  # [m] tried of a rod of which one end is known


def refine_parameters(
    body: PlanarBody,
    parameters: BodyParameters,
    steps: Steps,
    velocity_std: Tensor,
    on_iteration: Callable[[], None] = lambda: None,
) -> BodyParameters:
    """Return limits, capsules, floor, friction, mobilities and laws that fit steps best.

    Args:
        body: what touches what.
        figures: nearly right ones.
        steps: in which something touches.
        spread: (n,) of a step's change of velocity.
        on_turn: called after each of len(WIDTHS) * TURNS turns, for a progress bar.
    """
    count = sum(part.numel() for part in _free_parameters(parameters))
    moves = torch.zeros(count, dtype=steps.q.dtype)

    def errors(moves: Tensor) -> Tensor:
        return velocity_residuals(body, _apply_offsets(parameters, moves), steps, velocity_std)

    damped, off = INITIAL_DAMPING, errors(moves)
    for width, _ in product(KERNEL_WIDTHS, range(ITERATIONS_PER_WIDTH)):
        slopes = _residual_jacobian(errors, moves, off)
        trust = (width**2 / (width**2 + off.square().sum(1))).square()
        weighted = (slopes * trust[:, None, None]).flatten(0, 1)
        curve, pull = weighted.T @ slopes.flatten(0, 1), weighted.T @ off.flatten()
        for _ in range(MAX_TRIES):
            step = _lm_step(curve, pull, damped)
            there = errors(moves + step)
            if robust_loss(there, width) < robust_loss(off, width):
                moves, off, damped = moves + step, there, damped / DAMPING_DECREASE
                break
            damped *= DAMPING_INCREASE
        else:
            damped = INITIAL_DAMPING
        on_iteration()
    return _apply_offsets(parameters, moves)


def _residual_jacobian(errors: Callable[[Tensor], Tensor], moves: Tensor, off: Tensor) -> Tensor:
    """Return the derivative (N, n, P) of errors, which are `off` now, by differences."""
    ways = FINITE_DIFFERENCE * torch.eye(len(moves), dtype=moves.dtype)
    return torch.stack([(errors(moves + way) - off) / FINITE_DIFFERENCE for way in ways], 2)


def robust_loss(residual: Tensor, width: float) -> Tensor:
    """Return the kernel of Geman and McClure of errors (N, n), a scalar."""
    squared = residual.square().sum(1)
    return (squared / (squared + width**2)).sum()


def _lm_step(curve: Tensor, pull: Tensor, damped: float) -> Tensor:
    """Return a step (P,) of Levenberg and Marquardt, none of figures that nothing tells."""
    own = curve.diagonal()
    least = MIN_RELATIVE_CURVATURE * own.max()
    step = -torch.linalg.solve(curve + torch.diag(damped * own + least), pull)
    return torch.where(own < least, 0.0, step.clamp(-1, 1))


def _apply_offsets(figures: BodyParameters, moves: Tensor) -> BodyParameters:
    """Return figures after moves (P,)."""
    parts = iter(moves.split([part.numel() for part in _free_parameters(figures)]))
    values: dict[str, Any] = {}
    for name, size in PARAMETER_SCALES.items():
        own = getattr(figures, name)
        values[name] = own + size * next(parts).view_as(own)
    values["invweight"] = figures.invweight * (next(parts) / 10).exp()
    for name in CONTACT_FIELDS:
        law: ContactParameters = getattr(figures, name)
        time, shallow, deep, width = next(parts)
        values[name] = ContactParameters(
            law.timeconst * (time / 10).exp(),
            torch.sigmoid(torch.logit(law.dmin) + shallow),
            torch.sigmoid(torch.logit(law.dmax) + deep),
            law.width * width.exp(),
        )
    return figures._replace(**values)


def _free_parameters(figures: BodyParameters) -> list[Tensor]:
    """Return what moves, in order."""
    laws = [torch.stack(list(getattr(figures, name))) for name in CONTACT_FIELDS]
    return [*(getattr(figures, name) for name in PARAMETER_SCALES), figures.invweight, *laws]


def select_geometry(
    tree: KinematicTree,
    capsule_links: tuple[int, ...],
    parameters: BodyParameters,
    num_unobserved_ends: Tensor,
    steps: Steps,
    velocity_std: Tensor,
) -> tuple[PlanarBody, BodyParameters]:
    """Return what fits steps best: whether links push each other, and what is guessed of rods.

    Args:
        tree: what hangs on what.
        links: of each rod its link.
        figures: nearly right ones.
        guessed: (K,) ends that nothing told; the radius is a guess if both.
        steps: in which something touches.
        spread: (n,) of a step's change of velocity.
    """

    def cost(body: PlanarBody, figures: BodyParameters) -> float:
        return float(
            robust_loss(velocity_residuals(body, figures, steps, velocity_std), KERNEL_WIDTHS[0])
        )

    bodies = [PlanarBody(tree, capsule_links, collide) for collide in (True, False)]
    body = min(bodies, key=lambda body: cost(body, parameters))
    for rod in num_unobserved_ends.nonzero()[:, 0]:
        tried = list(
            (_radius_candidates if num_unobserved_ends[rod] > 1 else _end_candidates)(
                parameters, int(rod)
            )
        )
        costs = [cost(body, one) for one in tried]
        if min(costs) < MIN_IMPROVEMENT * cost(body, parameters):
            parameters = tried[costs.index(min(costs))]
    return body, parameters


def _radius_candidates(figures: BodyParameters, capsule: int) -> Iterator[BodyParameters]:
    """Yield the figures with a rod of other radii."""
    for share in RADIUS_CANDIDATES:
        radius = figures.capsule_radius.clone()
        radius[capsule] *= share / UNKNOWN_RADIUS_RATIO
        yield figures._replace(capsule_radius=radius)


def _end_candidates(figures: BodyParameters, capsule: int) -> Iterator[BodyParameters]:
    """Yield the figures with a rod that goes elsewhere from its first end."""
    for length in LENGTH_CANDIDATES:
        for way in range(NUM_DIRECTIONS):
            ends, angle = (
                figures.capsule_ends.clone(),
                torch.tensor(2 * math.pi * way / NUM_DIRECTIONS),
            )
            ends[capsule, 1] = ends[capsule, 0] + length * torch.stack([angle.cos(), angle.sin()])
            yield figures._replace(capsule_ends=ends)


def velocity_residuals(
    body: PlanarBody, parameters: BodyParameters, steps: Steps, velocity_std: Tensor
) -> Tensor:
    """Return errors (N, n) of the velocities after steps."""
    h = torch.full((len(steps.q), 1), steps.h, dtype=steps.q.dtype)
    return (body.step(parameters, steps.q, steps.v, h)[1] - steps.next_v) / velocity_std
