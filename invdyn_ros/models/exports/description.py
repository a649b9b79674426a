"""An identified rigid-body model as URDF and as MJCF."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from invdyn_ros.data.action_units import TORQUE
from invdyn_ros.models.exports.tree import identified_tree
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robots.rotation import matrix_to_quaternion
from invdyn_ros.robots.urdf import UrdfTree
from invdyn_ros.robots.urdf_checks import INERTIA_ENTRIES
from invdyn_ros.typing import Array

DRAKE = "http://drake.mit.edu"  # a URDF itself has no element for the inertia of a rotor


def urdf_text(model: RigidBody) -> str:
    """Return the model's URDF with the identified inertia and friction.

    The inertia of all links that are rigidly attached behind a joint stands in the first of them.
    Viscous and Coulomb friction are `damping` and `friction` of <dynamics>, the rotor inertia is
    <drake:rotor_inertia>. The constant offset of a joint is lost.

    Raises:
        ValueError: the actions are no torques with gravity, or a link is no physical body.
    """
    meta = model.meta
    _check_unit(meta.action_unit)
    tree, links, friction = UrdfTree(meta.urdf), _links(model), _friction(model)
    for name, element in tree.links.items():
        if tree.moving_ancestor(name, tuple(meta.joint_names))[0] is not None:
            _remove(element, "inertial")
    elements = {joint.get("name"): joint for joint in tree.element.findall("joint")}
    ET.register_namespace("drake", DRAKE)
    for name, link, (viscous, coulomb, _, rotor) in zip(
        meta.joint_names, links, friction, strict=True
    ):
        tree.links[link.name].append(_inertial(link))
        joint = elements[name]
        _remove(joint, "dynamics")
        values = {"damping": repr(float(viscous)), "friction": repr(float(coulomb))}
        ET.SubElement(joint, "dynamics", values)
        ET.SubElement(joint, f"{{{DRAKE}}}rotor_inertia", value=repr(float(rotor)))
    ET.indent(tree.element)
    return ET.tostring(tree.element, encoding="unicode") + "\n"


def mjcf_text(model: RigidBody) -> str:
    """Return the moving links as MJCF: inertia, `damping`, `frictionloss`, `armature`.

    MuJoCo's own writer keeps six digits only.

    Raises:
        ValueError: see `urdf_text`.
    """
    _check_unit(model.meta.action_unit)
    names, urdf = model.meta.joint_names, UrdfTree(model.meta.urdf)
    tree, links, friction = identified_tree(model), _links(model), _friction(model)
    root = ET.Element("mujoco", model=model.meta.robot)
    ET.SubElement(root, "compiler", angle="radian")
    ET.SubElement(root, "option", gravity=_text(tree.gravity))
    bodies = {-1: ET.SubElement(root, "worldbody")}
    for k in tree.order:
        link, (viscous, coulomb, _, rotor) = links[k], friction[k]
        T, limit = tree.transforms[k], urdf.joints[names[k]].limit
        pose = {"pos": _text(T[:3, 3]), "quat": _text(matrix_to_quaternion(T[:3, :3]))}
        bodies[k] = ET.SubElement(bodies[tree.parents[k]], "body", {"name": link.name} | pose)
        full = link.inertia[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)]
        values = {"pos": _text(link.centre), "mass": repr(link.mass), "fullinertia": _text(full)}
        ET.SubElement(bodies[k], "inertial", values)
        joint = {
            "name": names[k],
            "type": "slide" if tree.prismatic[k] else "hinge",
            "axis": _text(tree.axes[k]),
            "armature": repr(float(rotor)),
            "damping": repr(float(viscous)),
            "frictionloss": repr(float(coulomb)),
        }
        if {"lower", "upper"} <= limit.keys():
            joint["range"] = _text((limit["lower"], limit["upper"]))
        ET.SubElement(bodies[k], "joint", joint)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


class _Link(NamedTuple):
    name: str
    mass: float  # [kg]
    centre: Array  # (3,) [m]
    inertia: Array  # (3, 3) about the centre of mass [kg m2]


def _links(model: RigidBody) -> list[_Link]:
    """Return the link behind each joint.

    Raises:
        ValueError: one is no physical body.
    """
    tree, links = UrdfTree(model.meta.urdf), []
    rows = model.tree.inertial.double().cpu().numpy()
    for joint, parameters in zip(model.meta.joint_names, rows, strict=True):
        mass = float(parameters[0])
        centre = parameters[1:4] / mass if mass > 0 else np.zeros(3)
        inertia = np.zeros((3, 3))
        inertia[np.triu_indices(3)] = parameters[4:]
        inertia += np.triu(inertia, 1).T
        inertia -= mass * (centre @ centre * np.eye(3) - np.outer(centre, centre))
        moments = np.linalg.eigvalsh(inertia)
        name = tree.joints[joint].child
        if not (mass > 0 and moments[0] > 0 and moments[2] <= moments[0] + moments[1]):
            raise ValueError(
                f"link '{name}' of this model has mass {mass:.3g} kg and moments of inertia "
                f"{', '.join(f'{m:.3g}' for m in moments)} kg m2, which no body has; train it "
                "again, or export it as .c"
            )
        links.append(_Link(name, mass, centre, inertia))
    return links


def _friction(model: RigidBody) -> Array:
    """Return the friction terms (n, 4).

    Raises:
        ValueError: there are others.
    """
    if model.meta.gear_friction:
        raise ValueError(
            "friction of this model rises towards standstill and with the load, which a URDF or "
            "MJCF cannot hold; train it with --gear_friction false, or export it as .c or .onnx"
        )
    return model.friction.double().cpu().numpy()


def _check_unit(unit: str) -> None:
    if unit != TORQUE:
        raise ValueError(
            f"actions of this model are in '{unit}', but a URDF or MJCF describes torques "
            f"[{TORQUE}]; export it as .c or .onnx"
        )


def _remove(element: ET.Element, tag: str) -> None:
    for child in element.findall(tag):
        element.remove(child)


def _inertial(link: _Link) -> ET.Element:
    element = ET.Element("inertial")
    ET.SubElement(element, "origin", xyz=_text(link.centre), rpy="0 0 0")
    ET.SubElement(element, "mass", value=repr(link.mass))
    values = {key: repr(float(link.inertia[i, j])) for i, j, key in INERTIA_ENTRIES}
    ET.SubElement(element, "inertia", values)
    return element


def _text(values: Iterable[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
