"""What the steps of a grasp are of: an arm and the meaning of its actions enter, sizes leave."""

from __future__ import annotations

from typing import Any, NamedTuple

from invdyn_ros.config import from_mapping, to_mapping
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.velocity_action_spaces import make_action_space
from invdyn_ros.grasp.policies.observation import ObservationBuilder
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot


class SpaceSpec(NamedTuple):
    """What steps are of.

    Attributes:
        arm: name of the arm.
        control: what actions mean: joint or cartesian.
        steering: how far one of them goes.
    """

    arm: str
    control_mode: str
    action_space: ActionSpaceConfig

    @property
    def sizes(self) -> tuple[int, int]:
        """Sizes of an observation and an action."""
        robot = load_robot(self.arm)
        actions = make_action_space(self.control_mode, robot, self.action_space).size
        return ObservationBuilder(robot, load_scene(self.arm), actions).size, actions

    @property
    def to_dict(self) -> dict[str, Any]:
        """As it stands in the folder."""
        about = {
            "arm": self.arm,
            "control_mode": self.control_mode,
            "action_space": to_mapping(self.action_space),
        }
        return about | dict(zip(("observation_size", "action_size"), self.sizes, strict=True))


def space_spec_from_dict(plain: Any) -> SpaceSpec | None:
    """Return what steps are of, from what `Steps.plain` gave; None: of nothing known.

    Raises:
        ValueError: values that do not fit.
    """
    if not isinstance(plain, dict) or not {"arm", "control_mode", "action_space"} <= plain.keys():
        return None
    steering = from_mapping(ActionSpaceConfig, plain["action_space"], "action_space")
    return SpaceSpec(str(plain["arm"]), str(plain["control_mode"]), steering)
