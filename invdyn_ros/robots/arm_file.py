"""Arms of users: a YAML file that describes an arm, or a URDF alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from pydantic import PositiveFloat

from invdyn_ros.config import Validated, from_mapping, load_yaml
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot_spec import Gripper, RobotSpec
from invdyn_ros.robots.urdf import UrdfTree, load_urdf
from invdyn_ros.robots.urdf_checks import MOVABLE_TYPES
from invdyn_ros.typing import Array

ARM_FILE_SUFFIX = ".yaml"
LIMITS = ("lower", "upper", "velocity", "effort")
OPPOSITE = 0.99  # cosine of the angle between two fingers and the opposite direction
TOLERANCE = 1e-3  # by which limits may differ, as a fraction [-]


@dataclass(frozen=True)
class ArmFile(Validated):
    """An arm of a user; its name is that of the file.

    What is left out is that of `arm`, as far as the URDF has it, or else follows from the URDF.

    Attributes:
        arm: arm of this package that it is, with another URDF, other surroundings or another
            driver; it keeps the name and the models of that arm. Empty: another arm.
        urdf: URDF file, relative to this file; may be left out beside `arm`.
        joint_names: (n,) joints of the arm in the URDF, without the fingers; default: from the
            base up to where the URDF branches.
        tip_link: link of the tool centre point, whose z axis is the approach direction; default:
            the last one behind these joints.
        home: (n,) position in which the arm starts in simulation [rad]; default: one with the tool
            in front of the arm, pointing down.
        rate: rate of the joint states [Hz]; default: 125.
        acceleration: (n,) acceleration limits [rad/s2]; default: top speed in 0.25 s, or less if
            the efforts do not suffice for all joints at once.
        lower: (n,) lower position limits [rad]; these and the next ones: default: the URDF's.
        upper: (n,) upper position limits [rad].
        velocity: (n,) velocity limits [rad/s].
        effort: (n,) effort limits [N m].
        action_unit: unit of the actions of a model that is trained for it, N m or rad.
        gripper: `joint_names` of its fingers and `max_opening` [m]; for fingers that do not slide
            from zero to half of it, also their positions `closed` and `open` [m or rad]. Default:
            two fingers that slide to each other behind the last joint, if there are any.
        obstacles: table and boxes around the arm.
        driver: YAML file of the driver of the real arm, relative to this file; default:
            config/drivers/forward_controller.yaml.
    """

    arm: str = ""
    urdf: str = ""
    joint_names: tuple[str, ...] | None = None
    tip_link: str | None = None
    home: tuple[float, ...] | None = None
    rate: PositiveFloat | None = None
    acceleration: tuple[float, ...] | None = None
    lower: tuple[float, ...] | None = None
    upper: tuple[float, ...] | None = None
    velocity: tuple[float, ...] | None = None
    effort: tuple[float, ...] | None = None
    action_unit: Literal["N m", "rad"] | None = None
    gripper: Gripper | None = None
    obstacles: Obstacles | None = None
    driver: str | None = None


def read_arm_file(file: Path, known: Mapping[str, RobotSpec]) -> tuple[str, RobotSpec]:
    """Read an arm of a user.

    Args:
        file: the YAML file.
        known: arms of this package.

    Returns:
        Name and description of the arm.

    Raises:
        ValueError: no such file, a wrong field, a name that is taken, or an invalid URDF.
    """
    arm = from_mapping(ArmFile, load_yaml(file), str(file))
    name = arm.arm or file.stem
    _check_name(name, arm, file, known)
    values = {k: v for k, v in vars(arm).items() if v is not None and k not in ("arm", "urdf")}
    if arm.driver is not None:
        values["driver"] = str(file.parent / arm.driver)
    if not arm.urdf:
        return name, replace(known[name], **values)
    tree = load_urdf(file.parent / arm.urdf)
    if name in known:
        spec = with_urdf(known[name], tree, arm.joint_names)
    else:
        spec = spec_from_urdf(tree, arm.joint_names, values)
        spec = replace(spec, driver="forward_controller")
    return name, replace(spec, **values)


def _check_name(name: str, arm: ArmFile, file: Path, known: Mapping[str, RobotSpec]) -> None:
    names = ", ".join(known)
    if arm.arm and arm.arm not in known:
        raise ValueError(f"{file}: arm is '{arm.arm}'; an arm of this package is one of {names}")
    if not arm.arm and name in known:
        raise ValueError(
            f"{file}: '{name}' is an arm of this package; write 'arm: {name}' into the file if it "
            "is one, or rename the file"
        )
    if not arm.arm and not arm.urdf:
        raise ValueError(f"{file}: it has no urdf; give one, or the arm that it is: {names}")


def wider_limits(spec: RobotSpec, tree: UrdfTree) -> list[str]:
    """Return the limits of an arm that are wider than those of its URDF, in words."""
    wider = []
    for key in LIMITS:
        for name, own in zip(spec.joint_names, getattr(spec, key) or (), strict=False):
            allowed = tree.joints[name].limit.get(key)
            if allowed is None or (tree.joints[name].type == "continuous" and key in LIMITS[:2]):
                continue
            excess = allowed - own if key == "lower" else own - allowed
            if excess > TOLERANCE * max(abs(allowed), 1.0):
                wider.append(f"{key} of {name} is {own:g}, the URDF has {allowed:g}")
    return wider


def with_urdf(
    spec: RobotSpec, tree: UrdfTree, joint_names: tuple[str, ...] | None = None
) -> RobotSpec:
    """Return an arm with another URDF; a tool or fingers that it lacks are left out.

    Args:
        spec: the arm.
        tree: the URDF.
        joint_names: names of the joints in the URDF; None: those of the arm.
    """
    joints = spec.joint_names if joint_names is None else joint_names
    gripper = spec.gripper
    if gripper is not None and not set(gripper.joint_names) <= tree.joints.keys():
        gripper = None
    tip = spec.tip_link
    if tip not in tree.links and set(joints) <= tree.joints.keys():
        tip = _last_link(tree, joints)
    return replace(spec, urdf=tree.source, joint_names=joints, tip_link=tip, gripper=gripper)


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
        tip_link=_last_link(tree, joints),
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


def _unbranched_joints(tree: UrdfTree) -> tuple[str, ...]:
    """Return the moving joints from the base up to where the URDF branches."""
    movable = tuple(j.name for j in tree.joints.values() if j.type in MOVABLE_TYPES)
    if not movable:
        raise ValueError(f"{tree.source} has no moving joint")
    behind: dict[str | None, list[str]] = {}
    for name in movable:
        before, _ = tree.moving_ancestor(tree.joints[name].parent, movable)
        behind.setdefault(before, []).append(name)
    chain: list[str] = []
    while len(after := behind.get(chain[-1] if chain else None, [])) == 1:
        chain += after
    if not chain:
        raise ValueError(
            f"{tree.source} has several chains of joints: {', '.join(movable)}; give joint_names "
            "in FILE.yaml, and that as the arm"
        )
    return tuple(name for name in chain if not tree.joints[name].mimic)


def _last_link(tree: UrdfTree, joints: tuple[str, ...]) -> str:
    """Return the link that is farthest behind the last joint without another joint between."""
    movable = tuple(j.name for j in tree.joints.values() if j.type in MOVABLE_TYPES)
    last = [link for link in tree.links if tree.moving_ancestor(link, movable)[0] == joints[-1]]
    return max(last, key=lambda link: len(tree.joint_path(link)))
