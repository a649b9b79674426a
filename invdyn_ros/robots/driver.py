"""Description of the driver of a real arm: its topics, its controllers, and what it must report.

One YAML file describes one driver; config/drivers has those of the known arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from invdyn_ros.config import Validated, from_mapping, load_yaml
from invdyn_ros.robots.robot import Robot, package_file
from invdyn_ros.typing import Array

TopicName = Annotated[str, Field(pattern=r"^/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*$")]
NodeName = Annotated[str, Field(pattern=r"^(/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*)?$")]
TypeName = Annotated[str, Field(pattern=r"^\w+/msg/\w+$")]
LIMITS = ("lower", "upper", "velocity", "effort")


@dataclass(frozen=True)
class CommandInterface(Validated):
    """Controller of a driver that takes commands.

    Attributes:
        topic: topic of the commands (std_msgs/Float64MultiArray), in the order of the joints.
        controller: name in the controller manager; empty: the driver has no controller manager.
        takes_trajectories: whether the topic takes trajectories (trajectory_msgs/JointTrajectory)
            instead, as that of a joint_trajectory_controller; for setpoints only.
        takes_goals: whether the topic is the name of an action control_msgs/FollowJointTrajectory
            instead, for an arm that has nothing else; for setpoints only.
        gravity_compensated: whether the arm adds the torques that hold it against gravity, so that
            commands must not contain them; for torques only.
    """

    topic: TopicName
    controller: str = ""
    takes_trajectories: bool = False
    takes_goals: bool = False
    gravity_compensated: bool = False

    @property
    def takes_plans(self) -> bool:
        """Whether the controller takes whole plans instead of one action at a time."""
        return self.takes_trajectories or self.takes_goals

    def command(self, robot: Robot, action: Array, q: Array) -> Array:
        """Return the command (n,) for an action.

        Args:
            robot: the arm.
            action: (n,) setpoint [rad] or torque [N m], gravity included.
            q: (n,) measured position [rad].
        """
        if not self.gravity_compensated:
            return action
        still = np.zeros(robot.n)
        return action - robot.inverse_dynamics(q, still, still)


@dataclass(frozen=True)
class Condition(Validated):
    """What a topic of the driver must say while the arm is driven.

    Attributes:
        name: of the condition, in messages.
        topic: its topic; a latched one is received, too.
        type: type of its messages, such as std_msgs/msg/Bool.
        field: field of the message with a number or a truth value.
        accepted: values with which the arm may be driven.
        value_names: words for the values 0, 1, ... in messages.
        remedy: what to do about any other value.
    """

    name: str
    topic: TopicName
    type: TypeName
    accepted: Annotated[tuple[int | bool, ...], Field(min_length=1)]
    field: str = "data"
    value_names: tuple[str, ...] = ()
    remedy: str = ""

    def describe(self, value: int) -> str:
        """Return a value in words."""
        known = 0 <= value < len(self.value_names)
        return f"{self.name} is {self.value_names[value] if known else value}"


@dataclass(frozen=True)
class SpeedScalingSource(Validated):
    """Topic with the speed at which the arm executes commands.

    Attributes:
        topic: topic (std_msgs/Float64).
        full_speed: value at full speed.
    """

    topic: TopicName
    full_speed: PositiveFloat = 100.0


@dataclass(frozen=True)
class GripperInterface(Validated):
    """How the driver of a gripper takes the opening, and reports it.

    Attributes:
        kind: action control_msgs/GripperCommand or control_msgs/ParallelGripperCommand, a topic
            (std_msgs/Float64MultiArray), or a digital output of the tool (service ur_msgs/SetIO).
        name: name of the action, the topic or the service.
        joint: measured joint of the gripper in the joint states; empty: none is measured, and the
            commanded opening counts as the measured one.
        open_position: position of the joint, or of the command, when open [rad or m].
        closed_position: the same when closed [rad or m].
        max_effort: largest force [N]; 0: that of the driver.
        pin: digital output that closes the gripper.
    """

    kind: Literal["gripper_command", "parallel_gripper_command", "topic", "digital_output"]
    name: TopicName
    joint: str = ""
    open_position: float = 0.0
    closed_position: float = 1.0
    max_effort: NonNegativeFloat = 0.0
    pin: NonNegativeInt = 16

    def __post_init__(self) -> None:
        """Check that open and closed differ.

        Raises:
            ValueError: they are the same.
        """
        super().__post_init__()
        if self.open_position == self.closed_position:
            raise ValueError(
                f"open_position and closed_position of the gripper are both {self.open_position}"
            )

    def position(self, opening: float, max_opening: float) -> float:
        """Return the position [rad or m] for an opening [m], at most the largest one [m]."""
        fraction = min(max(opening / max_opening, 0.0), 1.0)
        return self.closed_position + fraction * (self.open_position - self.closed_position)

    def opening(self, position: float, max_opening: float) -> float:
        """Return the opening [m] at a position [rad or m]; the largest opening is given [m]."""
        fraction = (position - self.closed_position) / (self.open_position - self.closed_position)
        return min(max(fraction, 0.0), 1.0) * max_opening


@dataclass(frozen=True)
class DriverLimits(Validated):
    """Limits of the joints that are narrower than those of the arm; empty: those of the arm.

    Attributes:
        lower: (n,) lower position limits [rad].
        upper: (n,) upper position limits [rad].
        velocity: (n,) velocity limits [rad/s].
        effort: (n,) effort limits [N m].
    """

    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    velocity: tuple[float, ...] = ()
    effort: tuple[float, ...] = ()


@dataclass(frozen=True)
class DriverConfig(Validated):
    """Description of the driver of a real arm.

    Attributes:
        package: what the user starts, for messages.
        joint_states: topic of the joint states.
        position: takes setpoints [rad].
        effort: takes torques [N m].
        joints: name of a joint in the URDF -> name in the messages of the driver, for joints whose
            names differ.
        controller_manager: node that manages the controllers; empty: there is none.
        other_controllers: controllers that move the same joints, of which the active one has to
            be deactivated first.
        conditions: what topics of the driver must say, the most important one first.
        speed_scaling: speed at which the arm executes commands.
        gripper: gripper of the arm.
        limits: narrower limits of the joints.
    """

    package: str
    joint_states: TopicName = "joint_states"
    position: CommandInterface | None = None
    effort: CommandInterface | None = None
    joints: dict[str, str] = field(default_factory=dict)
    controller_manager: NodeName = "controller_manager"
    other_controllers: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    speed_scaling: SpeedScalingSource | None = None
    gripper: GripperInterface | None = None
    limits: DriverLimits = field(default_factory=DriverLimits)

    def interface(self, unit: str) -> CommandInterface:
        """Return the interface for commands in a unit.

        Raises:
            ValueError: the driver takes none in this unit; the message lists those that it takes.
        """
        known = {"rad": self.position, "N m": self.effort}
        interface = known.get(unit)
        if interface is None:
            units = " or ".join(f"'{u}'" for u, taken in known.items() if taken) or "no commands"
            raise ValueError(f"commands are in '{unit}'; the driver {self.package} takes {units}")
        return interface

    def joint_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the names of joints in the messages of the driver."""
        return tuple(self.joints.get(name, name) for name in names)

    def limited(self, robot: Robot) -> Robot:
        """Return an arm with the narrower limits of its driver.

        Raises:
            ValueError: a limit is wider than that of the arm, or not one for each joint.
        """
        changes: dict[str, Any] = {}
        for name in LIMITS:
            values, own = getattr(self.limits, name), getattr(robot, name)
            if not values:
                continue
            if len(values) != robot.n:
                raise ValueError(f"limits.{name} has {len(values)} values for {robot.n} joints")
            changes[name] = np.array(values)
            wider = changes[name] < own if name == "lower" else changes[name] > own
            if wider.any():
                j = int(np.argmax(wider))
                raise ValueError(
                    f"limits.{name} of {robot.joint_names[j]} is {values[j]:g}, wider than "
                    f"{own[j]:g} of {robot.urdf.name}; a driver may only narrow it"
                )
        if not changes:
            return robot
        lower, upper = changes.get("lower", robot.lower), changes.get("upper", robot.upper)
        return replace(robot, **changes, home=np.clip(robot.home, lower, upper))


