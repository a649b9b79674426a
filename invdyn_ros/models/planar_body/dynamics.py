"""Dynamics of links that hang on each other in a plane: figures and states in, forces out.

In absolute angles the dynamics of such a tree take three tables. Let `R(phi)` turn a link by its
angle, `D_ik` be what link k adds to the place of the centre of mass of link i, p_i = p_root +
sum_k R(phi_k) D_ik, and all masses m_i add up to one. With

    h_k = sum_i m_i D_ik    and    c_kl = sum_i m_i conj(D_ik) D_il

(vectors of the plane as complex numbers x + i z; c_kk has the inertia of link k beside it) the
kinetic energy at the velocities v of the root and w of the angles is

    |v|^2 / 2 + v . sum_k R'(phi_k) h_k w_k + sum_kl Re(c_kl exp(i (phi_k - phi_l))) w_k w_l / 2,

and the equations of motion are linear in h and c (Featherstone 2008, Rigid Body Dynamics
Algorithms, chapter 9, for the free base).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.config import Validated


@dataclass(frozen=True)
class KinematicTree(Validated):
    """What hangs on what: names alone, no figure.

    Attributes:
        across: joint along which the body slides forward [m].
        up: joint along which it slides up [m].
        hinges: of each link the joint that turns it, first that of the root [rad].
        parents: number of the link that each hangs on, -1 of the root.
        signs: 1 where a positive angle turns up towards forward, else -1.
    """

    x_joint: str
    z_joint: str
    hinges: tuple[str, ...]
    parents: tuple[int, ...]
    axis_signs: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what is no tree.

        Raises:
            ValueError: parents or signs that do not fit the hinges; names them.
        """
        super().__post_init__()
        count = len(self.hinges)
        above = [parent < k for k, parent in enumerate(self.parents)]
        if len(above) != count or not all(above) or min(self.parents[1:], default=0) < 0:
            raise ValueError(
                f"parents are {list(self.parents)}; give each of {count} links the number of one "
                "before it, and -1 to the first"
            )
        if len(self.axis_signs) != count or not set(self.axis_signs) <= {-1, 1}:
            raise ValueError(
                f"axis_signs are {list(self.axis_signs)}; give 1 or -1 to each of {count} links"
            )

    def joint_order(self, joint_names: tuple[str, ...]) -> list[int]:
        """Return where [across, up, hinges] stand among the joints of a state.

        Raises:
            ValueError: other joints than these.
        """
        own = (self.x_joint, self.z_joint, *self.hinges)
        if sorted(own) != sorted(joint_names):
            right = ", ".join(joint_names)
            raise ValueError(f"the tree is of {', '.join(own)}; the machine has {right}")
        return [joint_names.index(name) for name in own]

    def angle_matrix(self) -> Tensor:
        """Return the matrix (L, L) that makes absolute angles of those of the hinges."""
        rows: list[Tensor] = []
        for k, (parent, sign) in enumerate(zip(self.parents, self.axis_signs, strict=True)):
            row = torch.zeros(len(self.hinges), dtype=torch.float64)
            row[k] = sign
            rows.append(row if parent < 0 else rows[parent] + row)
        return torch.stack(rows)

    def chain(self, link: int) -> list[int]:
        """Return a link and all that it hangs on, the root first."""
        parent = self.parents[link]
        return ([] if parent < 0 else self.chain(parent)) + [link]


class Inertia(NamedTuple):
    """What the free motion of a tree of L links depends on, per mass of the whole."""

    h: Tensor  # (L, 2) [m]
    c: Tensor  # (L, L, 2) [m^2] real and imaginary part; c_lk = conj(c_kl)
    armature: Tensor  # (L,) [m^2]
    damping: Tensor  # (L,) [m^2/s]
    gravity: Tensor  # () [m/s^2]


class RigidBodyTerms(NamedTuple):
    """A tree in motion, N of them, in [across, up, hinges]."""

    mass_matrix: Tensor  # (N, n, n)
    qfrc_bias: Tensor  # (N, n) forces that it takes to go on unaccelerated
    qfrc_bias_vel: Tensor  # (N, n, n) their derivative per velocity


def rotate(angle: Tensor, point: Tensor) -> Tensor:
    """Return R(angle) place, (..., 2), of a place in the frame of a link."""
    sine, cosine = angle.sin(), angle.cos()
    x, z = point.unbind(-1)
    return torch.stack([cosine * x + sine * z, cosine * z - sine * x], -1)


def rotate_derivative(angle: Tensor, point: Tensor) -> Tensor:
    """Return R'(angle) place, (..., 2): how far it goes per angle."""
    forward, up = rotate(angle, point).unbind(-1)
    return torch.stack([up, -forward], -1)


def rigid_body_terms(
    inertia: Inertia, angle_matrix: Tensor, q: Tensor, v: Tensor
) -> RigidBodyTerms:
    """Return mass matrix and bias of trees at q, v (N, n), damping left out."""
    angle, rate = q[:, 2:] @ angle_matrix.T, v[:, 2:] @ angle_matrix.T
    swing = angle[:, None, :] - angle[:, :, None]  # (N, k, l)
    sine, cosine = swing.sin(), swing.cos()
    real, imaginary = inertia.c.unbind(-1)
    inner = real * cosine + imaginary * sine
    whirl = (imaginary * cosine - real * sine) * rate[:, None, :]  # (N, k, l)
    lever = rotate_derivative(angle, inertia.h)  # (N, L, 2)
    mass = torch.zeros(*q.shape, q.shape[1], dtype=q.dtype)
    mass[:, 0, 0] = mass[:, 1, 1] = 1.0
    beside = lever.transpose(1, 2) @ angle_matrix  # (N, 2, L)
    mass[:, :2, 2:], mass[:, 2:, :2] = beside, beside.transpose(1, 2)
    mass[:, 2:, 2:] = angle_matrix.T @ inner @ angle_matrix + inertia.armature.diag()
    pull = -rotate(angle, inertia.h) * rate[..., None]  # (N, L, 2)
    swirl = torch.zeros_like(mass)
    swirl[:, :2, 2:] = 2 * pull.transpose(1, 2) @ angle_matrix
    swirl[:, 2:, 2:] = 2 * angle_matrix.T @ whirl @ angle_matrix
    weight = torch.stack([torch.zeros_like(inertia.gravity), inertia.gravity])
    around = (whirl @ rate[..., None]).squeeze(2) + lever[..., 1] * inertia.gravity
    root = (pull * rate[..., None]).sum(1) + weight
    return RigidBodyTerms(mass, torch.cat([root, around @ angle_matrix], 1), swirl)
