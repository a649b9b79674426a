"""Check whether a block is still between the fingers that have lifted it."""

from __future__ import annotations

from collections import deque

import numpy as np

from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, project_to_height
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

EMPTY_OPENING_RATIO = 0.6  # gripper opening over block size: narrower fingers hold no block
MAX_TOOL_DISTANCE = 0.08  # [m] from the tool to a held block, as the camera sees it
NUM_IMAGES = 3  # consecutive images with the block elsewhere, before it counts as lost
HISTORY = 1.0  # [s] of tool positions, for images that arrive late


class HeldBlockCheck:
    """Compares opening and camera with a block that is held."""

    def __init__(self, robot: Robot, scene: Scene) -> None:
        """Create the check for an arm and its nominal scene."""
        self.robot, self.block_size = robot, scene.block_size
        # a camera on the hand always sees a held block at the same place
        self._eye = None if scene.camera_on_hand else scene.camera.T_base_camera[:3, 3]
        self.reset()

    def reset(self) -> None:
        """Forget what the camera has seen."""
        self._tool: deque[tuple[float, Array]] = deque()
        self._elsewhere = 0

    def add_command(self, time: float, q: Array) -> None:
        """Add the commanded joint positions (n,) [rad] of a time [s]."""
        self._tool.append((time, self.robot.forward_kinematics(q)[:3, 3]))
        while time - self._tool[0][0] > HISTORY:
            self._tool.popleft()

    def on_detection(self, detection: BlockDetection) -> None:
        """Compare the block in an image with the tool at that time."""
        past = [tool for time, tool in self._tool if time <= detection.time]
        if not past or self._eye is None:
            return
        # on the same ray from the camera, because the height of a held block is not measured
        expected = project_to_height(past[-1], self._eye, detection.position[2])
        distance = float(np.linalg.norm((detection.position - expected)[:2]))
        self._elsewhere = self._elsewhere + 1 if distance > MAX_TOOL_DISTANCE else 0

    def is_empty(self, opening: float) -> bool:
        """Return whether the fingers are closer together [m] than a block is wide."""
        return opening < EMPTY_OPENING_RATIO * self.block_size

    def lost_reason(self, opening: float) -> str | None:
        """Return why the block counts as lost at an opening [m]; None if it is held."""
        if self.is_empty(opening):
            return "the gripper has closed"
        if self._elsewhere >= NUM_IMAGES:
            return "the camera sees it elsewhere"
        return None
