"""Robot model: joint limits, kinematics and rigid-body dynamics of an arm."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invdyn_ros.config import describe_error
from invdyn_ros.robots.arm_file import with_urdf
from invdyn_ros.robots.package_files import package_file, urdf_path
from invdyn_ros.robots.payload import Payload, carrying_joint
from invdyn_ros.robots.registry import ROBOTS, Gripper, RobotSpec, load_robot_spec, register_arm
from invdyn_ros.robots.tool import TOOL_LINK, Tool
from invdyn_ros.robots.urdf import clear_invalid_base_inertias, load_urdf, parse_urdf
from invdyn_ros.robots.urdf_arm import LIMITS, check_joints, joint_limit, spec_from_urdf
from invdyn_ros.robots.urdf_checks import INERTIA_ENTRIES
from invdyn_ros.robots.urdf_text import read_urdf_text
from invdyn_ros.typing import Array

__all__ = ["ROBOTS", "Gripper", "Robot", "RobotSpec", "load_robot", "package_file"]

MAX_LIMIT = 1e6  # of a plausible position, velocity, acceleration or effort in SI units

if TYPE_CHECKING:  # slow to import; nodes without kinematics need none
    import mujoco


@dataclass(frozen=True, eq=False)
class Robot:
    """Names, limits, kinematics and dynamics of an arm.

    The tip is the tool centre point; its z axis is the approach direction. Kinematics and dynamics
    share one MuJoCo data structure and are not thread-safe.
    """

    name: str
    urdf: Path
    joint_names: tuple[str, ...]
    base_link: str
    tip_link: str
    lower: Array  # (n,) position limits [rad]
    upper: Array  # (n,) position limits [rad]
    velocity: Array  # (n,) velocity limits [rad/s]
    acceleration: Array  # (n,) acceleration limits [rad/s2]
    effort: Array  # (n,) effort limits [N m]
    home: Array  # (n,) home configuration [rad]
    rate: float  # control rate [Hz]
    action_unit: str  # "N m" or "rad" (position servos)
    gripper: Gripper | None = None
    carried: Payload | None = None  # beside what the URDF has
    tool: Tool | None = None  # at `flange`; the tip link is then TOOL_LINK
    flange: str = ""

    def __post_init__(self) -> None:
        """Check shapes and limits.

        Raises:
            ValueError: an array is not (n,), a limit is not positive, or home is out of range.
        """
        for field in ("lower", "upper", "velocity", "acceleration", "effort", "home"):
            if (shape := getattr(self, field).shape) != (self.n,):
                raise ValueError(f"{self.name}: {field} has shape {shape}, not ({self.n},)")
        for field in ("velocity", "acceleration", "effort"):
            for joint, value in zip(self.joint_names, getattr(self, field), strict=True):
                if not 0 < value <= MAX_LIMIT:
                    raise ValueError(
                        f"{self.urdf}: {field} limit of '{joint}' is {value}; it must be above 0 "
                        f"and at most {MAX_LIMIT:g}"
                    )
        for joint, low, home, up in zip(
            self.joint_names, self.lower, self.home, self.upper, strict=True
        ):
            if not (low < up and low <= home <= up and max(-low, up) <= MAX_LIMIT):
                raise ValueError(
                    f"{self.urdf}: '{joint}' needs lower < upper with home between, "
                    f"within +-{MAX_LIMIT:g}, got [{low:.4g}, {up:.4g}] and {home:.4g} rad"
                )

    @property
    def n(self) -> int:
        """Number of arm joints, without the fingers."""
        return len(self.joint_names)

    def carrying(self, payload: Payload) -> Robot:
        """Return the arm with a payload.

        Raises:
            ValueError: the arm has no such link, or no joint moves it.
        """
        carrying_joint(self.rigid_body_urdf(), self.joint_names, payload.link)
        return replace(self, carried=payload)

    @property
    def has_additions(self) -> bool:
        """Whether the arm has what its URDF file lacks."""
        return self.tool is not None or self.carried is not None

    def add_to(self, urdf: ET.Element) -> None:
        """Add tool and payload to the root of the URDF of the arm."""
        if self.tool is not None:
            self.tool.add_to(urdf, self.flange)
        if self.carried is not None:
            self.carried.add_to(urdf)

    def rigid_body_urdf(self) -> str:
        """Return a URDF of the rigid-body model whose only moving joints are `joint_names`.

        What it carries is part of it. Geometry and joint friction are left out, finger and other
        joints are fixed at zero, and the limits are those of this robot.
        """
        root = parse_urdf(read_urdf_text(self.urdf), str(self.urdf))
        for link in root.iter("link"):
            for shape in [*link.findall("visual"), *link.findall("collision")]:
                link.remove(shape)
            if link.find("inertial") is None:  # PyBullet would assume 1 kg
                inertial = ET.SubElement(link, "inertial")
                ET.SubElement(inertial, "mass", value="0")
                ET.SubElement(inertial, "inertia", {key: "0" for _, _, key in INERTIA_ENTRIES})
        clear_invalid_base_inertias(root, self.joint_names)
        for joint in root.findall("joint"):
            for tag in ("dynamics", "limit", "mimic", "safety_controller"):
                for extra in joint.findall(tag):
                    joint.remove(extra)
            if (name := joint.get("name")) not in self.joint_names:
                joint.set("type", "fixed")
                continue
            i = self.joint_names.index(name)
            if joint.get("type") == "continuous":
                joint.set("type", "revolute")
            limit = {"lower": self.lower, "upper": self.upper}
            limit |= {"effort": self.effort, "velocity": self.velocity}
            ET.SubElement(joint, "limit", {k: repr(float(v[i])) for k, v in limit.items()})
        self.add_to(root)
        return ET.tostring(root, encoding="unicode")

    def model(self) -> mujoco.MjModel:
        """Return the MuJoCo model of the arm, with the joints in the order of `joint_names`."""
        return self._mujoco[0]

    def forward_kinematics(self, q: Array, link: str | None = None) -> Array:
        """Return the pose T_base_link (4, 4) of a link, by default the tip, at q (n,) [rad].

        Raises:
            ValueError: the URDF has no such link.
        """
        import mujoco

        model, data = self._mujoco
        name = link or self.tip_link
        if name not in self._bodies:
            raise ValueError(f"{self.name} has no link '{name}'; its links are {[*self._bodies]}")
        body = self._bodies[name]
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        T = np.eye(4)
        T[:3, :3] = data.xmat[body].reshape(3, 3)
        T[:3, 3] = data.xpos[body]
        return T

    def jacobian(self, q: Array) -> Array:
        """Return the Jacobian (6, n) of the tip at q (n,) [rad], linear rows first."""
        import mujoco

        model, data = self._mujoco
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        jacobian = np.zeros((6, model.nv))
        mujoco.mj_jacBody(model, data, jacobian[:3], jacobian[3:], self._bodies[self.tip_link])
        return jacobian

    def inverse_dynamics(self, q: Array, qd: Array, qdd: Array) -> Array:
        """Return the rigid-body torque (n,) [N m] of a motion with gravity 9.81 m/s2 along -z.

        Args:
            q: (n,) joint positions [rad].
            qd: (n,) joint velocities [rad/s].
            qdd: (n,) joint accelerations [rad/s2].
        """
        import mujoco

        model, data = self._mujoco
        data.qpos[:], data.qvel[:], data.qacc[:] = q, qd, qdd
        mujoco.mj_inverse(model, data)
        return data.qfrc_inverse.copy()

    def mass_matrix(self, q: Array) -> Array:
        """Return the joint-space inertia (n, n) [kg m2] at q (n,) [rad]."""
        zero = np.zeros(self.n)
        bias = self.inverse_dynamics(q, zero, zero)
        return np.stack([self.inverse_dynamics(q, zero, e) - bias for e in np.eye(self.n)], axis=1)

    @cached_property
    def _bodies(self) -> dict[str, int]:
        """MuJoCo body ids by link name; body 0 is the world."""
        model, _ = self._mujoco
        bodies = {model.body(i).name: i for i in range(1, model.nbody)}
        return {self.base_link: 0} | bodies  # a root link of the name "world" is no other body

    @cached_property
    def _mujoco(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        import mujoco

        root = ET.fromstring(self.rigid_body_urdf())
        # by default MuJoCo merges fixed links and corrects inertias; keep tool frames and values
        options = {"fusestatic": "false", "balanceinertia": "false", "boundmass": "0"}
        options["boundinertia"] = "0"
        compiler = ET.SubElement(ET.SubElement(root, "mujoco"), "compiler", options)
        try:
            try:
                model = mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))
            except ValueError as error:
                if "A + B >= C" not in str(error):
                    raise
                compiler.set("balanceinertia", "true")  # some CAD programs round too much
                model = mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))
        except Exception as error:  # the common base of MuJoCo's error classes
            raise ValueError(f"{self.urdf}: {describe_error(error)}") from error
        names = tuple(model.joint(i).name for i in range(model.njnt))
        if names != self.joint_names:
            raise ValueError(f"{self.urdf} has joints {names}, not {self.joint_names}")
        # an exceeded joint limit must not appear as a torque
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONSTRAINT
        return model, mujoco.MjData(model)


def load_robot(name: str, urdf: Path | None = None) -> Robot:
    """Load an arm of `ROBOTS`, with another URDF or its own, or any arm from a URDF file.

    Args:
        name: name or FILE.yaml of the arm; any name for an arm that only the URDF describes.
        urdf: URDF file; None: that of the arm.

    Raises:
        FileNotFoundError: no such URDF file.
        ValueError: the name is unknown, or the URDF lacks inertias, limits or joints.
    """
    name = register_arm(name)
    spec = load_robot_spec(name) if urdf is None or name in ROBOTS else None
    path = urdf_path(spec.urdf) if urdf is None and spec is not None else Path(str(urdf))
    tree = load_urdf(path)
    if spec is None:
        spec = spec_from_urdf(tree)
    elif urdf is not None:
        spec = with_urdf(spec, tree)
    check_joints(tree, spec.joint_names)
    if spec.tip_link not in tree.links:
        raise ValueError(
            f"{path} has no link '{spec.tip_link}' for the tool; it has {', '.join(tree.links)}"
        )
    if spec.tool is not None and TOOL_LINK in tree.links:
        raise ValueError(f"{path} has a link '{TOOL_LINK}'; name it as tip_link instead of a tool")
    tree.check_inertias(spec.joint_names)
    lower, upper, velocity, effort = (
        joint_limit(tree, spec.joint_names, key, getattr(spec, key)) for key in LIMITS
    )
    robot = Robot(
        name=name,
        urdf=path,
        joint_names=spec.joint_names,
        base_link=tree.root,
        tip_link=spec.tip_link if spec.tool is None else TOOL_LINK,
        lower=lower,
        upper=upper,
        velocity=velocity,
        acceleration=velocity if spec.acceleration is None else np.array(spec.acceleration),
        effort=effort,
        home=np.clip(0.0, lower, upper) if spec.home is None else np.array(spec.home),
        rate=spec.rate,
        action_unit=spec.action_unit,
        gripper=spec.gripper,
        tool=spec.tool,
        flange=spec.tip_link,
    )
    return _with_defaults(robot, spec)


def _with_defaults(robot: Robot, spec: RobotSpec) -> Robot:
    """Return an arm with the accelerations and the home position that its description lacks."""
    # these compute with the arm
    from invdyn_ros.robots.arm_defaults import default_home, feasible_acceleration

    if spec.acceleration is None:
        robot = replace(robot, acceleration=feasible_acceleration(robot))
    return robot if spec.home is not None else replace(robot, home=default_home(robot))
