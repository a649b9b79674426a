"""Block detections of the simulated camera for hand-eye calibration."""

from __future__ import annotations

import numpy as np

from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig
from invdyn_ros.perception.hand_eye.pose_pairs import PosePairs
from invdyn_ros.perception.hand_eye.static_poses import complete_covariances
from invdyn_ros.perception.rigid_transforms import transform_from_rotvec
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene

T_TOOL_BLOCK = transform_from_rotvec(
    np.array([0.1, -0.2, 0.3]), np.array([0.0, 0.005, 0.01])
)  # a typical grasp
JOINT_RANGE = 0.8  # of the random configurations around home, each joint [rad]
MARGIN = 80  # [px] between the block's center and the edge of the image
MIN_HEIGHT = 0.06  # [m] of the block's center above the table
MAX_TRIES = 2000  # configurations per detection


class SimulatedHandEye:
    """An arm that holds a block in front of the camera of its scene."""

    def __init__(self, robot: Robot, scene: Scene, seed: int) -> None:
        self.robot, self.scene = robot, scene
        self.camera = SceneRenderer(robot, scene, seed)
        blocks = BlockDetectorConfig(scene.block_size)
        self.detector = BlockDetector(blocks, scene.camera.intrinsics())
        self.rng = np.random.default_rng(seed)

    def pairs(self, count: int) -> PosePairs:
        """Return pairs from random configurations in which the block is detected.

        Args:
            count: number of pairs.

        Raises:
            ValueError: the block is hardly ever detected.
        """
        tools, markers, covariances = [], [], []
        for _ in range(MAX_TRIES * count):
            q = np.clip(
                self.robot.home + self.rng.uniform(-JOINT_RANGE, JOINT_RANGE, self.robot.n),
                self.robot.lower,
                self.robot.upper,
            )
            T = self.robot.forward_kinematics(q)
            if not self._in_view(T @ T_TOOL_BLOCK):
                continue
            image = self.camera.render(q, self.scene.block_size, (T @ T_TOOL_BLOCK)[None])
            for block in self.detector.detect(image):
                tools.append(T)
                markers.append(block.T_camera_block)
                covariances.append(block.covariance)
            if len(tools) == count:
                return PosePairs(
                    np.array(tools), np.array(markers), complete_covariances(np.array(covariances))
                )
        raise ValueError(f"the block was detected in {len(tools)} of {count} configurations only")

    def close(self) -> None:
        """Close the renderer."""
        self.camera.close()

    def _in_view(self, T: np.ndarray) -> bool:
        camera = self.scene.camera
        if T[2, 3] < MIN_HEIGHT or not (np.linalg.inv(camera.T_base_camera) @ T)[2, 3] > 0:
            return False
        u, v = camera.project(T[:3, 3])
        inside = MARGIN < u < camera.width - MARGIN and MARGIN < v < camera.height - MARGIN
        return bool(inside)
