"""Batched, differentiable rigid-body inverse dynamics of a URDF in PyTorch.

Small batches are computed for all links at once with homogeneous matrices in the base frame, large
batches with the recursion of `newton_euler`. The former is after

- J. J. Uicker, "On the dynamic analysis of spatial linkages using 4x4 matrices", 1965, in the
  form of Hollerbach, "A recursive Lagrangian formulation of manipulator dynamics", 1980;
- Featherstone, "Rigid Body Dynamics Algorithms", 2008, ch. 2 and 5 (twists summed along the tree);
- Atkeson, An, Hollerbach, "Estimation of inertial parameters of manipulator loads and links",
  1986 (torque is linear in the ten inertial parameters of each link), with the parameters as a
  pseudo-inertia matrix: Wensing, Kim, Slotine, 2018, eq. 8.

Joint i moves the links behind it by the constant twist matrix S_i (4, 4). With T_k the pose of
link k and J_k its pseudo-inertia (the integral of x x^T dm over its points x = (x, y, z, 1)),

    V_k = sum of S_j qd_j,  A_k = sum of S_j qdd_j + [V_j, S_j] qd_j,      j from the base up to k
    T_k'' = (A_k + V_k V_k) T_k                                            gravity included
    tau_i = <S_i, sum of T_k'' J_k T_k^T>                                  k from i outwards
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from invdyn_ros.robots.multibody_tree import GRAVITY, MultibodyTree
from invdyn_ros.robots.newton_euler import NewtonEuler
from invdyn_ros.typing import Array

RECURSION_MIN_BATCH = 64  # smallest batch for which the recursion is faster
CHUNK_SIZE = {"cpu": 2048, "cuda": 2**18}  # motions per chunk; fits the cache, or the GPU memory


class LinkMotion(NamedTuple):
    """Poses, twists and accelerations of all links."""

    T: Tensor  # (..., n, 4, 4) link poses in the base frame
    S: Tensor  # (..., n, 4, 4) joint twists in the base frame
    Tdd: Tensor  # (..., n, 4, 4) second time derivative of T, less gravity


class RigidBodyTree(nn.Module):
    """Batched, differentiable rigid-body dynamics of a kinematic tree.

    Inputs are (..., n) tensors of the tree's dtype: q [rad or m], qd, qdd; torques are [N m or N].
    """

    inertial: Tensor
    transforms: Tensor
    axes: Tensor
    ancestors: Tensor
    twist_basis: Tensor
    gravity: Tensor
    pseudo_inertia_basis: Tensor

    def __init__(self, tree: MultibodyTree, dtype: torch.dtype = torch.float64) -> None:
        """Create the dynamics of a tree, with all tensors of a floating type."""
        super().__init__()
        self.parents, self.order = tree.parents, tree.order
        gravity = np.zeros((4, 4))
        gravity[:3, 3] = tree.gravity
        constants = {
            "transforms": _pose_coefficients(tree.transforms, tree.axes, tree.prismatic),
            "axes": _screw_axes(tree.axes, tree.prismatic),
            "ancestors": _ancestors(self.parents, self.order),
            "twist_basis": _TWIST_BASIS,
            "gravity": gravity,
            "pseudo_inertia_basis": PSEUDO_INERTIA_BASIS,
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.as_tensor(value, dtype=dtype), persistent=False)
        self.register_buffer("inertial", torch.tensor(tree.inertial, dtype=dtype))
        self.recursion = NewtonEuler(tree, PSEUDO_INERTIA_BASIS.reshape(10, 4, 4), dtype)

    @classmethod
    def from_urdf(
        cls,
        xml: str,
        joint_names: Sequence[str],
        gravity: Sequence[float] = GRAVITY,
        dtype: torch.dtype = torch.float64,
    ) -> RigidBodyTree:
        """Create the dynamics of `joint_names` of a URDF; all other joints are fixed at zero.

        Args:
            xml: text of the URDF.
            joint_names: the n joints of the tree, in the order of all inputs and outputs.
            gravity: (3,) [m/s2] in the base frame.
            dtype: floating type of all tensors.

        Raises:
            ValueError: as `MultibodyTree.from_urdf`.
        """
        return cls(MultibodyTree.from_urdf(xml, joint_names, gravity), dtype)

    def torque(self, q: Tensor, qd: Tensor, qdd: Tensor, inertial: Tensor | None = None) -> Tensor:
        """Return the joint torques (..., n) of a motion.

        Args:
            q: (..., n) joint positions.
            qd: (..., n) joint velocities.
            qdd: (..., n) joint accelerations.
            inertial: (n, 10) inertial parameters to use instead of `self.inertial`.
        """
        inertial = self.inertial if inertial is None else inertial
        if math.prod(q.shape[:-1]) >= RECURSION_MIN_BATCH:
            rows = (x.reshape(-1, x.shape[-1]).T for x in (q, qd, qdd))  # (n, B)
            chunk = CHUNK_SIZE.get(q.device.type, max(CHUNK_SIZE.values()))
            chunks = zip(*(x.split(chunk, dim=-1) for x in rows), strict=True)
            torques = [self.recursion(*map(Tensor.contiguous, x), inertial).T for x in chunks]
            return torch.cat(torques).view_as(q)
        T, S, Tdd = self.link_motion(q, qd, qdd)
        J = (inertial @ self.pseudo_inertia_basis).unflatten(-1, (4, 4))  # (n, 4, 4)
        wrench = (Tdd @ J @ T.transpose(-1, -2)).flatten(-2)  # (..., n, 16)
        return (S.flatten(-2) * (self.ancestors.T @ wrench)).sum(-1)

    def regressor(self, q: Tensor, qd: Tensor, qdd: Tensor) -> Tensor:
        """Return the regressor Y (..., n, 10 n), where torque = Y @ inertial.flatten().

        Args:
            q: (..., n) positions [rad].
            qd: (..., n) velocities [rad/s].
            qdd: (..., n) accelerations [rad/s2].
        """
        T, S, Tdd = (x.unsqueeze(-4) for x in self.link_motion(q, qd, qdd))
        # (..., i, k, 4, 4); <X, J_k> is the torque of joint i due to link k
        X = Tdd.mT @ S.transpose(-4, -3) @ T
        Y = (X.flatten(-2) @ self.pseudo_inertia_basis.T) * self.ancestors.T[..., None]
        return Y.flatten(-2)

    def poses(self, q: Tensor) -> Tensor:
        """Return the poses (..., n, 4, 4) of the moving links in the base frame."""
        terms = torch.stack([torch.ones_like(q), q, q.sin(), q.cos()], -1)  # (..., n, 4)
        local = (terms.unsqueeze(-2) @ self.transforms).view(*q.shape, 4, 4).unbind(-3)
        poses: dict[int, Tensor] = {}
        for k in self.order:
            parent = self.parents[k]
            poses[k] = local[k] if parent < 0 else poses[parent] @ local[k]
        return torch.stack([poses[k] for k in range(len(poses))], -3)

    def link_motion(self, q: Tensor, qd: Tensor, qdd: Tensor) -> LinkMotion:
        """Return poses, twists and accelerations of all links.

        Args:
            q: (..., n) positions [rad].
            qd: (..., n) velocities [rad/s].
            qdd: (..., n) accelerations [rad/s2].
        """
        T = self.poses(q)
        angular, linear = (T @ self.axes)[..., :3, :].unbind(-1)  # (..., n, 3), one of them zero
        moment = torch.linalg.cross(T[..., :3, 3], angular) + linear
        s = torch.cat([angular, moment], -1)  # (..., n, 6)
        s_qd = s * qd.unsqueeze(-1)
        V6 = self.ancestors @ s_qd
        S, S_qd, V = ((x @ self.twist_basis).unflatten(-1, (4, 4)) for x in (s, s_qd, V6))
        change = S * qdd[..., None, None] + V @ S_qd - S_qd @ V
        A = (self.ancestors @ change.flatten(-2)).unflatten(-1, (4, 4))
        return LinkMotion(T, S, (A + V @ V - self.gravity) @ T)


def _ancestors(parents: Sequence[int], order: Sequence[int]) -> Array:
    """Return A (n, n), where A[k, i] is 1 if joint i moves link k, else 0."""
    ancestors = np.eye(len(parents))
    for k in order:
        if parents[k] >= 0:
            ancestors[k] += ancestors[parents[k]]
    return ancestors


def _skew(a: Array) -> Array:
    return np.cross(np.eye(3), a)


def _screw_axes(axes: Array, prismatic: Sequence[bool]) -> Array:
    """Return (n, 4, 2): each axis in column 0 if revolute, in column 1 if prismatic."""
    is_prismatic = np.asarray(prismatic, dtype=bool)[:, None]
    columns = np.stack([axes * ~is_prismatic, axes * is_prismatic], -1)
    return np.pad(columns, ((0, 0), (0, 1), (0, 0)))


def _pose_coefficients(T: Array, axes: Array, prismatic: Sequence[bool]) -> Array:
    """Return C (n, 4, 16), where [1, q, sin q, cos q] @ C_i is the flattened pose of joint i."""
    C = np.zeros((len(T), 4, 4, 4))
    for i, (axis, is_prismatic) in enumerate(zip(axes, prismatic, strict=True)):
        C[i, 0] = np.eye(4)
        if is_prismatic:
            C[i, 1, :3, 3] = axis
        else:  # Rodrigues: 1 + sin(q) K + (1 - cos(q)) K K
            K = _skew(axis)
            C[i, 0, :3, :3] += K @ K
            C[i, 2, :3, :3] = K
            C[i, 3, :3, :3] = -K @ K
    return (T[:, None] @ C).reshape(len(T), 4, 16)


def _twist_basis() -> Array:
    """Return the basis (6, 16) of twist matrices: twist (angular, linear) @ basis is flattened."""
    basis = np.zeros((6, 4, 4))
    for i, axis in enumerate(np.eye(3)):
        basis[i, :3, :3] = _skew(axis)
        basis[3 + i, :3, 3] = axis
    return basis.reshape(6, 16)


def _pseudo_inertia_basis() -> Array:
    """Return the basis (10, 16): inertial parameters @ basis is the flattened pseudo-inertia."""
    basis = np.zeros((10, 4, 4))
    basis[0, 3, 3] = 1.0
    for i in range(3):
        basis[1 + i, i, 3] = basis[1 + i, 3, i] = 1.0
    for k, (i, j) in enumerate(zip(*np.array(np.triu_indices(3)).tolist(), strict=True)):
        I = np.zeros((3, 3))  # noqa: E741
        I[i, j] = I[j, i] = 1.0
        basis[4 + k, :3, :3] = np.trace(I) / 2 * np.eye(3) - I
    return basis.reshape(10, 16)


_TWIST_BASIS, PSEUDO_INERTIA_BASIS = _twist_basis(), _pseudo_inertia_basis()
