"""Comparison of an arm with the robot description (URDF) that its driver uses."""

from __future__ import annotations

from collections.abc import Sequence

from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.urdf import UrdfTree

TOLERANCE = 0.01  # by which limits may differ, as a fraction [-]


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
    missing = [name for name in names if name not in tree.joints]
    if missing:
        return f"robot_description lacks {missing}; it has {sorted(tree.joints)}"
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
