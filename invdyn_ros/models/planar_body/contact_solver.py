"""How touches push back: what is asked of them enters, which of them push leaves.

The law is MuJoCo's (Todorov 2014, "Convex and analytically-invertible dynamics with contacts and
constraints"; its manual, "Computation"): each touch asks for an acceleration

    a_ref = -2 / (d t) u - s / (d t)^2 r

of its distance r < 0, which changes at the rate u, with a time constant t, an impedance s(r) and
its largest value d; the body takes the acceleration a that makes

    (a - a_0) M (a - a_0) / 2 + sum over touches of min(0, J a - a_ref)^2 / (2 R)

least, where a_0 is the one without touches and R = (1 - s) / s times the mobility of what touches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NEWTON_ITERATIONS, LINE_SEARCH_ITERATIONS = (
    30,
    8,
)  # of Newton's method, and of each search along its way, at most


class ContactParameters(NamedTuple):
    """How touches push back: time constant [s], impedance at none and at a deep one, and width."""

    timeconst: Tensor  # () [s]
    dmin: Tensor  # ()
    dmax: Tensor  # ()
    width: Tensor  # () [m] or [rad]

    def impedance(self, distance: Tensor) -> Tensor:
        """Return s of distances below zero."""
        share = (-distance / self.width).clamp(0, 1)
        rise = torch.where(share < 0.5, 2 * share.square(), 1 - 2 * (1 - share).square())
        return self.dmin + rise * (self.dmax - self.dmin)


class ContactConstraints(NamedTuple):
    """Rows of what pushes back in N bodies, in [across, up, hinges]."""

    jacobian: Tensor  # (N, R, n)
    aref: Tensor  # (N, R) accelerations a_ref
    inverse_regularization: Tensor  # (N, R) 1 / R, zero where nothing touches
    damping: Tensor  # (N, R) [1/s] how much less a_ref is per velocity of the row


class Contacts(NamedTuple):
    """Touches of N bodies, D of each; those at distances above zero are none."""

    distance: Tensor  # (N, D) [m]
    normal: Tensor  # (N, D, 2) along which `link` is pushed
    point: Tensor  # (N, D, 2)
    link: Tensor  # (N, D)
    other: Tensor  # (N, D) the link that is pushed back, -1: the floor


def closest_points(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest points (..., 2) of two segments (..., 2 ends, 2)."""
    a, b = (x[..., 1, :] - x[..., 0, :] for x in (first, second))
    between = second[..., 0, :] - first[..., 0, :]
    aa, ab, bb = ((x * y).sum(-1) for x, y in ((a, a), (a, b), (b, b)))
    to_a, to_b = (between * a).sum(-1), (between * b).sum(-1)
    area = aa * bb - ab * ab
    even = area < 1e-9 * aa * bb
    t = torch.where(even, 0.5, (to_a * bb - to_b * ab) / torch.where(even, 1.0, area))
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
    """Return rows (N, R) of touches; those at distances above zero push nothing."""
    deep = distance.clamp(max=0)
    s = parameters.impedance(deep)
    lag = parameters.dmax * parameters.timeconst
    wanted = -2 / lag * velocity - s / lag.square() * deep
    stiffness = torch.where(distance < 0, s / ((1 - s) * invweight).clamp(min=1e-12), 0.0)
    return ContactConstraints(jacobian, wanted, stiffness, (2 / lag).expand_as(wanted))


def solve_contacts(
    mass_matrix: Tensor, qacc_smooth: Tensor, constraints: ContactConstraints
) -> Tensor:
    """Return which rows (N, R) push, by Newton's method with an exact line search.

    A body is done with once a whole step of Newton leaves the same rows pushing.
    """
    jacobian, wanted, stiffness, _ = constraints
    moved, pushed = qacc_smooth, torch.zeros_like(stiffness, dtype=torch.bool)
    left = torch.arange(len(qacc_smooth))
    for _ in range(NEWTON_ITERATIONS):
        lack = (jacobian @ moved[..., None]).squeeze(2) - wanted  # (N, R)
        active = (lack < 0) & (stiffness > 0)
        pushed[left] = active
        push = stiffness * active
        pull = (mass_matrix @ (moved - qacc_smooth)[..., None]).squeeze(2)
        slope = pull + (jacobian * (push * lack)[..., None]).sum(1)
        curve = mass_matrix + jacobian.transpose(1, 2) @ (jacobian * push[..., None])
        way = -torch.linalg.solve(curve, slope)
        along = (jacobian @ way[..., None]).squeeze(2)
        go = (((lack + along < 0) & (stiffness > 0)) != active).any(1)
        if not bool(go.any()):
            break
        mass_matrix, qacc_smooth, jacobian, wanted, stiffness, left = (
            x[go] for x in (mass_matrix, qacc_smooth, jacobian, wanted, stiffness, left)
        )
        way = way[go]
        inert = (way[:, None] @ mass_matrix @ way[..., None])[:, 0]
        level = (way * pull[go]).sum(1, keepdim=True)
        step = _line_search(inert, level, lack[go], along[go], stiffness)
        moved = moved[go] + step * way
    return pushed.to(mass_matrix)


def _line_search(
    inert: Tensor, level: Tensor, lack: Tensor, along: Tensor, stiffness: Tensor
) -> Tensor:
    """Return the step (N, 1) at which a parabola plus hinged parabolas is least."""
    step = torch.ones_like(level)
    for _ in range(LINE_SEARCH_ITERATIONS):
        there = lack + step * along
        push = stiffness * (there < 0)
        slope = level + step * inert + (push * there * along).sum(1, keepdim=True)
        curve = inert + (push * along.square()).sum(1, keepdim=True)
        step = step - slope / curve.clamp(min=1e-30)
    return step
