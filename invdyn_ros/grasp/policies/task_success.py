"""Success criteria of a task with several blocks, evaluated on the true state."""

from __future__ import annotations

from collections.abc import Sequence

from invdyn_ros.grasp.policies.success import is_at_goal, is_static
from invdyn_ros.grasp.policies.tasks import Placement
from invdyn_ros.robots.scene import OPEN_WIDTH_RATIO, Scene
from invdyn_ros.typing import Array


class TaskSuccess:
    """Detect the success of one episode of a task.

    A task is done while every block lies within 25 mm of its goal, the arm is static and the
    gripper is open.

    Attributes:
        placements: goal of each block.
        at_goal: whether each block is at its goal, in the order of the placements.
        placed: whether the task is done.
    """

    def __init__(self, scene: Scene, placements: Sequence[Placement]) -> None:
        """Start an episode."""
        self.placements = tuple(placements)
        self.open_width = OPEN_WIDTH_RATIO * scene.block_size
        self.at_goal: tuple[bool, ...] = (False,) * len(self.placements)
        self.placed = False

    def update(self, positions: Array, qd: Array, opening: float) -> None:
        """Evaluate the criteria on one sample.

        Args:
            positions: (k, 3) true centre of every block [m].
            qd: (n,) joint velocity [rad/s].
            opening: distance between the finger pads [m].
        """
        self.at_goal = tuple(is_at_goal(positions[block], goal) for block, goal in self.placements)
        self.placed = all(self.at_goal) and is_static(qd) and opening > self.open_width

    @property
    def success(self) -> bool:
        """Whether the task is done."""
        return self.placed
