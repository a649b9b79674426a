"""Batched recursive Newton-Euler algorithm for large batches.

After Luh, Walker, Paul 1980 and Featherstone 2008, ch. 5, with each link frame rotated so that its
joint axis is z. Apart from the motion of the joints themselves, all steps are linear in the 15
features of a link,

    F = [w, dw, a, w w^T]   angular velocity and acceleration, the origin's acceleration - gravity

so each link takes three products with constant matrices: the parent's features to the motion of
the link frame, the features to the link's wrench, and that wrench to the parent's frame. The batch
is the last axis, where memory is contiguous.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from invdyn_ros.robots.multibody_tree import MultibodyTree
from invdyn_ros.typing import Array

NUM_FEATURES = 15  # x, then y, then z of (w, dw, a); then xx, xy, xz, yy, yz, zz of w w^T
PRODUCT_INDICES = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


class NewtonEuler(nn.Module):
    """Differentiable inverse dynamics of a kinematic tree, fast for large batches."""

    motion_maps: Tensor
    wrench_maps: Tensor
    force_maps: Tensor
    base_features: Tensor

    def __init__(self, tree: MultibodyTree, basis: Array, dtype: torch.dtype) -> None:
        """Precompute the constant matrices.

        Args:
            tree: the tree.
            basis: (10, 4, 4) pseudo-inertia of each inertial parameter.
            dtype: floating type of all tensors.
        """
        super().__init__()
        self.parents, self.order, self.prismatic = tree.parents, tree.order, tree.prismatic
        rotations = [_rotation_from_z(axis) for axis in tree.axes]
        motion_maps, wrench_maps, force_maps = [], [], []
        for k, parent in enumerate(self.parents):
            parent_rotation = np.eye(4) if parent < 0 else rotations[parent]
            T = parent_rotation.T @ tree.transforms[k] @ rotations[k]
            motion_maps.append(_motion_map(T))
            wrench_maps.append(_wrench_maps(rotations[k].T @ basis @ rotations[k]))
            force_maps.append(_force_map(T))
        base_features = np.zeros((NUM_FEATURES, 1))
        base_features[[2, 5, 8], 0] = -np.asarray(tree.gravity)
        constants = {
            "motion_maps": motion_maps,
            "wrench_maps": wrench_maps,
            "force_maps": force_maps,
            "base_features": base_features,
        }
        for name, value in constants.items():
            tensor = torch.as_tensor(np.array(value), dtype=dtype)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, q: Tensor, qd: Tensor, qdd: Tensor, inertial: Tensor) -> Tensor:
        """Return the torques (n, B) of a batch of motions.

        Args:
            q: (n, B) joint positions [rad or m].
            qd: (n, B) joint velocities.
            qdd: (n, B) joint accelerations.
            inertial: (n, 10) inertial parameters of the links.
        """
        wrench_maps = torch.einsum("kj,kjrf->krf", inertial, self.wrench_maps)  # (n, 6, 15)
        sine, cosine = q.sin(), q.cos()
        features: dict[int, Tensor] = {-1: self.base_features}
        wrenches: dict[int, Tensor] = {}
        for k in self.order:
            # (9, B), or (9, 1) from the base
            motion = self.motion_maps[k] @ features[self.parents[k]]
            if self.prismatic[k]:
                features[k] = _prismatic_features(motion, q[k], qd[k], qdd[k])
            else:
                features[k] = _revolute_features(motion, sine[k], cosine[k], qd[k], qdd[k])
            wrenches[k] = wrench_maps[k] @ features[k]
        torques: dict[int, Tensor] = {}
        for k in reversed(self.order):
            x, y, z = wrenches[k].split(2)  # (force, moment) along each axis
            torques[k] = z[0] if self.prismatic[k] else z[1]
            if (parent := self.parents[k]) < 0:
                continue
            if self.prismatic[k]:
                wrench = torch.stack([x[0], x[1] - q[k] * y[0], y[0], y[1] + q[k] * x[0], *z])
            else:
                s, c = sine[k], cosine[k]
                x, y = torch.addcmul(c * x, s, y, value=-1), torch.addcmul(c * y, s, x)
                wrench = torch.cat([x, y, z])
            wrenches[parent] = torch.addmm(wrenches[parent], self.force_maps[k], wrench)
        return torch.stack([torques[k] for k in range(len(torques))])


def _revolute_features(motion: Tensor, s: Tensor, c: Tensor, qd: Tensor, qdd: Tensor) -> Tensor:
    """Return the features (15, B) of a link behind a revolute joint about z."""
    x, y, z = motion.split(3)
    wx, dx, ax = torch.addcmul(c * x, s, y)
    wy, dy, ay = torch.addcmul(c * y, s, x, value=-1)
    wz, dz, az = z
    wz = wz + qd
    linear = [
        wx,
        torch.addcmul(dx, wy, qd),
        ax,
        wy,
        torch.addcmul(dy, wx, qd, value=-1),
        ay,
        wz,
        dz + qdd,
    ]
    return torch.stack([*linear, az.expand_as(qd), *_outer_products(wx, wy, wz)])


def _prismatic_features(motion: Tensor, q: Tensor, qd: Tensor, qdd: Tensor) -> Tensor:
    """Return the features (15, B) of a link behind a prismatic joint along z."""
    wx, dx, ax, wy, dy, ay, wz, dz, az = motion.expand(-1, len(q))
    products = _outer_products(wx, wy, wz)
    xx, _, xz, yy, yz, _ = products
    ax = ax + q * (dy + xz) + 2 * qd * wy
    ay = ay + q * (yz - dx) - 2 * qd * wx
    az = az - q * (xx + yy) + qdd
    return torch.stack([wx, dx, ax, wy, dy, ay, wz, dz, az, *products])


def _outer_products(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    w = (x, y, z)
    return [w[i] * w[j] for i, j in PRODUCT_INDICES]


def _unit_features() -> list[tuple[Array, Array, Array, Array]]:
    """Return (w, dw, a, w w^T) for each of the 15 unit vectors of features."""
    units = []
    for row in range(9):
        parts = np.zeros((3, 3))
        parts[row % 3, row // 3] = 1.0
        units.append((*parts, np.zeros((3, 3))))
    for i, j in PRODUCT_INDICES:
        S = np.zeros((3, 3))
        S[i, j] = S[j, i] = 1.0
        units.append((*np.zeros((3, 3)), S))
    return units


def _motion_map(T: Array) -> Array:
    """Return the map (9, 15) from a link's features to (w, dw, a) of a frame at pose T on it."""
    R, p = T[:3, :3], T[:3, 3]
    columns = []
    for w, dw, a, S in _unit_features():
        acceleration = a + np.cross(dw, p) + S @ p - np.trace(S) * p
        columns.append(np.stack([R.T @ w, R.T @ dw, R.T @ acceleration], axis=1).ravel())
    return np.stack(columns, axis=1)


