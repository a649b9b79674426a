"""Description of a robot for other programs: its URDF as text, and the frames of its links."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.urdf import UrdfJoint, UrdfTree, parse_urdf
from invdyn_ros.robots.urdf_checks import MOVABLE_TYPES
from invdyn_ros.robots.urdf_text import read_urdf_text

LIMITS = ("lower", "upper", "velocity", "effort")
REFERENCES = (("parent", "link"), ("child", "link"), ("mimic", "joint"))  # to names, in joints


def description_text(robot: Robot, prefix: str = "") -> str:
    """Return the URDF of an arm with its own limits, and meshes that others find.

    Args:
        robot: the arm.
        prefix: added to the names of links and joints.
    """
    root = parse_urdf(read_urdf_text(robot.urdf), str(robot.urdf))
    for mesh in root.iter("mesh"):
        mesh.set("filename", _mesh_address(mesh.get("filename", ""), robot.urdf))
    for joint in root.findall("joint"):
        if (name := joint.get("name")) in robot.joint_names:
            _set_limits(joint, robot, robot.joint_names.index(str(name)))
    if robot.tool is not None:
        robot.tool.add_to(root, robot.flange)
    _rename(root, lambda name: prefix + name)
    return ET.tostring(root, encoding="unicode")


def without_prefix(text: str, prefix: str) -> str:
    """Return a URDF without a prefix of the names of links and joints.

    Raises:
        ValueError: not a URDF.
    """
    root = parse_urdf(text, "robot_description")
    _rename(root, lambda name: name.removeprefix(prefix))
    return ET.tostring(root, encoding="unicode")


def _rename(root: ET.Element, change: Callable[[str], str]) -> None:
    """Change the names of links and joints."""
    for joint in root.findall("joint"):
        for tag, key in REFERENCES:
            for element in joint.findall(tag):
                element.set(key, change(element.get(key, "")))
    for element in (*root.findall("link"), *root.findall("joint")):
        element.set("name", change(element.get("name", "")))


def _mesh_address(name: str, urdf: Path) -> str:
    """Return the address of a mesh, which a URDF may give relative to itself."""
    if name.startswith("package://"):
        return name
    return (urdf.resolve().parent / name.removeprefix("file://")).resolve().as_uri()


def _set_limits(joint: ET.Element, robot: Robot, index: int) -> None:
    limit = joint.find("limit")
    if limit is None:
        limit = ET.SubElement(joint, "limit")
    for key in LIMITS:
        limit.set(key, repr(float(getattr(robot, key)[index])))


class LinkPose(NamedTuple):
    """Pose of a link in the frame of the link before it.

    Attributes:
        parent: name of that link.
        child: name of the link.
        position: x, y, z [m].
        quaternion: x, y, z, w.
    """

    parent: str
    child: str
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]


class LinkFrames:
    """Frames of the links of a URDF.

    Attributes:
        fixed: poses of the links that fixed joints hold.
    """

    def __init__(self, xml: str) -> None:
        """Create the frames of the links of a URDF.

        Raises:
            ValueError: it is not a URDF.
        """
        tree = UrdfTree(xml)
        joints = tree.joints.values()
        self.fixed = [
            LinkPose(j.parent, j.child, *_pose(j)) for j in joints if j.type not in MOVABLE_TYPES
        ]
        self._moving = [_Moving.of(j, tree) for j in joints if j.type in MOVABLE_TYPES]

    def moving(self, positions: Mapping[str, float]) -> list[LinkPose]:
        """Return the poses of the links behind the joints whose positions are known.

        Args:
            positions: joint name -> position [rad or m].
        """
        poses = []
        for joint in self._moving:
            position = positions.get(joint.source)
            if position is not None and math.isfinite(position):
                poses.append(joint.pose(joint.multiplier * position + joint.offset))
        return poses


class _Moving(NamedTuple):
    """A joint that moves, with its axis in the frame of the link before it.

    Attributes:
        source: name of the joint whose position it has; its own unless it mimics another one.
        multiplier: of that position.
        offset: added to it [rad or m].
        slides: whether it moves along its axis; else it turns about it.
        zero: pose at zero.
        axis: unit vector, of a sliding joint in the frame before it, else in its own.
    """

    source: str
    multiplier: float
    offset: float
    slides: bool
    zero: LinkPose
    axis: tuple[float, ...]

    @classmethod
    def of(cls, joint: UrdfJoint, tree: UrdfTree) -> _Moving:
        source, multiplier, offset = joint.name, 1.0, 0.0
        element = tree.element.find(f"joint[@name='{joint.name}']/mimic")
        if element is not None:
            source = element.get("joint", "")
            multiplier = float(element.get("multiplier", "1"))
            offset = float(element.get("offset", "0"))
        slides = joint.type == "prismatic"
        axis = joint.T[:3, :3] @ joint.axis if slides else joint.axis
        zero = LinkPose(joint.parent, joint.child, *_pose(joint))
        return cls(source, multiplier, offset, slides, zero, tuple(axis.tolist()))

    def pose(self, position: float) -> LinkPose:
        """Return the pose at a position [rad or m]."""
        x, y, z = self.axis
        if self.slides:
            px, py, pz = self.zero.position
            moved = px + position * x, py + position * y, pz + position * z
            return self.zero._replace(position=moved)
        s, c = math.sin(position / 2), math.cos(position / 2)
        x, y, z = s * x, s * y, s * z
        qx, qy, qz, qw = self.zero.quaternion
        turned = (
            qw * x + qx * c + qy * z - qz * y,
            qw * y - qx * z + qy * c + qz * x,
            qw * z + qx * y - qy * x + qz * c,
            qw * c - qx * x - qy * y - qz * z,
        )
        return self.zero._replace(quaternion=turned)


def _pose(
    joint: UrdfJoint,
) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
    """Return position and quaternion (x, y, z, w) of a joint at zero."""
    from invdyn_ros.robots.rotation import matrix_to_quaternion  # a comparison needs none

    x, y, z = joint.T[:3, 3].tolist()
    qw, qx, qy, qz = matrix_to_quaternion(joint.T[:3, :3]).tolist()
    return (x, y, z), (qx, qy, qz, qw)
