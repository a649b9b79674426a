"""Sightings as the simulated camera gives them: a scene enters, drawn and found blocks leave."""

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
)  # as a hand grips it
REACH = 0.8  # of the random postures around home, each joint [rad]
MARGIN = 80  # [px] between the block's centre and the edge of the picture
ABOVE = 0.06  # [m] from the table to the block's centre, at least
TRIES = 2000  # postures for each that is seen


class SimulatedHandEye:
    """An arm that holds a block before the camera of its scene."""

    def __init__(self, robot: Robot, scene: Scene, seed: int) -> None:
        self.robot, self.scene = robot, scene
        self.camera = SceneRenderer(robot, scene, seed)
        blocks = BlockDetectorConfig(scene.block_size)
        self.detector = BlockDetector(blocks, scene.camera.intrinsics())
        self.rng = np.random.default_rng(seed)

    def pairs(self, count: int) -> PosePairs:
        """Return what is seen in random postures, `count` in which the block is found.

        Raises:
            ValueError: the camera hardly ever sees the block.
        """
        arm, marker, covariance = [], [], []
        for _ in range(TRIES * count):
            q = np.clip(
                self.robot.home + self.rng.uniform(-REACH, REACH, self.robot.n),
                self.robot.lower,
                self.robot.upper,
            )
            T = self.robot.forward_kinematics(q)
            if not self._in_view(T @ T_TOOL_BLOCK):
                continue
            image = self.camera.render(q, self.scene.block_size, (T @ T_TOOL_BLOCK)[None])
            for found in self.detector.detect(image):
                arm.append(T)
                marker.append(found.T_camera_block)
                covariance.append(found.covariance)
            if len(arm) == count:
                return PosePairs(
                    np.array(arm), np.array(marker), complete_covariances(np.array(covariance))
                )
        raise ValueError(f"the camera sees the block in {len(arm)} postures only")

    def close(self) -> None:
        """Free the renderer."""
        self.camera.close()

    def _in_view(self, T: np.ndarray) -> bool:
        camera = self.scene.camera
        if T[2, 3] < ABOVE or not (np.linalg.inv(camera.T_base_camera) @ T)[2, 3] > 0:
            return False
        u, v = camera.project(T[:3, 3])
        inside = MARGIN < u < camera.width - MARGIN and MARGIN < v < camera.height - MARGIN
        return bool(inside)
