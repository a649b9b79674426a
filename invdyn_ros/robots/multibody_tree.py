"""Multibody tree of the moving joints of a URDF, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from invdyn_ros.robots.urdf import UrdfTree
from invdyn_ros.robots.urdf_checks import MOVABLE_TYPES
from invdyn_ros.typing import Array

GRAVITY = (0.0, 0.0, -9.81)  # [m/s2]


class MultibodyTree(NamedTuple):
    """Moving joints, which may be revolute, continuous or prismatic and may branch.

    Attributes:
        parents: (n,) index of the parent of each joint, -1 for the base.
        transforms: (n, 4, 4) pose of each joint at zero in the frame of its parent.
        axes: (n, 3) unit axis in the joint frame.
        prismatic: (n,) whether the joint is prismatic.
        inertial: (n, 10) inertial parameters: m [kg], m c [kg m] and Ixx, Ixy, Ixz, Iyy, Iyz, Izz
            [kg m2] about the origin of the link frame, of all links rigidly attached behind joint
            i.
        gravity: (3,) [m/s2] in the base frame.
    """

    parents: tuple[int, ...]
    transforms: Array
    axes: Array
    prismatic: tuple[bool, ...]
    inertial: Array
    gravity: tuple[float, ...]

    @classmethod
    def from_urdf(
        cls, xml: str, joint_names: Sequence[str], gravity: Sequence[float] = GRAVITY
    ) -> MultibodyTree:
        """Read the tree of `joint_names` from a URDF; all other joints are fixed at zero.

        Args:
            xml: text of the URDF.
            joint_names: the n joints of the tree, in the order of all arrays.
            gravity: (3,) [m/s2] in the base frame.

        Raises:
            ValueError: there is no URDF, a joint is missing or fixed, or a moving link has no
                inertia.
        """
        if not xml:
            raise ValueError(
                f"rigid-body dynamics of {', '.join(joint_names)} need a URDF: give --urdf FILE, "
                "or choose a family without rigid bodies, such as mlp"
            )
        tree, names = UrdfTree(xml), tuple(joint_names)
        for name in names:
            if name not in tree.joints:
                raise ValueError(f"no joint '{name}'; the URDF has {list(tree.joints)}")
            if (kind := tree.joints[name].type) not in MOVABLE_TYPES:
                raise ValueError(f"joint '{name}' is {kind}; it must be one of {MOVABLE_TYPES}")
        tree.check_inertias(names)
        joints = [tree.joints[name] for name in names]
        parents = [tree.moving_ancestor(joint.parent, names) for joint in joints]
        return cls(
            tuple(names.index(name) if name is not None else -1 for name, _ in parents),
            np.stack([T @ j.T for (_, T), j in zip(parents, joints, strict=True)]),
            np.stack([joint.axis for joint in joints]),
            tuple(joint.type == "prismatic" for joint in joints),
            np.stack([inertial_parameters(tree.pseudo_inertia(n, names)) for n in names]),
            tuple(gravity),
        )

    @property
    def order(self) -> list[int]:
        """Joint indices, sorted so that each comes after its parent."""

        def depth(k: int) -> int:
            return 0 if self.parents[k] < 0 else 1 + depth(self.parents[k])

        return sorted(range(len(self.parents)), key=depth)


def inertial_parameters(J: Array) -> Array:
    """Return the ten inertial parameters of a pseudo-inertia J (4, 4)."""
    I = np.trace(J[:3, :3]) * np.eye(3) - J[:3, :3]  # noqa: E741
    return np.concatenate([[J[3, 3]], J[:3, 3], I[np.triu_indices(3)]])
