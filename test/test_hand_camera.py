"""A camera on the hand: its pose follows the arm, in images, detections and grasps."""

from __future__ import annotations

import numpy as np
import pytest

from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.grasp.envs.task_rollouts import TaskJob, run_tasks
from invdyn_ros.nodes.joint_history import JointHistory
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot, package_file

UR5 = load_robot("ur5")
FILE = str(package_file("config/blocks/ur5_hand_camera.yaml"))


def test_block_is_detected_where_it_is_from_several_poses_of_the_hand() -> None:
    scene, rng = load_scene("ur5", FILE), np.random.default_rng(0)
    detector = BlockDetector(BlockDetectorConfig(markers=scene.markers), scene.camera.intrinsics())
    with SceneRenderer(UR5, scene) as renderer:
        for _ in range(4):
            block = scene.sample_block_pose(rng)
            q = UR5.home + rng.uniform(-0.06, 0.06, UR5.n)
            (pose,) = detector.detect(renderer.render(q, 0.085, block[None]))
            camera = scene.seen_from(UR5.forward_kinematics(q)).camera
            T = camera.T_base_camera @ pose.T_camera_block
            np.testing.assert_allclose(T[:3, 3], block[:3, 3], atol=2e-3)


def test_joints_at_the_time_of_an_image_are_interpolated() -> None:
    history = JointHistory()
    assert history.at(0) is None
    for k in range(500):
        history.add(k * 10**7, np.array([0.1 * k, -0.2 * k]))
    np.testing.assert_allclose(history.at(4_505_000_000), [45.05, -90.1])
    assert history.at(10**9) is None, "too old"
    assert history.at(6 * 10**9) is None, "not yet known"


@pytest.mark.slow
def test_block_is_placed_with_a_camera_on_the_hand() -> None:
    job = TaskJob("ur5", "grasp", FILE, 0, "scripted", "default", 1, (0,))
    (result,) = run_tasks(job)
    assert result.success, result.reason
