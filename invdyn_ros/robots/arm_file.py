"""Arms of users: a YAML file that describes an arm, or a URDF alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat

from invdyn_ros.config import Validated, from_mapping, load_yaml
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot_spec import Gripper, RobotSpec
from invdyn_ros.robots.tool import Tool
from invdyn_ros.robots.urdf import UrdfTree, load_urdf
from invdyn_ros.robots.urdf_arm import LIMITS, chain_joints, last_link, spec_from_urdf

ARM_FILE_SUFFIX = ".yaml"
NOT_IN_SPEC = ("arm", "urdf", "base_link")
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
            base up to where the URDF branches, or from `base_link` to `tip_link`.
        base_link: link that the arm stands on, where the URDF has several arms; the joints before
            it are fixed at zero, and poses are in the frame of the URDF's root as ever.
        tip_link: link of the tool centre point, whose z axis is the approach direction; default:
            the last one behind these joints.
        tool: `xyz` [m] and `rpy` [rad] of the tool centre point in the frame of the tip link;
            default: that frame itself.
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
    base_link: str | None = None
    tip_link: str | None = None
    tool: Tool | None = None
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
    values = {k: v for k, v in vars(arm).items() if v is not None and k not in NOT_IN_SPEC}
    if arm.driver is not None:
        values["driver"] = str(file.parent / arm.driver)
    if not arm.urdf:
        return name, replace(known[name], **values)
    tree = load_urdf(file.parent / arm.urdf)
    joints = arm.joint_names or chain_joints(tree, arm.base_link, arm.tip_link)
    if name in known:
        spec = with_urdf(known[name], tree, joints)
    else:
        spec = spec_from_urdf(tree, joints, values)
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
        tip = last_link(tree, joints)
    return replace(spec, urdf=tree.source, joint_names=joints, tip_link=tip, gripper=gripper)
