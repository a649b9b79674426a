"""Body that an arm carries, as part of its URDF."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import NamedTuple

from invdyn_ros.robots.urdf import INERTIA_ENTRIES
from invdyn_ros.typing import Array

CARRIED_LINK = "carried_body"


class CarriedBody(NamedTuple):
    """Rigid body that is fixed to a link.

    Attributes:
        link: name of the link.
        mass: [kg].
        center: (3,) centre of mass in the frame of the link [m].
        inertia: (3, 3) about the centre of mass, along the axes of the link [kg m2].
    """

    link: str
    mass: float
    center: Array
    inertia: Array

    def add_to(self, urdf: ET.Element) -> None:
        """Add the body to the root of a URDF as a link that is fixed to its own."""
        joint = ET.SubElement(urdf, "joint", name=f"{CARRIED_LINK}_joint", type="fixed")
        ET.SubElement(joint, "parent", link=self.link)
        ET.SubElement(joint, "child", link=CARRIED_LINK)
        inertial = ET.SubElement(ET.SubElement(urdf, "link", name=CARRIED_LINK), "inertial")
        ET.SubElement(inertial, "origin", xyz=" ".join(repr(float(x)) for x in self.center))
        ET.SubElement(inertial, "mass", value=repr(float(self.mass)))
        entries = {key: repr(float(self.inertia[i, j])) for i, j, key in INERTIA_ENTRIES}
        ET.SubElement(inertial, "inertia", entries)
