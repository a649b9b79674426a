"""Lookup of the driver of a real arm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from invdyn_ros.graph.topics import COMMANDS, JOINT_STATES
from invdyn_ros.robots.arm_file import ARM_FILE_SUFFIX
from invdyn_ros.robots.driver import load_driver, shipped_driver
from invdyn_ros.robots.robot import ROBOTS, load_robot


class ResolvedDriver(NamedTuple):
    """What a graph needs to know of a driver.

    Attributes:
        file: description of the driver; empty for a driver of this package, and in simulation.
        units: units of the commands that it takes.
        has_gripper: whether the description and the arm have a gripper.
        topics: topic of this package: that of the driver instead, for joint states and commands.
        joint_map: pairs of names of joints, for the nodes; empty if there are none.
    """

    file: str = ""
    units: tuple[str, ...] = ()
    has_gripper: bool = False
    topics: Mapping[str, str] = {}
    joint_map: str = ""

    def remappings(self) -> dict[str, str]:
        """Return the names of topics that all nodes need changed."""
        return {usual: other for usual, other in self.topics.items() if other != usual}


def resolve_driver(file: str, arm: str, real: bool) -> ResolvedDriver:
    """Return the driver of an arm.

    Args:
        file: launch argument; empty: that of the arm.
        arm: name of the arm.
        real: whether the arm is a real one.

    Raises:
        ValueError: there is no driver, or its description is wrong.
    """
    spec = ROBOTS[arm]
    if not real:
        if file:
            raise ValueError(f"driver:={file} needs target:=real")
        return ResolvedDriver()
    if not file and spec.driver_node:
        return ResolvedDriver(units=(spec.action_unit,))
    if not file and not spec.driver:
        known = [name for name, other in ROBOTS.items() if other.driver_node or other.driver]
        raise ValueError(
            f"there is no driver for a real {arm}; give driver:=FILE.yaml (see config/drivers), "
            f"or one of the arms {', '.join(known)}"
        )
    described = file or str(spec.driver)
    is_file = file or described.endswith(ARM_FILE_SUFFIX)
    path = Path(described).absolute() if is_file else shipped_driver(described)
    robot = load_robot(arm)
    driver = load_driver(path, robot)
    interfaces = {"rad": driver.position, "N m": driver.effort}
    topics = {unit: i.topic for unit, i in interfaces.items() if i is not None}
    return ResolvedDriver(
        str(path),
        tuple(topics),
        driver.gripper is not None and robot.gripper is not None,
        {JOINT_STATES: driver.joint_states, **{COMMANDS[u]: topics[u] for u in topics}},
        " ".join(f"{name}={other}" for name, other in driver.joints.items()),
    )
