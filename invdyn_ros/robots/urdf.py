"""URDF parser: kinematic tree, joint limits and inertias."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invdyn_ros.config import describe_error
from invdyn_ros.typing import Array

MOVABLE_TYPES = ("revolute", "continuous", "prismatic")

INERTIA_ENTRIES = (  # row, column and name of each entry of <inertia>
    (0, 0, "ixx"), (0, 1, "ixy"), (0, 2, "ixz"), (1, 1, "iyy"), (1, 2, "iyz"), (2, 2, "izz"),
)  # fmt: skip


NUMBERS = {  # element -> attribute -> how many numbers it holds
    "origin": {"xyz": 3, "rpy": 3},
    "axis": {"xyz": 3},
    "mass": {"value": 1},
    "inertia": {key: 1 for _, _, key in INERTIA_ENTRIES},
    "limit": {"lower": 1, "upper": 1, "velocity": 1, "effort": 1},
    "box": {"size": 3},
    "sphere": {"radius": 1},
    "cylinder": {"radius": 1, "length": 1},
    "capsule": {"radius": 1, "length": 1},
    "mesh": {"scale": 3},
}
SHAPES = ("box", "sphere", "cylinder", "capsule")  # need all their numbers
MAX_NUMBER = 1e6  # of a plausible length, angle, mass, inertia or scale in SI units
MAX_LIMIT = 1e20  # some state "no limit" by a large number; that of an arm is checked in Robot
MAX_DEPTH = 50  # of nested elements


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
        for tag in ("link", "joint"):
            names = [str(element.get("name")) for element in self.element.findall(tag)]
            if repeated := [name for name, count in Counter(names).items() if count > 1]:
                raise ValueError(f"{source}: {tag} '{repeated[0]}' is given twice; rename one")
        self.links = {str(link.get("name")): link for link in self.element.findall("link")}
        joints = [self._joint(joint) for joint in self.element.findall("joint")]
        self.joints = {joint.name: joint for joint in joints}
        self.parent_joint = {joint.child: joint for joint in joints}  # link -> its joint
        roots = [link for link in self.links if link not in self.parent_joint]
        if len(roots) != 1:
            raise ValueError(f"{source} needs one root link, its roots are {roots}")
        self.root = roots[0]
        children: dict[str, list[str]] = {}
        for joint in joints:
            children.setdefault(joint.parent, []).append(joint.child)
        connected, new = {self.root}, [self.root]
        while new:
            new = [
                child for link in new for child in children.get(link, ()) if child not in connected
            ]
            connected |= set(new)
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
        if element.get("type") in MOVABLE_TYPES and not np.linalg.norm(axis) > 0:
            raise ValueError(
                f"{self.source}: the <axis> of joint '{name}' is zero; give its direction"
            )
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
        ValueError: it is not a URDF, or one of its meshes is outside its folder and of no package.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no URDF file '{path}'")
    tree = UrdfTree(path.read_bytes(), str(path))
    for mesh in tree.element.iter("mesh"):
        _check_mesh_path(mesh.get("filename", ""), path)
    return tree


def parse_urdf(xml: str | bytes, source: str) -> ET.Element:
    """Parse a URDF and check its numbers.

    Raises:
        ValueError: not XML, with a DTD, nested too deeply, no <robot>, or an invalid number.
    """
    try:
        root = ET.fromstring(xml, ET.XMLParser(target=_Builder()))
    except ET.ParseError as error:
        raise ValueError(f"{source} is not XML: {error}; save it as UTF-8") from error
    except ValueError as error:  # an unknown encoding, or raised by the builder
        remedy = "; save it as UTF-8" if "encoding" in str(error) else ""
        raise ValueError(f"{source}: {describe_error(error)}{remedy}") from error
    if root.tag != "robot":
        raise ValueError(f"{source} is not a URDF: it starts <{root.tag[:40]}>, not <robot>")
    for owner in root:
        for element in owner.iter():
            for key, count in NUMBERS.get(element.tag, {}).items():
                text = element.get(key, "" if element.tag in SHAPES else None)
                if text is not None:
                    where = f"{source}: {key} of <{element.tag}> in {owner.tag} "
                    _check_numbers(text, count, f"{where}'{owner.get('name')}'")
    return root


class _Builder(ET.TreeBuilder):
    """Tree builder that refuses document types, whose entities may expand without bound."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:  # type: ignore[override]
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"elements are nested more than {MAX_DEPTH} deep")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        self.depth -= 1
        return super().end(tag)

    def doctype(self, name: str, pubid: str, system: str, /) -> None:
        raise ValueError("it has a <!DOCTYPE>, which a URDF does not need; delete it")


def _check_numbers(text: str, count: int, where: str) -> None:
    """Check that an attribute holds so many plausible numbers."""
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        hint = "run xacro on the file first" if "$" in text else "numbers are separated by blanks"
        raise ValueError(f"{where} is '{text[:40]}', not a number; {hint}") from None
    if len(values) != count:
        raise ValueError(f"{where} is '{text[:40]}'; it needs {count} numbers")
    if not np.abs(values).max() <= (MAX_LIMIT if " of <limit>" in where else MAX_NUMBER):
        raise ValueError(f"{where} is '{text[:40]}', which is implausible in SI units; correct it")


def _check_mesh_path(name: str, urdf: Path) -> None:
    """Check that a mesh lies in the folder of the URDF or in a ROS package.

    Raises:
        ValueError: it does not.
    """
    scheme, _, rest = name.rpartition("://")
    if scheme == "package" and ".." not in Path(rest).parts:
        return
    if scheme in ("", "file"):
        folder = Path(os.path.realpath(urdf)).parent
        path = Path(os.path.realpath(folder / rest))
        if folder in path.parents or any((p / "package.xml").is_file() for p in path.parents):
            return
    raise ValueError(
        f"{urdf}: mesh '{name[:80]}' is outside the folder of the URDF and in no ROS package; "
        "copy it beside the URDF"
    )


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