def _wrench_maps(J: Array) -> Array:
    """Return the maps (N, 6, 15) from features to wrench for pseudo-inertias J (N, 4, 4)."""
    _, dw, a, S = (np.stack(parts) for parts in zip(*_unit_features(), strict=True))
    mass, first, second = J[:, 3:, 3:], J[:, None, :3, 3], J[:, :3, :3]
    trace = np.trace(second, axis1=1, axis2=2)[:, None, None]
    inertia = trace * np.eye(3) - second
    trace_S = np.trace(S, axis1=1, axis2=2)[:, None]
    centrifugal = (S @ first[..., None])[..., 0] - trace_S * first  # (N, 15, 3)
    force = mass * a + np.cross(dw, first) + centrifugal
    P = S @ inertia[:, None]  # (N, 15, 3, 3)
    gyroscopic = np.stack(
        [P[..., i, j] - P[..., j, i] for i, j in ((1, 2), (2, 0), (0, 1))], axis=-1
    )
    moment = dw @ inertia + gyroscopic + np.cross(first, a)
    return np.stack([force, moment], axis=-1).reshape(len(J), -1, 6).swapaxes(1, 2)


def _force_map(T: Array) -> Array:
    """Return the map (6, 6) from a wrench in a frame at pose T to the wrench about the origin."""
    R, p = T[:3, :3], T[:3, 3]
    columns = []
    for row in range(6):
        parts = np.zeros((2, 3))
        parts[row % 2, row // 2] = 1.0
        force, moment = R @ parts[0], R @ parts[1]
        columns.append(np.stack([force, moment + np.cross(p, force)], axis=1).ravel())
    return np.stack(columns, axis=1)


def _rotation_from_z(axis: Array) -> Array:
    """Return a rotation (4, 4) that maps z to a unit axis."""
    T = np.eye(4)
    if not np.allclose(axis, T[2, :3]):
        side = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
        side /= np.linalg.norm(side)
        T[:3, :3] = np.stack([np.cross(side, axis), side, axis], axis=1)
    return T
