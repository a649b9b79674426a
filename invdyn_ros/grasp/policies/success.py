"""Success criteria of a grasp episode, evaluated on the true state of the simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from invdyn_ros.grasp.estimation.block_estimate import relative_yaw, upright_yaw
from invdyn_ros.robots.scene import OPEN_WIDTH_RATIO, Scene
from invdyn_ros.typing import Array

LIFT_HEIGHT = 0.04  # [m] above the initial position
GOAL_TOLERANCE = 0.025  # [m] between the centre of the block and the goal
STATIC_JOINT_SPEED = 0.2  # [rad/s] ManiSkill's definition of a static arm
MIN_RELOCATION = 0.05  # [m] along the table between two images, too far for an arm that carries it
ON_TABLE_TOLERANCE = 0.002  # [m] of the height of a block at rest


def is_relocated(last: Array, position: Array, scene: Scene) -> bool:
    """Return whether the block was laid elsewhere between two images, for the next episode.

    Args:
        last: (3,) true centre of the block in the last image [m].
        position: (3,) in the next one.
        scene: size of the block.
    """
    moved = float(np.linalg.norm(position[:2] - last[:2]))
    is_on_table = abs(float(position[2]) - scene.block_size / 2) < ON_TABLE_TOLERANCE
    return is_on_table and moved > MIN_RELOCATION


def is_at_goal(position: Array, goal: Array) -> bool:
    """Return whether the centre of a block (3,) [m] is within the tolerance of its goal (3,)."""
    return bool(np.linalg.norm(position - goal) <= GOAL_TOLERANCE)


def is_static(qd: Array) -> bool:
    """Return whether an arm with joint velocities qd (n,) [rad/s] is static."""
    return bool(np.abs(qd).max() < STATIC_JOINT_SPEED)


@dataclass
class SuccessDetector:
    """Detect the success of one episode.

    An episode is a success if the block is placed: released within 25 mm of the goal while the
    arm is static. A block that is only lifted is none.

    Attributes:
        goal: (3,) goal position of the block's centre [m].
        initial_position: (3,) position of the block's centre at the start of the episode [m].
        open_width: gripper opening above which no block is held [m].
        lifted: whether the block was lifted by 40 mm while the arm was static.
        placed: whether the block was released at the goal while the arm was static.
    """

    goal: Array
    initial_position: Array
    open_width: float
    lifted: bool = False
    placed: bool = False

    @classmethod
    def from_scene(cls, scene: Scene, initial_position: Array) -> SuccessDetector:
        """Return the detector of an episode in which the block starts at a position (3,) [m]."""
        width = OPEN_WIDTH_RATIO * scene.block_size
        return cls(np.array(scene.goal), initial_position.copy(), width)

    def update(self, block_position: Array, qd: Array, opening: float) -> None:
        """Evaluate the criteria on one sample.

        Args:
            block_position: (3,) true centre of the block [m].
            qd: (n,) joint velocity [rad/s].
            opening: distance between the finger pads [m].
        """
        static = is_static(qd)
        height = block_position[2] - self.initial_position[2]
        self.lifted |= static and bool(height >= LIFT_HEIGHT)
        released = is_at_goal(block_position, self.goal) and bool(opening > self.open_width)
        self.placed |= static and released and (self.starts_off_goal or self.lifted)

    @property
    def starts_off_goal(self) -> bool:
        """Whether the initial position of the block is outside of the goal tolerance."""
        return not is_at_goal(self.initial_position, self.goal)

    @property
    def success(self) -> bool:
        """Whether the episode is a success."""
        return self.placed


class PrivilegedState(NamedTuple):
    """State of gripper and block, as the reward and the expert use it.

    In simulation it is the true state; `ObservationBuilder.estimated_state` returns the same
    quantities as estimated from measurements.

    Attributes:
        tool_pose: (4, 4) pose of the tool in the base frame.
        block_position: (3,) centre of the block [m].
        yaw_error: yaw from the fingers to the nearest side of the block [rad], up to pi / 4.
        grasped: whether both pads touch the block.
        opening: distance between the pads [m].
    """

    tool_pose: Array
    block_position: Array
    yaw_error: float
    grasped: bool
    opening: float

    @classmethod
    def from_poses(
        cls, tool_pose: Array, block_pose: Array, grasped: bool, opening: float
    ) -> PrivilegedState:
        """Return the state with the yaw error of a block.

        Args:
            tool_pose: (4, 4) pose of the tool in the base frame.
            block_pose: (4, 4) pose of the block in the base frame.
            grasped: whether both pads touch the block.
            opening: distance between the pads [m].
        """
        yaw_error = relative_yaw(tool_pose, upright_yaw(block_pose[:3, :3]))
        return cls(tool_pose, block_pose[:3, 3], yaw_error, grasped, opening)
