"""What a planar body is, by how it moves while nothing touches it: steps enter, figures leave.

The equations of `planar` are linear in the figures, so a step from v to v' in the time h,

    M(q) (v' - v) / h + bias(q, v) + damping v' = 0,

is one row of a linear problem. Steps in which something touches do not obey it; they are outliers,
and weights that narrow (graduated non-convexity; Black and Rangarajan 1996, with the kernel of
Geman and McClure) leave them out. Three things come one after the other:

1. the two rows of the root hold only forces from outside: they give h and gravity;
2. the rows of the hinges, of steps without forces from outside, give c - conj(h) h, armature and
   damping up to one factor, as the direction in which all rows vanish;
3. of steps with a force F from outside, links that it does not touch feel it by their hinge alone;
   what they do then gives the factor, on which most steps agree.

The places of the hinges follow: c_kl = conj(place) h_l for all links l beyond a hinge of link k.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.models.planar_body.dynamics import (
    Inertia,
    KinematicTree,
    rigid_body_terms,
    rotate,
    rotate_derivative,
)

ANNEALING_ROUNDS = 50  # in which weights narrow, the last NARROWEST of them with the narrowest
FINAL_ROUNDS = 8
ROOT_NOISE = 1e-3  # [m/s^2] of accelerations of the whole body that fit
INNER_NOISE = 1e-4  # of rows that fit, over what their terms are on the whole
FREE_FALL_FORCE = 1e-2  # [m/s^2] of force per mass, below which nothing pushes from outside
MIN_CONTACT_FORCE = 1.0  # [m/s^2] above which something does
MIN_LEVER = 1e-2  # [m^2/s^2] of torque per mass that tells a factor
SCALE_BIN = 1e-3  # relative width within which steps agree on a factor
MAX_INNER_STEPS, CHUNK_SIZE = (
    30_000,
    3000,
)  # steps that the inner figures are found from, and part by part
MIN_FITTING_FRACTION = 0.02  # share of steps that must fit for figures to be believed


class Steps(NamedTuple):
    """N steps of one body in [across, up, hinges], from q and v to `after`."""

    q: Tensor  # (N, n)
    v: Tensor  # (N, n)
    next_v: Tensor  # (N, n) velocities a step later
    h: float  # [s]

    def select(self, index: Tensor | slice) -> Steps:
        """Return some of them."""
        return Steps(self.q[index], self.v[index], self.next_v[index], self.h)


class IdentifiedInertia(NamedTuple):
    """What free motion tells."""

    inertia: Inertia
    hinge_pos: Tensor  # (L, 2) [m] of each hinge in the frame of the link that it hangs on


def external_forces(inertia: Inertia, angle_matrix: Tensor, steps: Steps) -> Tensor:
    """Return the forces (N, n) per mass that figures without touches do not explain."""
    mass, bias, _ = rigid_body_terms(inertia, angle_matrix, steps.q, steps.v)
    gained = (mass @ (steps.next_v - steps.v)[..., None]).squeeze(2) / steps.h
    return gained + bias + torch.nn.functional.pad(inertia.damping, (2, 0)) * steps.next_v


def identify_inertia(steps: Steps, tree: KinematicTree) -> IdentifiedInertia:
    """Return what steps, part of them free, say about a body.

    Raises:
        ValueError: hardly any step is a free one of such a tree.
    """
    turns = tree.angle_matrix()
    h, gravity = _identify_root(steps, turns)
    count = len(turns)
    none = torch.zeros(count, count, 2, dtype=h.dtype)
    still = torch.zeros(count, dtype=h.dtype)
    force = external_forces(Inertia(h, none, still, still, gravity), turns, steps)[:, :2]
    falling = torch.nonzero(force.norm(dim=1) < FREE_FALL_FORCE)[:, 0]
    if len(falling) < MIN_FITTING_FRACTION * len(steps.q):
        raise ValueError(
            f"only {len(falling)} of {len(steps.q)} steps are a free fall of such a tree; its "
            "joints must be told apart rightly, and some motions must be free"
        )
    inner = _identify_inner(steps.select(falling[:MAX_INNER_STEPS]), turns)
    own = _root_coupling(h)
    # what these rows leave is the inner part of forces; the whole one has the root's beside it
    push = external_forces(
        inner._replace(h=torch.zeros_like(h), gravity=gravity * 0), turns, steps
    )
    push = push[:, 2:] @ torch.linalg.inv(turns)
    angle = steps.q[:, 2:] @ turns.T
    lever = (rotate_derivative(angle, h) * force[:, None]).sum(2)
    factor = _inner_scale(push, lever, force[:, 1] > MIN_CONTACT_FORCE)
    c = factor * inner.c + own
    inertia = Inertia(h, c, factor * inner.armature, factor * inner.damping, gravity)
    return IdentifiedInertia(inertia, _hinge_positions(inertia, tree))


def _identify_root(steps: Steps, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Return h (L, 2) and gravity by the motion of the whole body."""
    angle, rate = steps.q[:, 2:] @ turns.T, steps.v[:, 2:] @ turns.T
    gained = (steps.next_v - steps.v) / steps.h
    swung = gained[:, 2:] @ turns.T
    columns = [
        rotate_derivative(angle, way) * swung[..., None]
        - rotate(angle, way) * rate.square()[..., None]
        for way in torch.eye(2, dtype=angle.dtype)
    ]
    lever = torch.stack(columns, -1).transpose(1, 2).flatten(2)  # (N, 2, 2 L)
    weight = torch.tensor([0.0, 1.0], dtype=angle.dtype).expand(len(angle), 2)[..., None]
    rows, wanted = torch.cat([lever, weight], 2), -gained[:, :2]
    trust, width = torch.ones(len(angle), dtype=angle.dtype), None
    for number in range(ANNEALING_ROUNDS):
        weighted = (rows * trust[:, None, None]).flatten(0, 1)
        both = rows.flatten(0, 1)
        figures = torch.linalg.solve(weighted.T @ both, weighted.T @ wanted.flatten())
        missed = (rows @ figures - wanted).norm(dim=1)
        width = width or float(missed.median())
        trust = _annealed_weights(missed, width, ROOT_NOISE, number)
    return figures[:-1].view(-1, 2), figures[-1]


