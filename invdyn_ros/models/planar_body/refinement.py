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
from invdyn_ros.models.planar_body.dynamics import Tree
from invdyn_ros.models.planar_body.geometry_identification import THIN
from invdyn_ros.models.planar_body.inertia_identification import Steps
from invdyn_ros.models.planar_body.simulator import Body, BodyParameters

WIDTHS = (0.3, 0.1, 0.03, 0.01, 0.003)  # of errors that count in full, over a step's usual change
TURNS = 3  # at each of them
NUDGE = 1e-5  # of a figure, in its own size, that tells a slope
DAMPED, LIGHTER, HEAVIER, TRIES = 1e-3, 5.0, 6.0, 6
IDLE = 1e-9  # share of the largest curvature below which a figure does not count
SIZES = {  # in which figures move
    "low": 0.01, "high": 0.01, "ends": 0.01, "radius": 0.01, "floor": 0.01, "friction": 0.1,
}  # fmt: skip
LAWS = ("contact", "limit")
NARROWER = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # tried of a radius that is guessed
CLEARLY = 0.98  # of the cost, from which on another guess is taken
LENGTHS, WAYS = (0.05, 0.1, 0.2), 8  # [m] tried of a rod of which one end is known


def polished(
    body: Body,
    figures: BodyParameters,
    steps: Steps,
    spread: Tensor,
    on_turn: Callable[[], None] = lambda: None,
) -> BodyParameters:
    """Return limits, capsules, floor, friction, mobilities and laws that fit steps best.

    Args:
        body: what touches what.
        figures: nearly right ones.
        steps: in which something touches.
        spread: (n,) of a step's change of velocity.
        on_turn: called after each of len(WIDTHS) * TURNS turns, for a progress bar.
    """
    count = sum(part.numel() for part in _like(figures))
    moves = torch.zeros(count, dtype=steps.q.dtype)

    def errors(moves: Tensor) -> Tensor:
        return missed(body, _moved(figures, moves), steps, spread)

    damped, off = DAMPED, errors(moves)
    for width, _ in product(WIDTHS, range(TURNS)):
        slopes = _slopes(errors, moves, off)
        trust = (width**2 / (width**2 + off.square().sum(1))).square()
        weighted = (slopes * trust[:, None, None]).flatten(0, 1)
        curve, pull = weighted.T @ slopes.flatten(0, 1), weighted.T @ off.flatten()
        for _ in range(TRIES):
            step = _damped(curve, pull, damped)
            there = errors(moves + step)
            if loss(there, width) < loss(off, width):
                moves, off, damped = moves + step, there, damped / LIGHTER
                break
            damped *= HEAVIER
        else:
            damped = DAMPED
        on_turn()
    return _moved(figures, moves)


def _slopes(errors: Callable[[Tensor], Tensor], moves: Tensor, off: Tensor) -> Tensor:
    """Return the derivative (N, n, P) of errors, which are `off` now, by differences."""
    ways = NUDGE * torch.eye(len(moves), dtype=moves.dtype)
    return torch.stack([(errors(moves + way) - off) / NUDGE for way in ways], 2)


def loss(off: Tensor, width: float) -> Tensor:
    """Return the kernel of Geman and McClure of errors (N, n), a scalar."""
    squared = off.square().sum(1)
    return (squared / (squared + width**2)).sum()


def _damped(curve: Tensor, pull: Tensor, damped: float) -> Tensor:
    """Return a step (P,) of Levenberg and Marquardt, none of figures that nothing tells."""
    own = curve.diagonal()
    least = IDLE * own.max()
    step = -torch.linalg.solve(curve + torch.diag(damped * own + least), pull)
    return torch.where(own < least, 0.0, step.clamp(-1, 1))


def _moved(figures: BodyParameters, moves: Tensor) -> BodyParameters:
    """Return figures after moves (P,)."""
    parts = iter(moves.split([part.numel() for part in _like(figures)]))
    values: dict[str, Any] = {}
    for name, size in SIZES.items():
        own = getattr(figures, name)
        values[name] = own + size * next(parts).view_as(own)
    values["mobility"] = figures.mobility * (next(parts) / 10).exp()
    for name in LAWS:
        law: ContactParameters = getattr(figures, name)
        time, shallow, deep, width = next(parts)
        values[name] = ContactParameters(
            law.time * (time / 10).exp(),
            torch.sigmoid(torch.logit(law.shallow) + shallow),
            torch.sigmoid(torch.logit(law.deep) + deep),
            law.width * width.exp(),
        )
    return figures._replace(**values)


def _like(figures: BodyParameters) -> list[Tensor]:
    """Return what moves, in order."""
    laws = [torch.stack(list(getattr(figures, name))) for name in LAWS]
    return [*(getattr(figures, name) for name in SIZES), figures.mobility, *laws]


def chosen(
    tree: Tree,
    links: tuple[int, ...],
    figures: BodyParameters,
    guessed: Tensor,
    steps: Steps,
    spread: Tensor,
) -> tuple[Body, BodyParameters]:
    """Return what fits steps best: whether links push each other, and what is guessed of rods.

    Args:
        tree: what hangs on what.
        links: of each rod its link.
        figures: nearly right ones.
        guessed: (K,) ends that nothing told; the radius is a guess if both.
        steps: in which something touches.
        spread: (n,) of a step's change of velocity.
    """

    def cost(body: Body, figures: BodyParameters) -> float:
        return float(loss(missed(body, figures, steps, spread), WIDTHS[0]))

    bodies = [Body(tree, links, collide) for collide in (True, False)]
    body = min(bodies, key=lambda body: cost(body, figures))
    for rod in guessed.nonzero()[:, 0]:
        tried = list((_thinner if guessed[rod] > 1 else _longer)(figures, int(rod)))
        costs = [cost(body, one) for one in tried]
        if min(costs) < CLEARLY * cost(body, figures):
            figures = tried[costs.index(min(costs))]
    return body, figures


def _thinner(figures: BodyParameters, rod: int) -> Iterator[BodyParameters]:
    """Yield the figures with a rod of other radii."""
    for share in NARROWER:
        radius = figures.radius.clone()
        radius[rod] *= share / THIN
        yield figures._replace(radius=radius)


def _longer(figures: BodyParameters, rod: int) -> Iterator[BodyParameters]:
    """Yield the figures with a rod that goes elsewhere from its first end."""
    for length in LENGTHS:
        for way in range(WAYS):
            ends, angle = figures.ends.clone(), torch.tensor(2 * math.pi * way / WAYS)
            ends[rod, 1] = ends[rod, 0] + length * torch.stack([angle.cos(), angle.sin()])
            yield figures._replace(ends=ends)


def missed(body: Body, figures: BodyParameters, steps: Steps, spread: Tensor) -> Tensor:
    """Return errors (N, n) of the velocities after steps."""
    h = torch.full((len(steps.q), 1), steps.h, dtype=steps.q.dtype)
    return (body.step(figures, steps.q, steps.v, h)[1] - steps.after) / spread
