"""Detections of the block for recordings of a simulation without a camera at the table."""

from __future__ import annotations

import numpy as np

from invdyn_ros.grasp.envs.simulated_detector import SimulatedDetector
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, detection_on_table
from invdyn_ros.grasp.learning.recorded_episodes import RecordedGrasp
from invdyn_ros.robots.scene import Scene, quaternion_pose

LATENCY = 0.05  # [s] from an image to its detection


def lacks_detections(grasp: RecordedGrasp) -> bool:
    """Return whether an episode has true poses of the block but no detections."""
    return not grasp.detections and len(grasp.block_poses) > 0


def with_simulated_detections(
    grasp: RecordedGrasp, scene: Scene, rng: np.random.Generator
) -> RecordedGrasp:
    """Return an episode with detections of the true poses, by the noise model of the detector.

    The arm hides nothing: blocks in the gripper are seen more often than by a camera.

    Args:
        grasp: episode with true poses.
        scene: camera and size of the block.
        rng: source of the errors.
    """
    detector = SimulatedDetector(scene.camera, scene.block_size)
    height, detections = scene.block_size / 2, list[tuple[float, BlockDetection]]()
    for row in grasp.block_poses:
        time = float(row[0])
        detection = detector.detect(quaternion_pose(row[1:4], row[4:]), rng)
        if detection is not None:
            T_base_camera = scene.camera.T_base_camera
            on_table = detection_on_table(time, *detection, T_base_camera, height)
            detections.append((time + LATENCY, on_table))
    return grasp._replace(detections=detections)
