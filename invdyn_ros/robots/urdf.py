"""URDF parser: kinematic tree, joint limits and inertias."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invdyn_ros.typing import Array

MOVABLE_TYPES = ("revolute", "continuous", "prismatic")

INERTIA_ENTRIES = (  # row, column and name of each entry of <inertia>
    (0, 0, "ixx"), (0, 1, "ixy"), (0, 2, "ixz"), (1, 1, "iyy"), (1, 2, "iyz"), (2, 2, "izz"),
)  # fmt: skip


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

    def __init__(self, xml: str, source: str = "URDF") -> None:
        try:
            self.element = ET.fromstring(xml)
        except ET.ParseError as error:
            raise ValueError(f"{source} is not XML: {error}") from error
        if self.element.tag != "robot":
            raise ValueError(
                f"{source} is not a URDF: it starts <{self.element.tag}>, not <robot>"
            )
        self.source = source
        self.links = {str(link.get("name")): link for link in self.element.findall("link")}
        joints = [self._joint(joint) for joint in self.element.findall("joint")]
        self.joints = {joint.name: joint for joint in joints}
        self.parent_joint = {joint.child: joint for joint in joints}  # link -> its joint
        roots = [link for link in self.links if link not in self.parent_joint]
        if len(roots) != 1:
            raise ValueError(f"{source} needs one root link, its roots are {roots}")
        self.root = roots[0]
        connected = {self.root}
        for _ in joints:
            connected |= {joint.child for joint in joints if joint.parent in connected}
        if separate := sorted(self.links.keys() - connected):
            raise ValueError(
                f"{source}: links {separate} are not connected to the root link '{self.root}'"
            )
        if len(self.parent_joint) < len(joints):
            raise ValueError(f"{source}: a link has two parents; a URDF is a tree")

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
        for link in (parent, child):
            if link not in self.links:
                raise ValueError(f"{self.source}: joint '{name}' names the unknown link '{link}'")
        axis_element = element.find("axis")
        axis = _vector(axis_element.get("xyz") if axis_element is not None else None, "1 0 0")
        limit = element.find("limit")
        return UrdfJoint(
            name, str(element.get("type")), parent, child, _pose(element.find("origin")),
            axis / (np.linalg.norm(axis) or 1.0),
            {k: float(v) for k, v in limit.items()} if limit is not None else {},
            element.find("mimic") is not None,
        )  # fmt: skip

    def _link_pseudo_inertia(self, link: str) -> Array:
        inertial = self.links[link].find("inertial")
        if inertial is None:
            return np.zeros((4, 4))
        mass, inertia = inertial.find("mass"), inertial.find("inertia")
        if mass is None or inertia is None:
            raise ValueError(f"{self.source}: <inertial> of '{link}' lacks <mass> or <inertia>")
        I = np.zeros((3, 3))  # noqa: E741
        for i, j, key in INERTIA_ENTRIES:
            I[i, j] = I[j, i] = float(inertia.get(key, "0"))
        J = np.zeros((4, 4))
        J[:3, :3] = np.trace(I) / 2 * np.eye(3) - I
        J[3, 3] = float(mass.get("value", "0"))
        T = _pose(inertial.find("origin"))
        return T @ J @ T.T


def load_urdf(path: Path) -> UrdfTree:
    """Read a URDF file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a URDF.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no URDF file '{path}'")
    return UrdfTree(path.read_text(encoding="utf-8"), str(path))


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
