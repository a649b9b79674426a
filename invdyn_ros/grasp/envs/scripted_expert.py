"""The scripted grasp as a policy of the environment: what it says enters, actions leave."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.policies.scripted import ScriptedGrasp


class ScriptedPolicy:
    """Drives an environment by the script of the live graph, unchanged."""

    def __init__(self, environment: GraspEnv) -> None:
        """Make a policy for an unwrapped environment, whose steering it uses."""
        self.steering = environment.robot_action_space
        self.script = ScriptedGrasp(environment.robot, environment.scene)

    def reset(self) -> None:
        """Begin an episode."""
        self.script.reset()

    def __call__(self, info: dict[str, Any]) -> NDArray[np.float32]:
        """Return the action that follows what `reset` or `step` told in `info`."""
        for sighting in info["detections"]:
            self.script.on_detection(sighting)
        wish = self.script.command(
            info["time"], info["opening"], self.steering.config.action_period
        )
        return self.steering.target_to_action(wish.state, wish.opening).astype(np.float32)
