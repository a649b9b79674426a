"""The visual-servoing grasp as an expert: its actions in an environment, and for other blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.grasp.envs.relabeling import random_situation
from invdyn_ros.grasp.policies.action_space import ActionSpace, PlanarTwist
from invdyn_ros.grasp.policies.observation import ObservationBuilder
from invdyn_ros.grasp.policies.success import PrivilegedState
from invdyn_ros.grasp.policies.visual_servo import VisualServoConfig, visual_servo
from invdyn_ros.typing import Array


class VisualServoExpert:
    """Labels states of an arm, and observations, with actions."""

    def __init__(self, builder: ObservationBuilder, action_space: ActionSpace) -> None:
        """Create the expert of the arm of a builder and an action space."""
        self.builder, self.action_space = builder, action_space

    def action(self, state: PrivilegedState | None, goal: Array) -> NDArray[np.float32]:
        """Return the action (a,) in a state with a goal (3,) [m]; without a state it waits."""
        twist = PlanarTwist(np.zeros(3), 0.0, close_gripper=False)
        if state is not None:
            twist = visual_servo(state, goal, self.builder.scene.block_size, VisualServoConfig())
        return self.action_space.twist_to_action(twist).astype(np.float32)

    def relabel(
        self, observation: NDArray[np.float32], count: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return an observation with other blocks, gripper openings and goals.

        Args:
            observation: (o,) the last observation of the builder.
            count: number of observations to make of it.
            rng: random number generator.

        Returns:
            Observations (count, o) and the actions (count, a) there; before the first detection
            of the block those of the observation itself.
        """
        builder, state = self.builder, self.builder.estimated_state()
        if state is None:
            action = self.action(None, builder.goal)
            return np.tile(observation, (count, 1)), np.tile(action, (count, 1))
        size, opening = builder.scene.block_size, builder.max_opening
        others = [random_situation(state, builder.goal, size, opening, rng) for _ in range(count)]
        observations = [builder.replace_block(observation, *other) for other in others]
        return np.stack(observations), np.stack([self.action(*other) for other in others])
