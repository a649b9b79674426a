"""Least squares for arms: motion and actions enter; inertia, friction and compliance leave.

The target of joint j is linear in its parameters, up to one product:

    y_j = c_j Y_j(q, qd, qdd) theta + phi_j . [qd_j, tanh(qd_j / v), 1, qdd_j]

with theta (10 n,) the inertial parameters, phi_j viscous and Coulomb friction, offset and rotor
inertia, and c_j the target per torque: 1 for torques, 1 / stiffness for a servo's offset, 1 / gain
for a current.
Everything below works on the sums Y'Y, Y'y and y'y, so the data are passed over once.
Atkeson, An, Hollerbach 1986; Swevers, Verdonck, De Schutter, doi 10.1109/MCS.2007.904659.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree

FRICTION = 4  # viscous, Coulomb, offset, rotor inertia
RIDGES = tuple(10.0**k for k in range(-13, -1))  # of normal equations with unit diagonal
UNSEEN = 1e-16  # share of the largest diagonal; what is below is rounding, not a parameter
STICKING = 0.01  # weight of a joint that may stick, beside 1
SMALLEST = 1e-12  # share of the target's power that no error is below
CHUNK = 4096  # rows per pass, to bound memory


class NormalEquations(NamedTuple):
    """Sums over rows, per joint, with m = 10 n + 4 columns."""

    gram: Tensor  # (n, m, m)
    moment: Tensor  # (n, m)
    power: Tensor  # (n,)
    rows: int


class Parameters(NamedTuple):
    """What identification finds."""

    inertial: Tensor  # (10 n,)
    friction: Tensor  # (n, 4)
    compliance: Tensor  # (n,)


def direction(qd: Tensor, qdd: Tensor, slow: float, blur: Tensor | float = 0.0) -> Tensor:
    """Return which way each joint moves (..., n), from -1 to 1.

    A recorded effort is often low-pass filtered, so that Coulomb friction turns over the same
    time `blur` [s] at every reversal, whatever the velocity: at acceleration qdd that is the
    velocity blur qdd.
    """
    return torch.tanh(qd / torch.sqrt(slow**2 + (blur * qdd) ** 2))


def friction_terms(qd: Tensor, qdd: Tensor, slow: float, blur: Tensor | float = 0.0) -> Tensor:
    """Return [qd, direction, 1, qdd] (..., n, 4)."""
    return torch.stack([qd, direction(qd, qdd, slow, blur), torch.ones_like(qd), qdd], dim=-1)


def sums(
    tree: RigidBodyTree,
    motion: Tensor,
    target: Tensor,
    slow: float,
    moving: float = 0.0,
    blur: Tensor | float = 0.0,
) -> NormalEquations:
    """Sum over motion (N, 3n) and target (N, n).

    Args:
        tree: the arm.
        motion: [q, qd, qdd] (N, 3n).
        target: what is to be explained (N, n).
        slow: velocity [rad/s] above which Coulomb friction is full.
        moving: joints slower than this [rad/s] count little: one that sticks takes any torque up
            to its friction, so its torque says little about its motion.
        blur: time [s] over which friction turns at a reversal, of all joints or (n,).
    """
    n, m = target.shape[-1], 10 * target.shape[-1] + FRICTION
    gram, moment, power = target.new_zeros(n, m, m), target.new_zeros(n, m), target.new_zeros(n)
    for rows, y in zip(motion.split(CHUNK), target.split(CHUNK), strict=True):
        q, qd, qdd = rows.split(n, dim=-1)
        friction = friction_terms(qd, qdd, slow, blur)
        columns = torch.cat([tree.regressor(q, qd, qdd), friction], dim=-1)
        weight = row_weight(qd, moving)
        A = (columns * weight[..., None]).transpose(0, 1)  # (n, rows, m)
        y = y * weight
        gram += A.mT @ A
        moment += (A.mT @ y.T.unsqueeze(-1)).squeeze(-1)
        power += (y * y).sum(0)
    return NormalEquations(gram, moment, power, len(target))


def row_weight(qd: Tensor, moving: float) -> Tensor:
    """Return how much a row counts for each joint (..., n)."""
    return torch.where(qd.abs() >= moving, 1.0, STICKING).to(qd)


def total(parts: Sequence[NormalEquations]) -> NormalEquations:
    """Return the sums over several parts of the data."""
    gram, moment, power = (
        torch.stack([part[i] for part in parts]).sum(0)  # type: ignore[misc]
        for i in range(3)
    )
    return NormalEquations(gram, moment, power, sum(part.rows for part in parts))


def residual(data: NormalEquations, found: Parameters) -> Tensor:
    """Return the mean squared error per joint (n,)."""
    x = torch.cat([found.compliance[:, None] * found.inertial, found.friction], dim=-1)  # (n, m)
    quadratic = torch.einsum("jm,jmk,jk->j", x, data.gram, x)
    return ((data.power - 2 * (x * data.moment).sum(-1) + quadratic) / data.rows).clamp_min(0.0)


def identify(
    train: NormalEquations,
    valid: NormalEquations,
    prior: Tensor,
    torques: bool,
    ridges: Sequence[float] = RIDGES,
) -> Parameters:
    """Find all parameters, with a ridge towards the URDF's inertia and zero friction.

    Many parameters never show in the torque (only base parameters do); the ridge leaves those at
    the URDF. Its strength is the one that does best on `valid`. Joints weigh by the inverse of
    their noise variance.

    Args:
        train: sums of the data to learn from.
        valid: sums of other data.
        prior: inertial parameters of the URDF (10 n,).
        torques: the target is the torque, so compliance is 1.
        ridges: strengths to choose from.
    """
    start = Parameters(
        prior, torch.zeros_like(train.moment[:, len(prior) :]), torch.ones_like(train.power)
    )
    if not torques:
        start = _with_compliance(train, start)
    spread = (train.power / train.rows).clamp_min(1e-30)
    weights = 1 / spread
    best = start
    for _ in range(2 if torques else 6):
        tried = _ridge(train, best, prior, weights, ridges)
        best = min(tried, key=lambda found: float((weights * residual(valid, found)).sum()))
        if not torques:
            best = _with_compliance(train, best)
        # the floor keeps noise-free data from making one joint weigh all
        weights = 1 / torch.maximum(residual(train, best), 1e-6 * spread)
    return best


def cross_identify(
    blocks: Sequence[NormalEquations], prior: Tensor, torques: bool
) -> tuple[Parameters, list[Parameters], Tensor]:
    """Identify with the ridge that does best on blocks left out in turn.

    Returns:
        What all blocks give, what all but each one give, and the mean squared error (n,) on the
        blocks left out.
    """
    ridges = RIDGES[1::2]
    everything = total(blocks)
    rest = [total([*blocks[:k], *blocks[k + 1 :]]) for k in range(len(blocks))]
    found = [[identify(part, part, prior, torques, (ridge,)) for part in rest] for ridge in ridges]
    share = torch.tensor([block.rows / everything.rows for block in blocks]).to(prior)
    errors = torch.stack(
        [torch.stack(list(map(residual, blocks, row))).T @ share for row in found]
    )  # (ridges, n)
    # the floor keeps noise-free data from choosing by rounding errors
    floor = SMALLEST * everything.power / everything.rows
    errors = torch.maximum(errors, floor.clamp_min(torch.finfo(prior.dtype).tiny))
    best = int((errors / errors.min(0).values).sum(1).argmin())
    final = identify(everything, everything, prior, torques, (ridges[best],))
    return final, found[best], errors[best]


def _ridge(
    data: NormalEquations,
    start: Parameters,
    prior: Tensor,
    weights: Tensor,
    ridges: Sequence[float],
) -> list[Parameters]:
    """Solve for inertia and friction at given compliance, once for each ridge."""
    k, n = len(prior), len(weights)
    width = k + n * FRICTION
    H, g = prior.new_zeros(width, width), prior.new_zeros(width)
    x0 = torch.cat([prior, prior.new_zeros(n * FRICTION)])
    for j in range(n):
        pick = torch.cat([torch.arange(k), k + FRICTION * j + torch.arange(FRICTION)]).to(
            prior.device
        )
        columns = torch.cat([start.compliance[j].expand(k), prior.new_ones(FRICTION)])
        gram = columns[:, None] * data.gram[j] * columns
        H[pick[:, None], pick] += weights[j] * gram
        g[pick] += weights[j] * (columns * data.moment[j] - gram @ x0[pick])
    diagonal = H.diagonal()
    seen = diagonal > UNSEEN * diagonal.max()
    D = torch.where(seen, diagonal.rsqrt(), 0.0)  # 0: the parameter stays where it is
    values, U = torch.linalg.eigh(D[:, None] * H * D)
    projected = U.T @ (D * g)
    found = []
    for ridge in ridges:
        x = x0 + D * (U @ (projected / (values.clamp_min(0.0) + ridge)))
        found.append(Parameters(x[:k], x[k:].view(n, FRICTION), start.compliance))
    return found


def _with_compliance(data: NormalEquations, start: Parameters) -> Parameters:
    """Solve for compliance and friction of each joint at given inertia."""
    T = torch.block_diag(start.inertial[:, None], torch.eye(FRICTION).to(start.inertial))  # (m, 5)
    H, g = T.T @ data.gram @ T, data.moment @ T
    D = H.diagonal(dim1=-2, dim2=-1)
    D = torch.where(D > 0, D, torch.ones_like(D)).rsqrt()
    ridge = 1e-9 * torch.eye(H.shape[-1]).to(
        H
    )  # a joint without gravity: inertia and rotor look alike
    x = D * torch.linalg.solve(D[:, :, None] * H * D[:, None, :] + ridge, D * g)
    return Parameters(start.inertial, x[:, 1:], x[:, 0])
