"""Arm of a URDF: its joints, limits, tool link and gripper."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from invdyn_ros.robots.robot_spec import Gripper, RobotSpec
from invdyn_ros.robots.urdf import UrdfTree
from invdyn_ros.robots.urdf_checks import MOVABLE_TYPES
from invdyn_ros.typing import Array

LIMITS = ("lower", "upper", "velocity", "effort")
OPPOSITE = 0.99  # cosine of the angle between two fingers and the opposite direction


def spec_from_urdf(
    tree: UrdfTree,
    joint_names: tuple[str, ...] | None = None,
    limits: Mapping[str, Any] = MappingProxyType({}),
) -> RobotSpec:
    """Describe an arm by its URDF alone.

    Args:
        tree: the URDF.
        joint_names: joints of the arm; None: from the base up to where the URDF branches, such as
            the fingers do.
        limits: name of a limit -> values (n,) instead of those of the URDF.

    Raises:
        ValueError: there is no such joint, or a limit is missing.
    """
    joints = _unbranched_joints(tree) if joint_names is None else joint_names
    check_joints(tree, joints)
    for key in LIMITS:
        joint_limit(tree, joints, key, limits.get(key))  # raises where there is none
    return RobotSpec(
        urdf=tree.source,
        joint_names=joints,
        tip_link=last_link(tree, joints),
        home=None,
        rate=125.0,
        acceleration=None,
        gripper=find_gripper(tree, joints),
    )


def find_gripper(tree: UrdfTree, joints: tuple[str, ...]) -> Gripper | None:
    """Return the gripper of an arm: two fingers behind its last joint that slide to each other.

    Args:
        tree: the URDF.
        joints: joints of the arm.
    """
    fingers = []
    for joint in tree.joints.values():
        ancestor, T = tree.moving_ancestor(joint.parent, joints)
        if joint.type == "prismatic" and ancestor == joints[-1] and joint.name not in joints:
            fingers.append((joint, (T @ joint.T)[:3, :3] @ joint.axis))
    if len(fingers) != 2 or fingers[0][1] @ fingers[1][1] > -OPPOSITE:
        return None
    ends = [(j.limit.get("lower", 0.0), j.limit.get("upper", 0.0)) for j, _ in fingers]
    if any(lower != 0 or not upper > 0 for lower, upper in ends):
        return None  # which end is closed is not known
    return Gripper(
        tuple(joint.name for joint, _ in fingers),
        sum(upper for _, upper in ends),
        open=tuple(upper for _, upper in ends),
    )


def check_joints(tree: UrdfTree, joints: tuple[str, ...]) -> None:
    """Check that a URDF has the joints of an arm.

    Raises:
        ValueError: it lacks one.
    """
    movable = [joint.name for joint in tree.joints.values() if joint.type in MOVABLE_TYPES]
    missing = [name for name in joints if name not in movable]
    if missing or not joints:
        raise ValueError(
            f"{tree.source} lacks the joints {missing}; it has {', '.join(movable) or 'none'}; "
            "give joint_names in FILE.yaml, and that as the arm"
        )


def joint_limit(
    tree: UrdfTree, joints: tuple[str, ...], key: str, override: tuple[float, ...] | None = None
) -> Array:
    """Return a limit (n,) of the joints of an arm.

    Args:
        tree: the URDF.
        joints: (n,) names of the joints.
        key: lower, upper, velocity or effort.
        override: (n,) values instead of those of the URDF.

    Raises:
        ValueError: the URDF has none.
    """
    if override is not None:
        return np.array(override)
    values = []
    for joint in (tree.joints[name] for name in joints):
        # a continuous joint has no limit; one turn each way protects the cables
        default: dict[str, Any] = {}
        if joint.type == "continuous":
            default = {"lower": -2 * np.pi, "upper": 2 * np.pi}
        limit = default | joint.limit
        if key not in limit:
            raise ValueError(
                f"{tree.source}: joint '{joint.name}' has no {key} limit; "
                f"add {key} to its <limit>, which has {sorted(joint.limit) or 'nothing'}"
            )
        values.append(limit[key])
    return np.array(values)


def chain_joints(
    tree: UrdfTree, base_link: str | None, tip_link: str | None
) -> tuple[str, ...] | None:
    """Return the joints of the chain between two links; None if they need not be told.

    Args:
        tree: the URDF.
        base_link: the link before the first joint; None: the root.
        tip_link: the link behind the last one; None: not given.

    Raises:
        ValueError: there is no such link, or no joint between them.
    """
    for link, use in ((base_link, "the base"), (tip_link, "the tool")):
        if link is not None and link not in tree.links:
            links = ", ".join(tree.links)
            raise ValueError(f"{tree.source} has no link '{link}' for {use}; it has {links}")
    if tip_link is None:
        if base_link is not None:
            raise ValueError(f"{tree.source}: base_link needs a tip_link, the end of the chain")
        return None
    chain: list[str] = []
    link = tip_link
    while link not in (base_link, tree.root):
        joint = tree.parent_joint[link]
        chain.insert(0, joint.name)
        link = joint.parent
    if link != (base_link or tree.root):
        raise ValueError(f"{tree.source}: link '{tip_link}' is not behind '{base_link}'")
    moving = (tree.joints[name] for name in chain)
    names = tuple(j.name for j in moving if j.type in MOVABLE_TYPES and not j.mimic)
    if not names:
        raise ValueError(f"{tree.source}: no joint moves '{tip_link}'")
    # the tip of an arm may be on one of its fingers
    return None if base_link is None and names[:-1] == _unbranched(tree) else names


def _unbranched_joints(tree: UrdfTree) -> tuple[str, ...]:
    """Return the moving joints from the base up to where the URDF branches."""
    chain = _unbranched(tree)
    if not chain:
        movable = [j.name for j in tree.joints.values() if j.type in MOVABLE_TYPES]
        if not movable:
            raise ValueError(f"{tree.source} has no moving joint")
        raise ValueError(
            f"{tree.source} has several chains of joints: {', '.join(movable)}; give the tip_link "
            f"of one in FILE.yaml, such as {' or '.join(_tips(tree))}, and that as the arm"
        )
    return chain


def _unbranched(tree: UrdfTree) -> tuple[str, ...]:
    """Return the moving joints from the base up to where the URDF branches; they may be none."""
    movable = tuple(j.name for j in tree.joints.values() if j.type in MOVABLE_TYPES)
    behind: dict[str | None, list[str]] = {}
    for name in movable:
        before, _ = tree.moving_ancestor(tree.joints[name].parent, movable)
        behind.setdefault(before, []).append(name)
    chain: list[str] = []
    while len(after := behind.get(chain[-1] if chain else None, [])) == 1:
        chain += after
    return tuple(name for name in chain if not tree.joints[name].mimic)


def last_link(tree: UrdfTree, joints: tuple[str, ...]) -> str:
    """Return the link that is farthest behind the last joint without another joint between."""
    movable = tuple(j.name for j in tree.joints.values() if j.type in MOVABLE_TYPES)
    last = [link for link in tree.links if tree.moving_ancestor(link, movable)[0] == joints[-1]]
    return max(last, key=lambda link: len(tree.joint_path(link)))


def _tips(tree: UrdfTree) -> list[str]:
    """Return the links at the ends of the longest chains of a URDF."""
    parents = {joint.parent for joint in tree.joints.values()}
    ends = [link for link in tree.links if link not in parents]
    lengths = {
        link: sum(
            joint.type in MOVABLE_TYPES
            for joint in (list(tree.joints.values())[i] for i in tree.joint_path(link))
        )
        for link in ends
    }
    return [link for link in ends if lengths[link] == max(lengths.values())][:3]
