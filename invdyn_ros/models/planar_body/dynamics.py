"""Rigid-body dynamics of planar kinematic trees.

In absolute link angles the dynamics of such a tree depend on three tables. Let `R(phi)` rotate a
link by its angle, `D_ik` be the contribution of link k to the position of the centre of mass of
link i, p_i = p_root + sum_k R(phi_k) D_ik, and all masses m_i add up to one. With

    h_k = sum_i m_i D_ik    and    c_kl = sum_i m_i conj(D_ik) D_il

(vectors of the plane as complex numbers x + i z; c_kk includes the inertia of link k) the kinetic
energy at the velocities v of the root and w of the angles is

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
    """Topology of a planar body, without parameters.

    Attributes:
        x_joint: joint of the root's horizontal position [m].
        z_joint: joint of the root's vertical position [m].
        hinges: name of the hinge joint of each link, the root's first [rad].
        parents: index of the parent of each link, -1 for the root.
        axis_signs: 1 where a positive angle rotates z towards x, else -1.
    """

    x_joint: str
    z_joint: str
    hinges: tuple[str, ...]
    parents: tuple[int, ...]
    axis_signs: tuple[int, ...]

    def __post_init__(self) -> None:
        """Validate the tree.

        Raises:
            ValueError: parents or signs that do not fit the hinges.
        """
        super().__post_init__()
        count = len(self.hinges)
        precedes = [parent < k for k, parent in enumerate(self.parents)]
        if len(precedes) != count or not all(precedes) or min(self.parents[1:], default=0) < 0:
            raise ValueError(
                f"parents are {list(self.parents)}; give each of {count} links the index of one "
                "before it, and -1 to the first"
            )
        if len(self.axis_signs) != count or not set(self.axis_signs) <= {-1, 1}:
            raise ValueError(
                f"axis_signs are {list(self.axis_signs)}; give 1 or -1 to each of {count} links"
            )

    def joint_order(self, joint_names: tuple[str, ...]) -> list[int]:
        """Return the indices of [x_joint, z_joint, hinges] among the joints of a state.

        Raises:
            ValueError: the state has other joints than the tree.
        """
        names = (self.x_joint, self.z_joint, *self.hinges)
        if sorted(names) != sorted(joint_names):
            expected = ", ".join(joint_names)
            raise ValueError(f"the tree has joints {', '.join(names)}; the robot has {expected}")
        return [joint_names.index(name) for name in names]

    def angle_matrix(self) -> Tensor:
        """Return the matrix (L, L) that maps hinge angles to absolute link angles."""
        rows: list[Tensor] = []
        for k, (parent, sign) in enumerate(zip(self.parents, self.axis_signs, strict=True)):
            row = torch.zeros(len(self.hinges), dtype=torch.float64)
            row[k] = sign
            rows.append(row if parent < 0 else rows[parent] + row)
        return torch.stack(rows)

    def chain(self, link: int) -> list[int]:
        """Return the links from the root to a link."""
        parent = self.parents[link]
        return ([] if parent < 0 else self.chain(parent)) + [link]


class Inertia(NamedTuple):
    """Parameters of the contact-free motion of a tree of L links, per total mass."""

    h: Tensor  # (L, 2) [m]
    c: Tensor  # (L, L, 2) [m^2] real and imaginary part; c_lk = conj(c_kl)
    armature: Tensor  # (L,) [m^2]
    damping: Tensor  # (L,) [m^2/s]
    gravity: Tensor  # () [m/s^2]


class RigidBodyTerms(NamedTuple):
    """Terms of the equations of motion of N trees, in the coordinates [x, z, hinges]."""

    mass_matrix: Tensor  # (N, n, n)
    qfrc_bias: Tensor  # (N, n) forces at zero acceleration
    qfrc_bias_vel: Tensor  # (N, n, n) their derivative with respect to velocity


def rotate(angle: Tensor, point: Tensor) -> Tensor:
    """Return R(angle) point, (..., 2), of a point in the frame of a link."""
    sine, cosine = angle.sin(), angle.cos()
    x, z = point.unbind(-1)
    return torch.stack([cosine * x + sine * z, cosine * z - sine * x], -1)


def rotate_derivative(angle: Tensor, point: Tensor) -> Tensor:
    """Return R'(angle) point, (..., 2), the derivative with respect to the angle."""
    x, z = rotate(angle, point).unbind(-1)
    return torch.stack([z, -x], -1)


def hinge_positions(
    tree: KinematicTree, angle_matrix: Tensor, hinge_pos: Tensor, q: Tensor
) -> tuple[Tensor, Tensor]:
    """Return world positions of the hinges (N, L, 2) and absolute link angles (N, L).

    Args:
        tree: topology.
        angle_matrix: (L, L) of the tree.
        hinge_pos: (L, 2) [m] of each hinge in the frame of the parent link.
        q: (N, n) positions.
    """
    angle = q[:, 2:] @ angle_matrix.T
    positions: list[Tensor] = []
    for k, parent in enumerate(tree.parents):
        if parent < 0:
            positions.append(q[:, :2])
        else:
            positions.append(positions[parent] + rotate(angle[:, parent], hinge_pos[k]))
    return torch.stack(positions, 1), angle


def rigid_body_terms(
    inertia: Inertia, angle_matrix: Tensor, q: Tensor, v: Tensor
) -> RigidBodyTerms:
    """Return mass matrix and bias forces, without damping.

    Args:
        inertia: of a tree.
        angle_matrix: (L, L) of the same tree.
        q: (N, n) positions.
        v: (N, n) velocities.
    """
    angle, rate = q[:, 2:] @ angle_matrix.T, v[:, 2:] @ angle_matrix.T
    difference = angle[:, None, :] - angle[:, :, None]  # (N, k, l)
    sine, cosine = difference.sin(), difference.cos()
    real, imaginary = inertia.c.unbind(-1)
    coupling = real * cosine + imaginary * sine
    coriolis = (imaginary * cosine - real * sine) * rate[:, None, :]  # (N, k, l)
    lever = rotate_derivative(angle, inertia.h)  # (N, L, 2)
    mass_matrix = torch.zeros(*q.shape, q.shape[1], dtype=q.dtype)
    mass_matrix[:, 0, 0] = mass_matrix[:, 1, 1] = 1.0
    root_coupling = lever.transpose(1, 2) @ angle_matrix  # (N, 2, L)
    mass_matrix[:, :2, 2:], mass_matrix[:, 2:, :2] = root_coupling, root_coupling.transpose(1, 2)
    mass_matrix[:, 2:, 2:] = angle_matrix.T @ coupling @ angle_matrix + inertia.armature.diag()
    centripetal = -rotate(angle, inertia.h) * rate[..., None]  # (N, L, 2)
    qfrc_bias_vel = torch.zeros_like(mass_matrix)
    qfrc_bias_vel[:, :2, 2:] = 2 * centripetal.transpose(1, 2) @ angle_matrix
    qfrc_bias_vel[:, 2:, 2:] = 2 * angle_matrix.T @ coriolis @ angle_matrix
    weight = torch.stack([torch.zeros_like(inertia.gravity), inertia.gravity])
    torque = (coriolis @ rate[..., None]).squeeze(2) + lever[..., 1] * inertia.gravity
    force = (centripetal * rate[..., None]).sum(1) + weight
    return RigidBodyTerms(mass_matrix, torch.cat([force, torque @ angle_matrix], 1), qfrc_bias_vel)
