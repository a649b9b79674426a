"""Identification of inertia, damping, gravity and link lengths from contact-free motion.

The equations of motion in `dynamics` are linear in the parameters, so a step from v to v' in the
time h,

    M(q) (v' - v) / h + bias(q, v) + damping v' = 0,

is a row of a linear problem. Steps with contacts violate it; robust weights of decreasing width
(graduated non-convexity; Black and Rangarajan 1996, with the kernel of Geman and McClure) remove
these outliers. There are three stages:

1. the two rows of the root have no internal forces: they give h and gravity;
2. the rows of the hinges, of steps without external forces, give c - conj(h) h, armature and
   damping up to a scale, as the null direction of all rows;
3. an external force F acts on links without contact through their hinge only; their motion gives
   the scale, which is the mode over the steps.

The hinge positions follow: c_kl = conj(position) h_l for all links l beyond a hinge of link k.
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

ANNEALING_ROUNDS = 50  # of decreasing widths
FINAL_ROUNDS = 8  # of them with the smallest width
ROOT_NOISE = 1e-3  # [m/s^2] of the root's acceleration
INNER_NOISE = 1e-4  # of hinge rows, relative to the size of their terms
FREE_FALL_FORCE = 1e-2  # [m/s^2] external force per mass below which a step is free fall
MIN_CONTACT_FORCE = 1.0  # [m/s^2] upward force per mass above which a step has contacts
MIN_LEVER = 1e-2  # [m^2/s^2] torque per mass that determines the scale
SCALE_BIN = 1e-3  # relative width of the bins in the vote on the scale
MAX_INNER_STEPS, CHUNK_SIZE = 30_000, 3000  # steps of the second stage, and of each chunk of them
MIN_FITTING_FRACTION = 0.02  # fraction of the steps that must fit


class Steps(NamedTuple):
    """N steps of one body in the coordinates [x, z, hinges]."""

    q: Tensor  # (N, n)
    v: Tensor  # (N, n)
    next_v: Tensor  # (N, n) velocities after the step
    h: float  # [s] length of a step

    def select(self, index: Tensor | slice) -> Steps:
        """Return a subset of the steps."""
        return Steps(self.q[index], self.v[index], self.next_v[index], self.h)


class IdentifiedInertia(NamedTuple):
    """Parameters identified from contact-free motion."""

    inertia: Inertia
    hinge_pos: Tensor  # (L, 2) [m] of each hinge in the frame of the parent link


def external_forces(inertia: Inertia, angle_matrix: Tensor, steps: Steps) -> Tensor:
    """Return the forces (N, n) per mass that the model without contacts does not explain.

    Args:
        inertia: of the body.
        angle_matrix: (L, L) of its tree.
        steps: N steps.
    """
    mass_matrix, qfrc_bias, _ = rigid_body_terms(inertia, angle_matrix, steps.q, steps.v)
    inertial = (mass_matrix @ (steps.next_v - steps.v)[..., None]).squeeze(2) / steps.h
    return inertial + qfrc_bias + torch.nn.functional.pad(inertia.damping, (2, 0)) * steps.next_v


def identify_inertia(steps: Steps, tree: KinematicTree) -> IdentifiedInertia:
    """Identify the inertia of a body from steps, some of which are contact-free.

    Raises:
        ValueError: too few steps are free fall of such a tree.
    """
    angle_matrix = tree.angle_matrix()
    h, gravity = _identify_root(steps, angle_matrix)
    count = len(angle_matrix)
    no_coupling = torch.zeros(count, count, 2, dtype=h.dtype)
    zero = torch.zeros(count, dtype=h.dtype)
    root_only = Inertia(h, no_coupling, zero, zero, gravity)
    force = external_forces(root_only, angle_matrix, steps)[:, :2]
    falling = torch.nonzero(force.norm(dim=1) < FREE_FALL_FORCE)[:, 0]
    if len(falling) < MIN_FITTING_FRACTION * len(steps.q):
        raise ValueError(
            f"only {len(falling)} of {len(steps.q)} steps are free fall of such a tree; check "
            "the order and names of its joints, and include motions without contacts"
        )
    inner = _identify_inner(steps.select(falling[:MAX_INNER_STEPS]), angle_matrix)
    root_coupling = _root_coupling(h)
    # the residual of the inner parameters alone; the root's coupling is not included
    residual = external_forces(
        inner._replace(h=torch.zeros_like(h), gravity=gravity * 0), angle_matrix, steps
    )
    residual = residual[:, 2:] @ torch.linalg.inv(angle_matrix)
    angle = steps.q[:, 2:] @ angle_matrix.T
    lever = (rotate_derivative(angle, h) * force[:, None]).sum(2)
    scale = _inner_scale(residual, lever, force[:, 1] > MIN_CONTACT_FORCE)
    c = scale * inner.c + root_coupling
    inertia = Inertia(h, c, scale * inner.armature, scale * inner.damping, gravity)
    return IdentifiedInertia(inertia, _hinge_positions(inertia, tree))


def _identify_root(steps: Steps, angle_matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return h (L, 2) and gravity from the motion of the root."""
    angle, rate = steps.q[:, 2:] @ angle_matrix.T, steps.v[:, 2:] @ angle_matrix.T
    acceleration = (steps.next_v - steps.v) / steps.h
    angular = acceleration[:, 2:] @ angle_matrix.T
    columns = [
        rotate_derivative(angle, axis) * angular[..., None]
        - rotate(angle, axis) * rate.square()[..., None]
        for axis in torch.eye(2, dtype=angle.dtype)
    ]
    lever = torch.stack(columns, -1).transpose(1, 2).flatten(2)  # (N, 2, 2 L)
    weight = torch.tensor([0.0, 1.0], dtype=angle.dtype).expand(len(angle), 2)[..., None]
    rows, target = torch.cat([lever, weight], 2), -acceleration[:, :2]
    weights, width = torch.ones(len(angle), dtype=angle.dtype), None
    for number in range(ANNEALING_ROUNDS):
        weighted = (rows * weights[:, None, None]).flatten(0, 1)
        flat = rows.flatten(0, 1)
        matrix, right = weighted.T @ flat, weighted.T @ target.flatten()
        # singular if hardly any step has a weight, as where nothing is free fall
        solution = torch.linalg.lstsq(matrix, right[:, None], driver="gelsd").solution[:, 0]
        residual = (rows @ solution - target).norm(dim=1)
        width = width or float(residual.median())
        weights = _annealed_weights(residual, width, ROOT_NOISE, number)
    return solution[:-1].view(-1, 2), solution[-1]


