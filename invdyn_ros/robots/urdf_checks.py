"""Checks of the elements of a URDF, each with what to do about it."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from invdyn_ros.robots.urdf_text import UrdfElement
from invdyn_ros.typing import Array

MOVABLE_TYPES = ("revolute", "continuous", "prismatic")
JOINT_TYPES = (*MOVABLE_TYPES, "fixed", "floating", "planar")
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
MAX_ANGLE = 13.0  # [rad] of a plausible limit of a joint, two turns
MAX_SLIDE = 5.0  # [m] of a plausible limit of a joint that slides
MAX_MASS = 300.0  # [kg] of a plausible link
GYRATION = (1e-3, 0.5)  # [m] of plausible radii of gyration of a link


_ENDS = ("parent", "child")  # of a joint


class Problem(NamedTuple):
    """What is wrong with an element of a URDF.

    Attributes:
        text: element, problem and remedy.
        line: of the element in the file; 0: unknown.
        is_error: whether the file cannot be used; else something is doubtful.
    """

    text: str
    line: int
    is_error: bool = True

    def __str__(self) -> str:
        """Return the problem in one line."""
        return f"line {self.line}: {self.text}" if self.line else self.text


def find_errors(root: ET.Element) -> Iterator[Problem]:
    """Yield what makes a URDF unusable, in the order in which it has to be corrected."""
    yield from _wrong_numbers(root)
    yield from _wrong_names(root)
    errors = list(_wrong_joints(root))
    yield from errors
    if not errors:
        yield from _wrong_tree(root)


def find_doubts(root: ET.Element) -> Iterator[Problem]:
    """Yield what is doubtful in a URDF without errors."""
    for joint in root.findall("joint"):
        yield from _doubtful_joint(joint)
    for link in root.findall("link"):
        yield from _doubtful_inertia(link)
        drawn, solid = link.find("visual") is not None, link.find("collision") is not None
        if drawn and not solid:
            yield _doubt(
                link, "has no <collision>: what is drawn of it counts as solid; add simple shapes"
            )


def inertia_matrix(inertia: ET.Element) -> Array:
    """Return the matrix (3, 3) [kg m2] of an <inertia>."""
    matrix = np.zeros((3, 3))
    for i, j, key in INERTIA_ENTRIES:
        matrix[i, j] = matrix[j, i] = float(inertia.get(key, "0"))
    return matrix


def line_of(element: ET.Element) -> int:
    """Return the line of an element, 0 if it was not read from a file."""
    return element.line if isinstance(element, UrdfElement) else 0


def _error(element: ET.Element, text: str) -> Problem:
    return Problem(text, line_of(element))


def _doubt(element: ET.Element, text: str) -> Problem:
    return Problem(f"{element.tag} '{element.get('name')}' {text}", line_of(element), False)


def _wrong_numbers(root: ET.Element) -> Iterator[Problem]:
    """Yield attributes that do not hold as many plausible numbers as they need."""
    for owner in root:
        for element in owner.iter():
            for key, count in NUMBERS.get(element.tag, {}).items():
                text = element.get(key, "" if element.tag in SHAPES else None)
                problem = None if text is None else _number_problem(text, count, element.tag)
                if text is not None and problem is not None:
                    where = f"{key} of <{element.tag}> in {owner.tag} '{owner.get('name')}'"
                    yield _error(element, f"{where} is '{text[:40]}'{problem}")


def _number_problem(text: str, count: int, tag: str) -> str | None:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        hint = "run xacro on the file first" if "$" in text else "numbers are separated by blanks"
        return f", not a number; {hint}"
    if len(values) != count:
        return f"; it needs {count} number{'s' if count > 1 else ''}"
    if not np.abs(values).max() <= (MAX_LIMIT if tag == "limit" else MAX_NUMBER):
        return ", which is implausible in SI units; correct it"
    return None


def _wrong_names(root: ET.Element) -> Iterator[Problem]:
    for tag in ("link", "joint"):
        elements = root.findall(tag)
        for element in elements:
            if not element.get("name"):
                yield _error(element, f"a <{tag}> has no name; give it one")
        count = Counter(element.get("name") for element in elements)
        for name in [name for name, n in count.items() if n > 1 and name]:
            first, *others = [e for e in elements if e.get("name") == name]
            before = f", first in line {line_of(first)}" if line_of(first) else ""
            yield _error(others[0], f"{tag} '{name}' is given twice{before}; rename one")


def _wrong_joints(root: ET.Element) -> Iterator[Problem]:
    links = {link.get("name") for link in root.findall("link")}
    joints = root.findall("joint")
    names = {joint.get("name") for joint in joints}
    for joint in joints:
        name, kind = f"joint '{joint.get('name')}'", joint.get("type", "")
        if kind not in JOINT_TYPES:
            yield _error(joint, f"{name} has type '{kind}'; use one of {', '.join(JOINT_TYPES)}")
        for tag in ("parent", "child"):
            end = joint.find(tag)
            link = "" if end is None else end.get("link", "")
            if not link:
                yield _error(joint, f"{name} has no <{tag} link=.../>; add it")
            elif link not in links:
                where = joint if end is None else end
                yield _error(
                    where, f"{name} names the unknown link '{link}'; correct it or add the link"
                )
        axis = joint.find("axis")
        if kind in MOVABLE_TYPES and axis is not None and _is_zero(axis.get("xyz", "1 0 0")):
            yield _error(axis, f"the <axis> of {name} is zero; give its direction")
        mimic = joint.find("mimic")
        if mimic is not None and mimic.get("joint") not in names:
            yield _error(
                mimic, f"{name} mimics the unknown joint '{mimic.get('joint')}'; correct its name"
            )


def _is_zero(text: str) -> bool:
    return _number_problem(text, 3, "axis") is None and not any(map(float, text.split()))


def _wrong_tree(root: ET.Element) -> Iterator[Problem]:
    links = [str(link.get("name")) for link in root.findall("link")]
    parents: dict[str, str] = {}  # link -> the link above it
    for joint in root.findall("joint"):
        parent, child = (str(getattr(joint.find(t), "attrib", {}).get("link")) for t in _ENDS)
        if child in parents:
            yield _error(
                joint,
                f"link '{child}' has two parents, the second by joint '{joint.get('name')}'; "
                "a URDF is a tree, so delete one",
            )
        parents.setdefault(child, parent)
    roots = [link for link in links if link not in parents]
    if len(roots) != 1:
        yield _error(root, f"needs one root link, its roots are {roots}; connect them by joints")
        return
    separate = []
    for link in links:
        above, steps = link, itertools.count()
        while above in parents and next(steps) <= len(links):
            above = parents[above]
        if above != roots[0]:
            separate.append(link)
    if separate:
        yield _error(
            root,
            f"links {separate} are not connected to the root link '{roots[0]}'; "
            "add a joint to one of them",
        )


def _doubtful_joint(joint: ET.Element) -> Iterator[Problem]:
    kind, limit = joint.get("type"), joint.find("limit")
    if kind in ("floating", "planar"):
        yield _doubt(joint, f"is {kind} and taken as fixed; model it by joints of one axis")
    if kind not in ("revolute", "prismatic") or limit is None:
        return
    lower, upper = (float(limit.get(key, "0")) for key in ("lower", "upper"))
    largest = max(abs(lower), abs(upper))
    span = f"has limits from {lower:g} to {upper:g}"
    if kind == "revolute" and largest > MAX_ANGLE:
        yield _doubt(joint, f"{span} rad, more than two turns; convert degrees to radians")
    if kind == "prismatic" and largest > MAX_SLIDE:
        yield _doubt(joint, f"{span} m; convert millimetres to metres")
    if lower >= upper:
        yield _doubt(joint, f"{span}; lower must be below upper for a joint that moves")


def _doubtful_inertia(link: ET.Element) -> Iterator[Problem]:
    mass_element, inertia = link.find("inertial/mass"), link.find("inertial/inertia")
    if mass_element is None or inertia is None:
        return
    mass, matrix = float(mass_element.get("value", "0")), inertia_matrix(inertia)
    moments = np.linalg.eigvalsh(matrix)
    if mass > MAX_MASS:
        yield _doubt(link, f"has a mass of {mass:g} kg; convert grams to kilograms")
    if mass < 0:
        yield _doubt(link, f"has a mass of {mass:g} kg; correct it")
    if mass <= 0 and moments[2] > 0:
        yield _doubt(
            link, f"has no mass but an inertia of {moments[2]:g} kg m2; set the inertia to zero"
        )
    if moments[0] < 0 or moments[2] > (1 + 1e-3) * (moments[0] + moments[1]):
        a, b, c = (f"{m:.3g}" for m in moments)
        yield _doubt(
            link,
            f"has moments of inertia {a}, {b}, {c} kg m2, which no body has: none may be negative "
            "or larger than the other two together",
        )
    radius = math.sqrt(max(moments[2], 0.0) / mass) if mass > 0 else 0.0
    if mass > 0 and moments[2] > 0 and not GYRATION[0] <= radius <= GYRATION[1]:
        yield _doubt(
            link,
            f"has {mass:g} kg and {moments[2]:.3g} kg m2, as if its mass was {radius:.2g} m away; "
            "correct the inertia, which is in kg m2",
        )
