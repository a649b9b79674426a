"""URDF parser: kinematic tree, joint limits and inertias."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invdyn_ros.robots.mesh_files import check_mesh_path
from invdyn_ros.robots.urdf_checks import (
    INERTIA_ENTRIES,
    NUMBERS,
    find_errors,
    inertia_matrix,
)
from invdyn_ros.robots.urdf_text import decode, parse_xml, read_urdf_text
from invdyn_ros.typing import Array


class UrdfJoint(NamedTuple):
    """A URDF joint."""

    name: str
    type: str  # revolute, continuous, prismatic, fixed, ...
    parent: str  # link
    child: str  # link
    T: Array  # (4, 4) pose of the joint frame (= child frame at zero) in the parent link
    axis: Array  # (3,) unit vector in the joint frame
    limit: dict[str, float]  # lower, upper [rad or m], velocity, effort, as far as given
    mimic: bool


class UrdfTree:
    """Kinematic tree of a URDF.

    Raises:
        ValueError: the text is not a URDF, or its links do not form a single tree.
    """

    def __init__(self, xml: str | bytes, source: str = "URDF") -> None:
        self.element = parse_urdf(xml, source)
        self.source = source
        self.links = {str(link.get("name")): link for link in self.element.findall("link")}
        joints = [self._joint(joint) for joint in self.element.findall("joint")]
        self.joints = {joint.name: joint for joint in joints}
        self.parent_joint = {joint.child: joint for joint in joints}  # link -> its joint
        self.root = next(link for link in self.links if link not in self.parent_joint)

    def moving_ancestor(self, link: str, moving: tuple[str, ...]) -> tuple[str | None, Array]:
        """Return the nearest joint of `moving` above a link, and the link's pose (4, 4) in it.

        For a link that does not move the joint is None and the pose is relative to the root link.
        """
        T = np.eye(4)
        while link != self.root:
            joint = self.parent_joint[link]
            if joint.name in moving:
                return joint.name, T
            T = joint.T @ T
            link = joint.parent
        return None, T

    def joint_path(self, link: str) -> list[int]:
        """Return the joint indices from the root to a link, a sort key for depth-first order."""
        order = {name: i for i, name in enumerate(self.joints)}
        path: list[int] = []
        while link != self.root:
            path.insert(0, order[self.parent_joint[link].name])
            link = self.parent_joint[link].parent
        return path

    def pseudo_inertia(self, joint: str, moving: tuple[str, ...]) -> Array:
        """Return the pseudo-inertia (4, 4) of the links rigidly attached behind a joint.

        In the joint frame, the integral of x x^T dm over points x = (x, y, z, 1): second moments
        [kg m2], first moments [kg m] and mass [kg].
        """
        J = np.zeros((4, 4))
        for link in self.links:
            name, T = self.moving_ancestor(link, moving)
            if name == joint:
                J += T @ self._link_pseudo_inertia(link) @ T.T
        return J

    def check_inertias(self, moving: tuple[str, ...]) -> None:
        """Check that all moving links have mass and inertia.

        Raises:
            ValueError: a link has none; the message names it.
        """
        for name in moving:
            J = self.pseudo_inertia(name, moving)
            mass = J[3, 3]
            if mass > 0:
                # second moments about the centre of mass
                second = J[:3, :3] - np.outer(J[:3, 3], J[:3, 3]) / mass
                inertia = np.trace(second) * np.eye(3) - second
                if np.linalg.eigvalsh(inertia)[0] > 0:
                    continue
            link = self.joints[name].child
            raise ValueError(
                f"{self.source}: link '{link}' moves but has mass {mass:.4g} kg and "
                "no positive inertia; give it an <inertial> with mass and inertia"
            )

    def _joint(self, element: ET.Element) -> UrdfJoint:
        name = str(element.get("name"))
        ends = [element.find("parent"), element.find("child")]
        parent, child = (str(e.get("link")) if e is not None else "" for e in ends)
        axis_element = element.find("axis")
        axis = _vector(axis_element.get("xyz") if axis_element is not None else None, "1 0 0")
        limit = element.find("limit")
        return UrdfJoint(
            name, str(element.get("type")), parent, child, _pose(element.find("origin")),
            axis / (np.linalg.norm(axis) or 1.0),
            {k: float(v) for k, v in limit.items() if k in NUMBERS["limit"]}
            if limit is not None
            else {},
            element.find("mimic") is not None,
        )  # fmt: skip

    def _link_pseudo_inertia(self, link: str) -> Array:
        inertial = self.links[link].find("inertial")
        if inertial is None:
            return np.zeros((4, 4))
        mass, inertia = inertial.find("mass"), inertial.find("inertia")
        if mass is None or inertia is None:
            raise ValueError(f"{self.source}: <inertial> of '{link}' lacks <mass> or <inertia>")
        I = inertia_matrix(inertia)  # noqa: E741
        J = np.zeros((4, 4))
        J[:3, :3] = np.trace(I) / 2 * np.eye(3) - I
        J[3, 3] = float(mass.get("value", "0"))
        T = _pose(inertial.find("origin"))
        return T @ J @ T.T


def load_urdf(path: Path) -> UrdfTree:
    """Read a URDF file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a URDF, or one of its meshes is outside its folder and of no package.
    """
    tree = UrdfTree(read_urdf_text(path), str(path))
    for mesh in tree.element.iter("mesh"):
        check_mesh_path(mesh.get("filename", ""), path)
    return tree


def parse_urdf(xml: str | bytes, source: str) -> ET.Element:
    """Parse a URDF and check its elements.

    Raises:
        ValueError: not XML, no <robot>, or the first of `find_errors`.
    """
    root = parse_robot(decode(xml, source) if isinstance(xml, bytes) else xml, source)
    for problem in find_errors(root):
        raise ValueError(f"{source}: {problem}")
    return root


def parse_robot(text: str, source: str) -> ET.Element:
    """Parse the text of a URDF without checking its elements.

    Raises:
        ValueError: not XML, or no <robot>.
    """
    root = parse_xml(text, source)
    if root.tag != "robot":
        raise ValueError(f"{source} is not a URDF: it starts <{root.tag[:40]}>, not <robot>")
    return root


def clear_invalid_base_inertias(root: ET.Element, joint_names: tuple[str, ...]) -> None:
    """Clear inertias of links that do not move and that no body has, which MuJoCo would refuse.

    Args:
        root: of a URDF, which is changed.
        joint_names: joints that move.
    """
    tree = None
    for link in root.iter("link"):
        inertia = link.find("inertial/inertia")
        if inertia is None or np.linalg.eigvalsh(inertia_matrix(inertia))[0] > 0:
            continue
        tree = tree or UrdfTree(ET.tostring(root, encoding="unicode"))
        if tree.moving_ancestor(str(link.get("name")), joint_names)[0] is None:
            inertia.attrib.update({key: "0" for _, _, key in INERTIA_ENTRIES})
            for mass in link.findall("inertial/mass"):
                mass.set("value", "0")


def _vector(text: str | None, default: str) -> Array:
    return np.array([float(x) for x in (text or default).split()])


def _pose(origin: ET.Element | None) -> Array:
    """Return <origin> as a pose (4, 4); rpy rotates about the fixed axes x, y, z in this order."""
    T = np.eye(4)
    if origin is None:
        return T
    T[:3, 3] = _vector(origin.get("xyz"), "0 0 0")
    (cr, cp, cy), (sr, sp, sy) = (f(_vector(origin.get("rpy"), "0 0 0")) for f in (np.cos, np.sin))
    T[:3, :3] = (
        np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        @ np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    )
    return T
