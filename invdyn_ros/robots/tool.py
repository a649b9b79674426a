"""Tool of an arm that its URDF lacks: the pose of the tool centre point."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np

from invdyn_ros.config import Validated

TOOL_LINK = "tool_center_point"  # link of a tool in the URDF of its arm
MAX_DISTANCE = 5.0  # [m] of a tool centre point from its link

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Tool(Validated):
    """Pose of the tool centre point, whose z axis is the approach direction.

    Attributes:
        xyz: position in the frame of the link that holds the tool [m].
        rpy: rotation about the fixed axes x, y, z of that frame, in this order [rad].
    """

    xyz: Vector = (0.0, 0.0, 0.0)
    rpy: Vector = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        """Check that it is in metres and radians.

        Raises:
            ValueError: it is far from its link, or turned by more than a turn.
        """
        super().__post_init__()
        if not np.abs(self.xyz).max() <= MAX_DISTANCE:
            raise ValueError(
                f"xyz of the tool is {list(self.xyz)}; give metres, at most {MAX_DISTANCE:g}"
            )
        if not np.abs(self.rpy).max() <= 2 * np.pi:
            raise ValueError(f"rpy of the tool is {list(self.rpy)}; give radians")

    def add_to(self, urdf: ET.Element, link: str) -> None:
        """Add the tool to the root of a URDF as a link without mass.

        Args:
            urdf: root of the URDF.
            link: link that holds the tool.
        """
        joint = ET.SubElement(urdf, "joint", name=f"{TOOL_LINK}_joint", type="fixed")
        ET.SubElement(joint, "parent", link=link)
        ET.SubElement(joint, "child", link=TOOL_LINK)
        pose = {key: " ".join(map(repr, value)) for key, value in vars(self).items()}
        ET.SubElement(joint, "origin", pose)
        ET.SubElement(urdf, "link", name=TOOL_LINK)
