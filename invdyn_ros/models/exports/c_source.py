"""A rigid-body model as C99 source without dependencies, for a controller without Python.

Each link frame is rotated so that its joint axis is z, after which the recursion of Luh, Walker
and Paul (1980) needs no general axes. Parameters may be those of no physical body: the recursion
takes mass, first moments and inertia about the link's origin as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from invdyn_ros.models.exports.tree import identified_tree
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.typing import Array

_ROW_LENGTH = 4  # numbers per line


def c_source(model: RigidBody, name: str) -> tuple[str, str]:
    """Return the text of a .c file and of its .h file.

    Args:
        model: identified rigid-body dynamics.
        name: prefix of the function, a C identifier.

    Raises:
        ValueError: the name is no C identifier.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise ValueError(f"'{name}' is no name of a C function; use letters, digits and _")
    values = {"name": name, "guard": f"{name.upper()}_INVERSE_DYNAMICS_H"}
    values |= _tree_values(model) | _joint_values(model)
    folder = files("invdyn_ros.models.exports")
    source, header = (
        re.sub(
            r"@(\w+)@",
            lambda match: values[match[1]],
            (folder / f"inverse_dynamics{suffix}.in").read_text(encoding="utf-8"),
        )
        for suffix in (".c", ".h")
    )
    return source, header


def _tree_values(model: RigidBody) -> dict[str, str]:
    """Return the constants of the kinematic tree and its links."""
    tree = identified_tree(model)
    rotations = [_rotation_to_z(axis) for axis in tree.axes]
    before = [np.eye(3) if parent < 0 else rotations[parent] for parent in tree.parents]
    frames = list(zip(before, tree.transforms, rotations, strict=True))
    links = [_rotated(row, R) for row, R in zip(tree.inertial, rotations, strict=True)]
    return {
        "n": str(len(tree.parents)),
        "parents": _integers(tree.parents),
        "order": _integers(tree.order),
        "prismatic": _integers([int(flag) for flag in tree.prismatic]),
        "rotations": _numbers([B.T @ T[:3, :3] @ R for B, T, R in frames]),
        "positions": _numbers([B.T @ T[:3, 3] for B, T, _ in frames]),
        "inertial": _numbers(links),
        "gravity": _numbers(tree.gravity),
    }


def _joint_values(model: RigidBody) -> dict[str, str]:
    """Return the constants of the joints, and what stands in comments."""
    meta = model.meta
    viscous, coulomb, offset, rotor = model.friction.double().cpu().numpy().T
    gear_friction = np.array(meta.gear_friction or [(0.0, 0.0, 1.0)] * model.n)
    stribeck, load_friction, stribeck_velocity = gear_friction.T
    return {
        "robot": meta.robot,
        "joints": ", ".join(meta.joint_names),
        "unit": meta.action_unit,
        "compliance": _numbers(model.compliance.double().cpu().numpy()),
        "viscous": _numbers(viscous),
        "coulomb": _numbers(coulomb),
        "offset": _numbers(offset),
        "rotor": _numbers(rotor),
        "feedthrough": _numbers([1.0 if meta.action_unit == "rad" else 0.0]),
        "coulomb_velocity": _numbers([model.config.coulomb_velocity]),
        "stribeck": _numbers(stribeck),
        "load_friction": _numbers(load_friction),
        "stribeck_velocity": _numbers(stribeck_velocity),
        "filter_time": _numbers(model.friction_filter_time.double().cpu().numpy()),
    }


def _rotation_to_z(axis: Array) -> Array:
    """Return a rotation (3, 3) that maps z to a unit axis."""
    side = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    side /= np.linalg.norm(side)
    return np.stack([np.cross(side, axis), side, axis], axis=1)


def _rotated(parameters: Array, R: Array) -> Array:
    """Return inertial parameters (10,) in a frame that is rotated by R (3, 3)."""
    upper = np.triu_indices(3)
    inertia = np.zeros((3, 3))
    inertia[upper] = parameters[4:]
    inertia += np.triu(inertia, 1).T
    return np.concatenate([parameters[:1], R.T @ parameters[1:4], (R.T @ inertia @ R)[upper]])


def _integers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _numbers(values: object) -> str:
    """Return an initialiser of doubles, exact to the last bit."""
    texts = [repr(float(value)) for value in np.ravel(np.asarray(values))]
    rows = [texts[i : i + _ROW_LENGTH] for i in range(0, len(texts), _ROW_LENGTH)]
    return ",\n    ".join(", ".join(row) for row in rows)
