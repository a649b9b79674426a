"""The scripted grasp policy as an agent of the environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.policies.scripted import ScriptedGrasp


class ScriptedAgent:
    """Run the scripted policy of the live graph; it uses only `info`."""

    def __init__(self, env: GraspEnv) -> None:
        """Create the agent of an unwrapped environment, whose action space it uses."""
        self.env, self.action_space = env, env.robot_action_space
        self.script = ScriptedGrasp(env.robot, env.scene)

    def reset(self) -> None:
        """Start an episode."""
        self.script.goal = self.env.simulation.success_detector.goal
        self.script.reset()

    def act(self, observation: Any, info: dict[str, Any]) -> NDArray[np.float32]:
        """Return the action (a,) for the info of `reset` or `step`."""
        for detection in info["detections"]:
            self.script.on_detection(detection)
        period = self.action_space.config.action_period
        command = self.script.command(info["time"], info["opening"], period)
        action = self.action_space.target_to_action(command.state, command.opening)
        return action.astype(np.float32)