def load_driver(file: str | Path, robot: Robot) -> DriverConfig:
    """Read the description of a driver, and check it against the arm.

    Raises:
        ValueError: no such file, an unknown field, a joint that the arm does not have, two joints
            of one name, wider limits than those of the arm, or no command interface.
    """
    driver = from_mapping(DriverConfig, load_yaml(file), str(file))
    try:
        _check(driver, robot)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return driver


def shipped_driver(name: str) -> Path:
    """Return the file of a driver of this package."""
    return package_file(f"config/drivers/{name}.yaml")


def _check(driver: DriverConfig, robot: Robot) -> None:
    if driver.position is None and driver.effort is None:
        raise ValueError("neither 'position' nor 'effort' is given, so the arm takes no commands")
    if driver.position is not None and driver.position.gravity_compensated:
        raise ValueError("gravity_compensated is for torques ('effort'), not for 'position'")
    if driver.effort is not None and (
        driver.effort.takes_trajectories or driver.effort.takes_goals
    ):
        raise ValueError(
            "takes_trajectories and takes_goals are for setpoints ('position'), not for 'effort'"
        )
    if driver.position and driver.position.takes_trajectories and driver.position.takes_goals:
        raise ValueError("position has both takes_trajectories and takes_goals; give one of them")
    controllers = [i.controller for i in (driver.position, driver.effort) if i is not None]
    if any(controllers) and not driver.controller_manager:
        raise ValueError(f"controller {max(controllers)} is given, but no controller_manager")
    unknown = [name for name in driver.joints if name not in robot.joint_names]
    if unknown:
        raise ValueError(f"joints has {unknown}; the arm has {list(robot.joint_names)}")
    names = driver.joint_names(robot.joint_names)
    if len(set(names)) < len(names):
        raise ValueError(f"two joints have the same name: {list(names)}")
    driver.limited(robot)
