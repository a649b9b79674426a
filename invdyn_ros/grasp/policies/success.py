"""What counts as a success: true block poses enter, the outcome of an episode leaves."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from invdyn_ros.arms.scene import Scene
from invdyn_ros.typing import Array

LIFT = 0.04  # [m] above where it lay
NEAR = 0.025  # [m] from the goal
STILL = 0.2  # [rad/s], ManiSkill's definition of a static arm


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
    start: Array
    released: float
    lifted: bool = False
    placed: bool = False

    @classmethod
    def of(cls, scene: Scene, start: Array) -> "SuccessDetector":
        """Judge an episode of a scene whose block lies at `start` (3,) [m]."""
        return cls(np.array(scene.goal), start.copy(), 1.2 * scene.block_size)

    def see(self, block: Array, qd: Array, opening: float) -> None:
        """Note one sample.

        Args:
            block: (3,) true centre of the block [m].
            qd: (n,) joint velocity [rad/s].
            opening: distance of the finger pads [m]; wider than `released` holds nothing.
        """
        still = bool(np.abs(qd).max() < STILL)
        self.lifted |= still and bool(block[2] - self.start[2] >= LIFT)
        at_goal = bool(np.linalg.norm(block - self.goal) <= NEAR)
        moved = bool(np.linalg.norm(self.start - self.goal) > NEAR) or self.lifted
        self.placed |= still and at_goal and moved and bool(opening > self.released)

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

    tool: Array
    block: Array
    misaligned: float
    held: bool
    opening: float