def _identify_inner(steps: Steps, turns: Tensor) -> Inertia:
    """Return c - conj(h) h, armature and damping up to a factor, without h and gravity."""
    angle, rate = steps.q[:, 2:] @ turns.T, steps.v[:, 2:] @ turns.T
    gained = (steps.next_v - steps.v)[:, 2:] / steps.h
    drive = torch.complex(gained @ turns.T, rate.square())  # (N, L)
    count = len(turns)
    columns, names = [], []
    for k in range(count):
        for other in range(k, count):
            swing = torch.polar(torch.ones_like(angle[:, 0]), angle[:, other] - angle[:, k])
            there, back = drive[:, other] * swing, drive[:, k] * swing.conj()
            for part, mine, its in (
                (0, there.real, back.real),
                (1, there.imag, -back.imag),
            ):
                if k == other and part:
                    continue
                torque = torch.zeros_like(angle)
                torque[:, k] += mine
                torque[:, other] += its * (k != other)
                columns.append(torque @ turns)
                names.append((k, other, part))
    links = torch.arange(1, count)
    for values in (gained, steps.next_v[:, 2:]):
        columns += list(torch.diag_embed(values).unbind(2)[1:])
    figures = _null_direction(torch.stack(columns, -1))
    c = torch.zeros(count, count, 2, dtype=angle.dtype)
    for (k, other, part), value in zip(names, figures, strict=False):
        c[k, other, part], c[other, k, part] = value, -value if part else value
    armature, damping = torch.zeros(2, count, dtype=angle.dtype)
    armature[links], damping[links] = figures[len(names) :].view(2, -1)
    sign = c[..., 0].trace().sign()
    nothing = torch.zeros((), dtype=angle.dtype)
    still = torch.zeros(count, 2, dtype=angle.dtype)
    return Inertia(still, sign * c, sign * armature, sign * damping, nothing)


