"""Payload of an arm: mass, centre of mass and inertia of a body that its tip carries."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from invdyn_ros.config import Validated
from invdyn_ros.robots.multibody_tree import inertial_parameters
from invdyn_ros.robots.urdf import UrdfTree
from invdyn_ros.robots.urdf_checks import INERTIA_ENTRIES
from invdyn_ros.typing import Array

MAX_MASS = 1e3  # [kg] of a payload
MAX_DISTANCE = 10.0  # [m] of its centre from the link
TOLERANCE = 1e-6  # of the inertia, relative to its largest entry

Vector = tuple[float, float, float]
Interval = tuple[float, float]
CARRIED_LINK = "carried_body"  # link of a payload in the URDF of an arm that carries it


@dataclass(frozen=True)
class Payload(Validated):
    """A rigid body at the tip of an arm.

    Attributes:
        link: link of the URDF that carries it.
        mass: [kg].
        center: centre of mass in the frame of the link [m].
        inertia: (3, 3) about the centre of mass, along the axes of the link [kg m2].
        mass_ci95: 95% interval of the mass; none: not measured.
        center_ci95: of each coordinate of the centre.
        inertia_ci95: of Ixx, Ixy, Ixz, Iyy, Iyz, Izz.
    """

    link: str
    mass: Annotated[float, Field(gt=0, le=MAX_MASS)]
    center: Vector
    inertia: tuple[Vector, Vector, Vector] = ((0.0, 0.0, 0.0),) * 3
    mass_ci95: Interval | None = None
    center_ci95: tuple[Interval, Interval, Interval] | None = None
    inertia_ci95: Annotated[tuple[Interval, ...], Field(min_length=6, max_length=6)] | None = None

    def __post_init__(self) -> None:
        """Check that it is the inertia of a body.

        Raises:
            ValueError: names the field, its value and what is allowed.
        """
        super().__post_init__()
        if not np.abs(self.center).max() <= MAX_DISTANCE:
            raise ValueError(f"center is {self.center} m; it must be within {MAX_DISTANCE:g} m")
        inertia = np.array(self.inertia)
        size = TOLERANCE * np.abs(inertia).max()
        if not np.abs(inertia - inertia.T).max() <= size:
            raise ValueError(f"inertia is {self.inertia}; it must be symmetric")
        moments = np.linalg.eigvalsh(inertia)
        if not (moments[0] >= -size and moments[2] <= moments[0] + moments[1] + size):
            raise ValueError(
                f"inertia has the principal moments {', '.join(f'{m:.3g}' for m in moments)} "
                "kg m2, which no body has; the largest must be at most the sum of the others"
            )

    def pseudo_inertia(self) -> Array:
        """Return the pseudo-inertia (4, 4) in the frame of the link."""
        inertia, x = np.array(self.inertia), np.append(self.center, 1.0)
        P = self.mass * np.outer(x, x)
        P[:3, :3] += np.trace(inertia) / 2 * np.eye(3) - inertia
        return P

    def add_to(self, urdf: ET.Element) -> None:
        """Add the payload to the root of a URDF as a link that is fixed to its own."""
        joint = ET.SubElement(urdf, "joint", name=f"{CARRIED_LINK}_joint", type="fixed")
        ET.SubElement(joint, "parent", link=self.link)
        ET.SubElement(joint, "child", link=CARRIED_LINK)
        inertial = ET.SubElement(ET.SubElement(urdf, "link", name=CARRIED_LINK), "inertial")
        ET.SubElement(inertial, "origin", xyz=" ".join(map(repr, self.center)))
        ET.SubElement(inertial, "mass", value=repr(self.mass))
        entries = {key: repr(self.inertia[i][j]) for i, j, key in INERTIA_ENTRIES}
        ET.SubElement(inertial, "inertia", entries)

    def inertial_parameters(self, urdf: str, joint_names: Sequence[str]) -> Array:
        """Return the parameters (n, 10) that the payload adds to those of the links of an arm.

        They are as those of `MultibodyTree`: m, m c and I about the origin of the link frame.

        Args:
            urdf: text of the URDF.
            joint_names: the n moving joints.

        Raises:
            ValueError: the arm has no such link, or the link does not move.
        """
        joint, T = carrying_joint(urdf, joint_names, self.link)
        added = np.zeros((len(joint_names), 10))
        added[joint] = inertial_parameters(T @ self.pseudo_inertia() @ T.T)
        return added


def carrying_joint(urdf: str, joint_names: Sequence[str], link: str) -> tuple[int, Array]:
    """Return the index of the joint that moves a link, and the link's pose (4, 4) in its frame.

    Args:
        urdf: text of the URDF.
        joint_names: the moving joints.
        link: name of the link.

    Raises:
        ValueError: the arm has no such link, or the link does not move.
    """
    tree = UrdfTree(urdf)
    if link not in tree.links:
        raise ValueError(f"payload: no link '{link}'; the arm has {', '.join(tree.links)}")
    joint, T = tree.moving_ancestor(link, tuple(joint_names))
    if joint is None:
        raise ValueError(
            f"payload: no joint moves link '{link}'; name one behind '{joint_names[-1]}'"
        )
    return tuple(joint_names).index(joint), T