def _identify_inner(steps: Steps, angle_matrix: Tensor) -> Inertia:
    """Return c - conj(h) h, armature and damping up to a scale, without h and gravity."""
    angle, rate = steps.q[:, 2:] @ angle_matrix.T, steps.v[:, 2:] @ angle_matrix.T
    acceleration = (steps.next_v - steps.v)[:, 2:] / steps.h
    drive = torch.complex(acceleration @ angle_matrix.T, rate.square())  # (N, L)
    count = len(angle_matrix)
    columns, names = [], []
    for k in range(count):
        for other in range(k, count):
            rotation = torch.polar(torch.ones_like(angle[:, 0]), angle[:, other] - angle[:, k])
            on_k, on_other = drive[:, other] * rotation, drive[:, k] * rotation.conj()
            for part, torque_k, torque_other in (
                (0, on_k.real, on_other.real),
                (1, on_k.imag, -on_other.imag),
            ):
                if k == other and part:
                    continue
                torque = torch.zeros_like(angle)
                torque[:, k] += torque_k
                torque[:, other] += torque_other * (k != other)
                columns.append(torque @ angle_matrix)
                names.append((k, other, part))
    links = torch.arange(1, count)
    for values in (acceleration, steps.next_v[:, 2:]):
        columns += list(torch.diag_embed(values).unbind(2)[1:])
    solution = _null_direction(torch.stack(columns, -1))
    c = torch.zeros(count, count, 2, dtype=angle.dtype)
    for (k, other, part), value in zip(names, solution, strict=False):
        c[k, other, part], c[other, k, part] = value, -value if part else value
    armature, damping = torch.zeros(2, count, dtype=angle.dtype)
    armature[links], damping[links] = solution[len(names) :].view(2, -1)
    sign = c[..., 0].trace().sign()
    zero_gravity = torch.zeros((), dtype=angle.dtype)
    zero_h = torch.zeros(count, 2, dtype=angle.dtype)
    return Inertia(zero_h, sign * c, sign * armature, sign * damping, zero_gravity)


