"""What a learner is paid: the true state of an episode enters, a potential and a reward leave.

Stages are potentials (Ng, Harada and Russell 1999): each pays on the way there and charges on the
way back, so no detour and no repetition pays. The sum over an episode is the potential at its end
less that at its start, plus what success pays, less what hasty actions cost.
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
    """What each stage of a grasp is worth.

    Attributes:
        approach: tool at the block.
        upright: tool pointing down there, its fingers along the block's sides.
        enclose: block between the pads.
        lift: block 40 mm in the air, held.
        carry: held block over, then at its goal.
        release: let go at the goal.
        lifted: paid once, when the block is in the air and the arm still: a success.
        placed: paid once, when the block lies at its goal and the arm is still: the end.
        haste: price of a squared change of action, per step.
        distance: at which a stage has paid about half [m].
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
    """Pays one episode."""

    def __init__(self, config: RewardConfig, judge: SuccessDetector, now: PrivilegedState) -> None:
        """Begin an episode in a state."""
        self.config, self.judge = config, judge
        self.lifted = self.placed = False
        self.previous: Array | None = None
        self.potential = self._potential(now)

    def __call__(self, now: PrivilegedState, judge: SuccessDetector, action: Array) -> float:
        """Return the reward of an action that led to a state."""
        config, before = self.config, self.potential
        self.judge = judge
        self.potential = self._potential(now)
        pay = self.potential - before
        pay += config.lift_bonus * (judge.lifted and not self.lifted)
        pay += config.place_bonus * (judge.placed and not self.placed)
        self.lifted, self.placed = judge.lifted, judge.placed
        if self.previous is not None:
            pay -= config.action_rate_weight * float(np.mean((action - self.previous) ** 2))
        self.previous = action
        return float(pay)

    def _potential(self, now: PrivilegedState) -> float:
        """Return how far the grasp has come: from 0 to the sum of all stages."""
        config, goal = self.config, self.judge.goal
        if float(np.linalg.norm(now.block_position - goal)) <= GOAL_TOLERANCE and self._moved:
            loose = np.clip(now.opening / self.judge.open_width, 0.0, 1.0)
            return self._up_to_carry + config.release * float(loose)
        near = 1 - np.tanh(
            np.linalg.norm(now.block_position - now.tool_pose[:3, 3]) / config.length_scale
        )
        aligned = max(-now.tool_pose[2, 2], 0.0) * np.cos(2 * now.yaw_error)
        potential = near * (config.approach + config.align * aligned)
        if now.grasped:
            height = np.clip(
                (now.block_position[2] - self.judge.initial_position[2]) / LIFT_HEIGHT, 0.0, 1.0
            )
            far = np.linalg.norm(now.block_position - goal)
            carried = height * (1 - np.tanh(far / (2 * config.length_scale)))
            potential += config.grasp + config.lift * height + config.transport * carried
        return float(potential)

    @property
    def _moved(self) -> bool:
        """Whether lying at the goal is anybody's merit."""
        return self.judge.lifted or bool(
            np.linalg.norm(self.judge.initial_position - self.judge.goal) > GOAL_TOLERANCE
        )

    @property
    def _up_to_carry(self) -> float:
        c = self.config
        return c.approach + c.align + c.grasp + c.lift + c.transport
