"""Potential-based reward of the grasp environment.

Each stage of a grasp adds to a potential of the state (Ng, Harada and Russell 1999), and the
reward is its change, so detours and repetitions gain nothing. The return of an episode is the
potential at its end minus that at its start, plus the bonuses for success, minus the action-rate
penalties.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invdyn_ros.grasp.policies.success import (
    GOAL_TOLERANCE,
    LIFT_HEIGHT,
    PrivilegedState,
    SuccessDetector,
)
from invdyn_ros.typing import Array


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the reward.

    Attributes:
        approach: weight of the tool being at the block.
        align: weight of the tool pointing down there, its fingers along the block's sides.
        grasp: weight of the block being between the pads.
        lift: weight of the grasped block being 40 mm above its initial position.
        transport: weight of the grasped block being at its goal.
        release: weight of the open gripper at the goal.
        lift_bonus: paid once, when the block is lifted while the arm is static.
        place_bonus: paid once, when the block is placed while the arm is static: a success.
        action_rate_weight: penalty per step on the mean squared change of the action.
        length_scale: distance at which a stage is worth about a quarter of its weight [m].
    """

    approach: float = 1.0
    align: float = 0.5
    grasp: float = 1.0
    lift: float = 2.0
    transport: float = 2.0
    release: float = 1.0
    lift_bonus: float = 1.0
    place_bonus: float = 5.0
    action_rate_weight: float = 0.01
    length_scale: float = 0.1


class ShapedReward:
    """Reward of one episode."""

    def __init__(
        self, config: RewardConfig, success_detector: SuccessDetector, state: PrivilegedState
    ) -> None:
        """Start an episode.

        Args:
            config: weights.
            success_detector: success criteria of the episode.
            state: initial state.
        """
        self.config, self.success_detector = config, success_detector
        self.lifted = self.placed = False
        self.previous_action: Array | None = None
        self.potential = self._potential(state)

    def __call__(
        self, state: PrivilegedState, success_detector: SuccessDetector, action: Array
    ) -> float:
        """Return the reward of a transition.

        Args:
            state: state after the action.
            success_detector: success criteria after the action.
            action: (a,) the action.
        """
        config, previous = self.config, self.potential
        self.success_detector = success_detector
        self.potential = self._potential(state)
        reward = self.potential - previous
        reward += config.lift_bonus * (success_detector.lifted and not self.lifted)
        reward += config.place_bonus * (success_detector.placed and not self.placed)
        self.lifted, self.placed = success_detector.lifted, success_detector.placed
        if self.previous_action is not None:
            change = float(np.mean((action - self.previous_action) ** 2))
            reward -= config.action_rate_weight * change
        self.previous_action = action
        return float(reward)

    def _potential(self, state: PrivilegedState) -> float:
        """Return the potential of a state, from 0 to the sum of the weights of all stages."""
        config, goal, block = self.config, self.success_detector.goal, state.block_position
        if float(np.linalg.norm(block - goal)) <= GOAL_TOLERANCE and self._was_moved:
            opened = np.clip(state.opening / self.success_detector.open_width, 0.0, 1.0)
            return self._potential_before_release + config.release * float(opened)
        distance = np.linalg.norm(block - state.tool_pose[:3, 3])
        near = 1 - np.tanh(distance / config.length_scale)
        aligned = max(-state.tool_pose[2, 2], 0.0) * np.cos(2 * state.yaw_error)
        potential = near * (config.approach + config.align * aligned)
        if state.grasped:
            height = block[2] - self.success_detector.initial_position[2]
            lifted = np.clip(height / LIFT_HEIGHT, 0.0, 1.0)
            goal_distance = np.linalg.norm(block - goal)
            transported = lifted * (1 - np.tanh(goal_distance / (2 * config.length_scale)))
            potential += config.grasp + config.lift * lifted + config.transport * transported
        return float(potential)

    @property
    def _was_moved(self) -> bool:
        """Whether a block at the goal has been moved there."""
        return self.success_detector.lifted or self.success_detector.starts_off_goal

    @property
    def _potential_before_release(self) -> float:
        c = self.config
        return c.approach + c.align + c.grasp + c.lift + c.transport
