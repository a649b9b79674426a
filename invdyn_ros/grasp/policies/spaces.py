"""Specification of observation and action spaces, as stored with demonstrations and planners."""

from __future__ import annotations

from typing import Any, NamedTuple

from invdyn_ros.config import from_mapping, to_mapping
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.observation import ObservationBuilder
from invdyn_ros.grasp.policies.velocity_action_spaces import make_action_space
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot


class SpaceSpec(NamedTuple):
    """Arm and action space of transitions; they determine the observation space.

    Attributes:
        arm: name of the arm.
        control_mode: joint or cartesian.
        action_space: time step and scale of actions.
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a metadata file."""
        observation_size, action_size = self.sizes
        return {
            "arm": self.arm,
            "control_mode": self.control_mode,
            "action_space": to_mapping(self.action_space),
            "observation_size": observation_size,
            "action_size": action_size,
        }

    @classmethod
    def from_dict(cls, values: Any) -> SpaceSpec | None:
        """Return the specification that `to_dict` wrote; None for metadata of another task.

        Raises:
            ValueError: invalid values.
        """
        if not isinstance(values, dict) or not set(cls._fields) <= values.keys():
            return None
        config = from_mapping(ActionSpaceConfig, values["action_space"], "action_space")
        return cls(str(values["arm"]), str(values["control_mode"]), config)