def _null_direction(rows: Tensor) -> Tensor:
    """Return the direction (P,) in which most rows (N, E, P) vanish.

    Annealing may converge to a direction in which fewer rows vanish. Therefore it runs on chunks
    of the rows, and the result that fits the most rows is refined on all of them.

    Raises:
        ValueError: no direction fits.
    """
    size = rows.square().sum(1).mean(0).sqrt()
    rows = rows / size
    candidates = [_annealed_direction(chunk) for chunk in rows.split(CHUNK_SIZE)]
    num_fitting = [
        int(((rows @ candidate).norm(dim=1) < 10 * INNER_NOISE).sum()) for candidate in candidates
    ]
    if max(num_fitting) < MIN_FITTING_FRACTION * len(rows):
        raise ValueError(
            f"at most {max(num_fitting)} of {len(rows)} free steps fit one set of parameters; "
            "check the parents and axis_signs of the tree"
        )
    direction = candidates[num_fitting.index(max(num_fitting))]
    for _ in range(FINAL_ROUNDS):
        weights = _geman_mcclure_weights((rows @ direction).norm(dim=1), INNER_NOISE)
        direction = _smallest_direction(rows, weights)
    return direction / size


def _annealed_direction(rows: Tensor) -> Tensor:
    """Return the direction (P,) to which annealing converges."""
    direction = _smallest_direction(rows, torch.ones(len(rows), dtype=rows.dtype))
    width = 3 * float((rows @ direction).norm(dim=1).median())
    for number in range(ANNEALING_ROUNDS):
        residual = (rows @ direction).norm(dim=1)
        direction = _smallest_direction(
            rows, _annealed_weights(residual, width, INNER_NOISE, number)
        )
    return direction


def _smallest_direction(rows: Tensor, weights: Tensor) -> Tensor:
    """Return the unit vector (P,) that minimises the weighted sum of squares of the rows."""
    weighted = (rows * weights[:, None, None]).flatten(0, 1)
    return torch.linalg.eigh(weighted.T @ rows.flatten(0, 1)).eigenvectors[:, 0]


def _annealed_weights(residual: Tensor, width: float, min_width: float, number: int) -> Tensor:
    """Return robust weights whose width decreases from round to round."""
    fraction = min(1.0, (number + 1) / (ANNEALING_ROUNDS - FINAL_ROUNDS))
    return _geman_mcclure_weights(residual, width * (min_width / width) ** fraction)


def _geman_mcclure_weights(residual: Tensor, width: float) -> Tensor:
    return (width**2 / (width**2 + residual.square())).square()


def _inner_scale(residual: Tensor, lever: Tensor, in_contact: Tensor) -> Tensor:
    """Return the scale at which external forces act on most links (N, L) by their hinge only."""
    informative = in_contact[:, None] & (lever.abs() > MIN_LEVER)
    ratio = -residual[informative] / lever[informative]
    ratio = ratio[ratio > 0]
    if not len(ratio):
        raise ValueError(
            "no external force ever acts on the body, so its scale cannot be identified"
        )
    bins, votes = (ratio.log() / SCALE_BIN).round().unique(return_counts=True)
    mode = (bins[votes.argmax()] * SCALE_BIN).exp()
    for width in (1.5 * SCALE_BIN, SCALE_BIN / 10, SCALE_BIN / 100):
        mode = ratio[(ratio / mode - 1).abs() < width].median()
    return 1 / mode


def _root_coupling(h: Tensor) -> Tensor:
    """Return conj(h_k) h_l (L, L, 2)."""
    h_complex = torch.view_as_complex(h.contiguous())
    return torch.view_as_real(h_complex.conj()[:, None] * h_complex)


def _hinge_positions(inertia: Inertia, tree: KinematicTree) -> Tensor:
    """Return the hinge positions (L, 2) by least squares over all links beyond each hinge."""
    h, c = (torch.view_as_complex(x.contiguous()) for x in (inertia.h, inertia.c))
    positions = torch.zeros_like(h)
    for link, parent in enumerate(tree.parents):
        if parent >= 0:
            beyond = [k for k in range(len(h)) if link in tree.chain(k)]
            positions[link] = (c[parent, beyond].conj() * h[beyond]).sum() / (
                h[beyond].abs().square().sum()
            )
    return torch.view_as_real(positions)
