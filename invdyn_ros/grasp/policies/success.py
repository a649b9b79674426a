"""What counts as a success: true block poses enter, the outcome of an episode leaves."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

LIFT_HEIGHT = 0.04  # [m] above where it lay
GOAL_TOLERANCE = 0.025  # [m] from the goal
STATIC_JOINT_SPEED = 0.2  # [rad/s], ManiSkill's definition of a static arm


@dataclass
class SuccessDetector:
    """Watch one episode.

    Success: the block is lifted 40 mm or within 25 mm of its goal, and the arm is still.

    Attributes:
        goal: (3,) where the block's centre shall end [m].
        start: (3,) where it lay [m].
        released: a wider opening of the finger pads holds no block [m].
        lifted: it was in the air while the arm was still.
        placed: it lies at the goal, let go, and the arm is still.
    """

    goal: Array
    initial_position: Array
    open_width: float
    lifted: bool = False
    placed: bool = False

    @classmethod
    def from_scene(cls, scene: Scene, start: Array) -> "SuccessDetector":
        """Judge an episode of a scene whose block lies at `start` (3,) [m]."""
        return cls(np.array(scene.goal), start.copy(), 1.2 * scene.block_size)

    def update(self, block_position: Array, qd: Array, opening: float) -> None:
        """Note one sample.

        Args:
            block: (3,) true centre of the block [m].
            qd: (n,) joint velocity [rad/s].
            opening: distance of the finger pads [m]; wider than `released` holds nothing.
        """
        still = bool(np.abs(qd).max() < STATIC_JOINT_SPEED)
        self.lifted |= still and bool(block_position[2] - self.initial_position[2] >= LIFT_HEIGHT)
        at_goal = bool(np.linalg.norm(block_position - self.goal) <= GOAL_TOLERANCE)
        moved = (
            bool(np.linalg.norm(self.initial_position - self.goal) > GOAL_TOLERANCE) or self.lifted
        )
        self.placed |= still and at_goal and moved and bool(opening > self.open_width)

    @property
    def success(self) -> bool:
        """Whether the episode counts as a success."""
        return self.lifted or self.placed


class PrivilegedState(NamedTuple):
    """The true state that a reward looks at, which no policy sees.

    Attributes:
        tool: (4, 4) pose of the tool in the base frame.
        block: (3,) centre of the block [m].
        misaligned: yaw from the fingers to the nearest side of the block [rad], up to pi / 4.
        held: both pads touch the block.
        opening: distance of the pads [m].
    """

    tool_pose: Array
    block_position: Array
    yaw_error: float
    grasped: bool
    opening: float
