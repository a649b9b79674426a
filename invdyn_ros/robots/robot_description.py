"""Comparison of an arm with the robot description (URDF) that its driver uses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.urdf import UrdfTree, load_urdf
from invdyn_ros.robots.urdf_checks import MOVABLE_TYPES

TOLERANCE = 0.01  # by which limits may differ, as a fraction [-]
LENGTH_TOLERANCE = 0.02  # [m] between two joints; that of a calibrated arm is a few millimetres


def description_problem(robot: Robot, names: Sequence[str], text: str) -> str | None:
    """Return why the description of a driver forbids to drive an arm, None if it does not.

    Args:
        robot: the arm, with the limits that are used.
        names: names of its joints in the description.
        text: the description.
    """
    try:
        tree = UrdfTree(text, "robot_description")
    except ValueError as error:
        return f"robot_description cannot be read: {error}"
    movable = [name for name, joint in tree.joints.items() if joint.type in MOVABLE_TYPES]
    missing = [name for name in names if name not in movable]
    if missing:
        return f"robot_description lacks {missing}; it has {sorted(movable)}"
    return _length_problem(robot, names, tree) or _limit_problem(robot, names, tree)


def _length_problem(robot: Robot, names: Sequence[str], tree: UrdfTree) -> str | None:
    """Return which joints are not as far from each other as those of the arm, if any are not."""
    own = load_urdf(robot.urdf)
    for before, joint, name in zip(names, robot.joint_names[1:], names[1:], strict=False):
        length = _distance(own, joint, robot.joint_names)
        other = _distance(tree, name, tuple(names))
        if abs(length - other) > LENGTH_TOLERANCE:
            return (
                f"robot_description is of another arm: {before} and {name} are {other:.3f} m "
                f"apart, those of {robot.name} {length:.3f} m; give its arm:="
            )
    return None


def _distance(tree: UrdfTree, name: str, joints: tuple[str, ...]) -> float:
    """Return the distance of a joint from the joint of the arm before it [m].

    Args:
        tree: the URDF.
        name: the joint.
        joints: all joints of the arm.
    """
    joint = tree.joints[name]
    _, T = tree.moving_ancestor(joint.parent, joints)
    return float(np.linalg.norm((T @ joint.T)[:3, 3]))


def _limit_problem(robot: Robot, names: Sequence[str], tree: UrdfTree) -> str | None:
    """Return which limit of the description is narrower than that of the arm, if any is."""
    for j, name in enumerate(names):
        limit = tree.joints[name].limit
        for key, own in (
            ("lower", -robot.lower[j]),
            ("upper", robot.upper[j]),
            ("velocity", robot.velocity[j]),
            ("effort", robot.effort[j]),
        ):
            if tree.joints[name].type == "continuous" and key in ("lower", "upper"):
                continue
            allowed = limit.get(key)
            if allowed is None:
                continue
            allowed = -allowed if key == "lower" else allowed
            if own > allowed + TOLERANCE * max(abs(allowed), 1e-3):
                own = -own if key == "lower" else own
                return (
                    f"robot_description limits {key} of {name} to {limit[key]:.4g}, the arm is "
                    f"driven up to {own:.4g}; set 'limits' in the file of the driver"
                )
    return None