def _null_direction(rows: Tensor) -> Tensor:
    """Return the direction (P,) in which most rows (N, E, P) vanish.

    Weights that narrow may end at another direction, in which fewer rows do. So they narrow on
    parts of the rows, and what fits most of all rows is gone on from.

    Raises:
        ValueError: no direction fits.
    """
    size = rows.square().sum(1).mean(0).sqrt()
    rows = rows / size
    guesses = [_annealed_direction(part) for part in rows.split(CHUNK_SIZE)]
    fitting = [int(((rows @ guess).norm(dim=1) < 10 * INNER_NOISE).sum()) for guess in guesses]
    if max(fitting) < MIN_FITTING_FRACTION * len(rows):
        raise ValueError(
            f"at most {max(fitting)} of {len(rows)} free steps fit one set of figures; is the "
            "tree right, and which way its hinges turn?"
        )
    found = guesses[fitting.index(max(fitting))]
    for _ in range(FINAL_ROUNDS):
        found = _smallest_direction(
            rows, _geman_mcclure_weights((rows @ found).norm(dim=1), INNER_NOISE)
        )
    return found / size


def _annealed_direction(rows: Tensor) -> Tensor:
    """Return the direction (P,) that narrowing weights end at."""
    found = _smallest_direction(rows, torch.ones(len(rows), dtype=rows.dtype))
    width = 3 * float((rows @ found).norm(dim=1).median())
    for number in range(ANNEALING_ROUNDS):
        missed = (rows @ found).norm(dim=1)
        found = _smallest_direction(rows, _annealed_weights(missed, width, INNER_NOISE, number))
    return found


def _smallest_direction(rows: Tensor, trust: Tensor) -> Tensor:
    """Return the unit vector (P,) in whose direction weighted rows are least."""
    weighted = (rows * trust[:, None, None]).flatten(0, 1)
    return torch.linalg.eigh(weighted.T @ rows.flatten(0, 1)).eigenvectors[:, 0]


def _annealed_weights(missed: Tensor, width: float, narrowest: float, number: int) -> Tensor:
    """Return weights whose width shrinks from round to round."""
    share = min(1.0, (number + 1) / (ANNEALING_ROUNDS - FINAL_ROUNDS))
    return _geman_mcclure_weights(missed, width * (narrowest / width) ** share)


def _geman_mcclure_weights(missed: Tensor, width: float) -> Tensor:
    """Return the weights of Geman and McClure."""
    return (width**2 / (width**2 + missed.square())).square()


def _inner_scale(push: Tensor, lever: Tensor, pushed: Tensor) -> Tensor:
    """Return the factor that makes most links (N, L) of pushed bodies feel their hinge alone."""
    told = pushed[:, None] & (lever.abs() > MIN_LEVER)
    ratio = -push[told] / lever[told]
    ratio = ratio[ratio > 0]
    if not len(ratio):
        raise ValueError("nothing ever pushes the body from outside, so its size is not told")
    bins, votes = (ratio.log() / SCALE_BIN).round().unique(return_counts=True)
    first = (bins[votes.argmax()] * SCALE_BIN).exp()
    for width in (1.5 * SCALE_BIN, SCALE_BIN / 10, SCALE_BIN / 100):
        first = ratio[(ratio / first - 1).abs() < width].median()
    return 1 / first


def _root_coupling(h: Tensor) -> Tensor:
    """Return conj(h_k) h_l (L, L, 2)."""
    whole = torch.view_as_complex(h.contiguous())
    return torch.view_as_real(whole.conj()[:, None] * whole)


def _hinge_positions(inertia: Inertia, tree: KinematicTree) -> Tensor:
    """Return where hinges are, (L, 2), each as all links beyond it tell."""
    h, c = (torch.view_as_complex(x.contiguous()) for x in (inertia.h, inertia.c))
    places = torch.zeros_like(h)
    for link, parent in enumerate(tree.parents):
        if parent >= 0:
            beyond = [k for k in range(len(h)) if link in tree.chain(k)]
            places[link] = (c[parent, beyond].conj() * h[beyond]).sum() / (
                h[beyond].abs().square().sum()
            )
    return torch.view_as_real(places)
