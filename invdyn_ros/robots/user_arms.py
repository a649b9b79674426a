"""Arms that users describe in a YAML file, beside those of this package."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat

from invdyn_ros.config import Validated, from_mapping, load_yaml
from invdyn_ros.robots.robot_spec import Gripper, RobotSpec

ARMS_VARIABLE = "INVDYN_ARMS"  # environment variable with the file


@dataclass(frozen=True)
class UserArm(Validated):
    """An arm of a user; limits are those of its URDF.

    Attributes:
        urdf: URDF file, relative to the file that names it.
        joint_names: (n,) joints of the arm in the URDF, without the fingers.
        tip_link: link of the tool centre point, whose z axis is the approach direction.
        home: (n,) position in which the arm starts in simulation [rad].
        rate: rate of the joint states [Hz].
        acceleration: (n,) acceleration limits [rad/s2].
        action_unit: unit of the actions of a model that is trained for it, N m or rad.
        gripper: finger joints, and the largest opening [m].
    """

    urdf: str
    joint_names: tuple[str, ...]
    tip_link: str
    home: tuple[float, ...]
    rate: PositiveFloat
    acceleration: tuple[float, ...]
    action_unit: Literal["N m", "rad"] = "N m"
    gripper: Gripper | None = None


def read_user_arms(file: str, known: Collection[str]) -> dict[str, RobotSpec]:
    """Read the arms of a user.

    Args:
        file: YAML file, the name of each arm and its fields; empty: there are none.
        known: names that are taken.

    Raises:
        ValueError: no such file, a wrong field, or a name that is taken.
    """
    if not file:
        return {}
    path, arms = Path(file).absolute(), {}
    for name, values in load_yaml(path).items():
        if name in known or not str(name).isidentifier():
            raise ValueError(f"{path}: '{name}' cannot be the name of an arm; give another one")
        arm = from_mapping(UserArm, values, f"{path}: {name}")
        arms[name] = RobotSpec(**(vars(arm) | {"urdf": str(path.parent / arm.urdf)}))
    return arms
