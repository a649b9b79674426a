"""URDF reading: a file's text enters, its kinematic tree with limits and inertias leaves."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import numpy as np

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
    T: np.ndarray  # (4, 4) pose of the joint frame (= child frame at zero) in the parent link
    axis: np.ndarray  # (3,) unit vector in the joint frame
    limit: dict[str, float]  # those of lower, upper [rad or m], velocity, effort that are given
    mimic: bool


class UrdfTree:
    """The links and joints of a URDF and how they hang together.

    Raises:
        ValueError: the text is not a URDF, or its links do not form one tree.
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
        self.where = source
        self.links = {str(link.get("name")): link for link in self.element.findall("link")}
        joints = [self._joint(joint) for joint in self.element.findall("joint")]
        self.joints = {joint.name: joint for joint in joints}
        self.parent_joint = {
            joint.child: joint for joint in joints
        }  # link -> joint that carries it
        roots = [link for link in self.links if link not in self.parent_joint]
        if len(roots) != 1:
            raise ValueError(f"{source} needs one root link, its roots are {roots}")
        self.root = roots[0]
        hanging = {self.root}
        for _ in joints:
            hanging |= {joint.child for joint in joints if joint.parent in hanging}
        if loose := sorted(self.links.keys() - hanging):
            raise ValueError(f"{source}: links {loose} do not hang on the root link '{self.root}'")
        if len(self.parent_joint) < len(joints):
            raise ValueError(f"{source}: a link has two parents; a URDF is a tree")

    def moving_ancestor(self, link: str, moving: tuple[str, ...]) -> tuple[str | None, np.ndarray]:
        """Return which of `moving` carries a link, and the link's pose in its frame (4, 4).

        The joint is None, and the pose that in the root link, for a link that does not move.
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
        """Return which child to take at each joint from the root to a link: a depth-first key."""
        order = {name: i for i, name in enumerate(self.joints)}
        path: list[int] = []
        while link != self.root:
            path.insert(0, order[self.parent_joint[link].name])
            link = self.parent_joint[link].parent
        return path

    def pseudo_inertia(self, joint: str, moving: tuple[str, ...]) -> np.ndarray:
        """Return the pseudo-inertia (4, 4) of the links a joint carries rigidly, in its frame.

        The integral of x x^T dm over points x = (x, y, z, 1): second moments [kg m2], first
        moments [kg m] and mass [kg].
        """
        J = np.zeros((4, 4))
        for link in self.links:
            name, T = self.moving_ancestor(link, moving)
            if name == joint:
                J += T @ self._link_pseudo_inertia(link) @ T.T
        return J

    def check_inertias(self, moving: tuple[str, ...]) -> None:
        """Refuse moving links without mass or inertia.

        Raises:
            ValueError: naming the link.
        """
        for name in moving:
            J = self.pseudo_inertia(name, moving)
            mass = J[3, 3]
            if mass > 0:
                second = J[:3, :3] - np.outer(J[:3, 3], J[:3, 3]) / mass  # about the mass centre
                about_centre = np.trace(second) * np.eye(3) - second
                if np.linalg.eigvalsh(about_centre)[0] > 0:
                    continue
            raise ValueError(
                f"{self.where}: link '{self.joints[name].child}' moves but has mass {mass:.4g} kg "
                "and no positive inertia; give it an <inertial> with mass and inertia"
            )

    def _joint(self, element: ET.Element) -> UrdfJoint:
        name = str(element.get("name"))
        ends = [element.find("parent"), element.find("child")]
        parent, child = (str(e.get("link")) if e is not None else "" for e in ends)
        for link in (parent, child):
            if link not in self.links:
                raise ValueError(f"{self.where}: joint '{name}' names the unknown link '{link}'")
        given = element.find("axis")
        axis = _vector(given.get("xyz") if given is not None else None, "1 0 0")
        limit = element.find("limit")
        return UrdfJoint(
            name, str(element.get("type")), parent, child, _pose(element.find("origin")),
            axis / (np.linalg.norm(axis) or 1.0),
            {k: float(v) for k, v in limit.items()} if limit is not None else {},
            element.find("mimic") is not None,
        )  # fmt: skip

    def _link_pseudo_inertia(self, link: str) -> np.ndarray:
        inertial = self.links[link].find("inertial")
        if inertial is None:
            return np.zeros((4, 4))
        mass, inertia = inertial.find("mass"), inertial.find("inertia")
        if mass is None or inertia is None:
            raise ValueError(f"{self.where}: <inertial> of '{link}' lacks <mass> or <inertia>")
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


def _vector(text: str | None, default: str) -> np.ndarray:
    return np.array([float(x) for x in (text or default).split()])


def _pose(origin: ET.Element | None) -> np.ndarray:
    """Return <origin> as a homogeneous matrix (4, 4); rpy turns about fixed x, then y, then z."""
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
