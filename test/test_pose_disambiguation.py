"""Selection among ambiguous poses, and its covariance."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.benchmarks.rendered_blocks import block_scene
from invdyn_ros.perception.aruco_cube import detect_markers
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig
from invdyn_ros.perception.pose_disambiguation import (
    MAX_TRACKING_COST,
    PoseHypothesis,
    rank_hypotheses,
    tracking_costs,
)
from invdyn_ros.perception.pose_from_edges import PoseFit, fit_block_poses
from invdyn_ros.perception.rigid_transforms import rigid_transform, rotation_angle
from invdyn_ros.robots.robot import load_robot


def small_tilted_blocks(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Render blocks whose front marker has a side of 24 px and a tilt of 10 to 16 deg."""
    scene, rng, robot = block_scene(), np.random.default_rng(8), load_robot("ur5")
    images, poses = [], []
    with SceneRenderer(robot, scene) as camera:
        for _ in range(count):
            tilt, azimuth = np.radians(rng.uniform(10, 16)), rng.uniform(-np.pi, np.pi)
            facing = Rotation.from_euler("xz", [np.pi, rng.uniform(-np.pi, np.pi)])
            axis = tilt * np.array([np.cos(azimuth), np.sin(azimuth), 0])
            R = (Rotation.from_rotvec(axis) * facing).as_matrix()
            poses.append(rigid_transform(R, np.array([0.0, 0.0, 850 * 0.032 / 24])))
            base = scene.camera.T_base_camera @ poses[-1]
            images.append(camera.render(robot.home, 0.0, base[None]))
    return images, poses


@pytest.mark.slow
def test_image_disambiguates_tilt_of_a_single_small_marker() -> None:
    k = block_scene().camera.intrinsics()
    detector = BlockDetector(BlockDetectorConfig(), k)
    num_detected, num_wrong, num_wrong_without_image = 0, 0, 0
    for image, T in zip(*small_tilted_blocks(20), strict=True):
        blocks = detector.detect(image)
        if not blocks:
            continue
        (pose,), num_detected = blocks, num_detected + 1
        num_wrong += rotation_angle(pose.T_camera_block, T) > np.radians(10)
        ids, corners = detect_markers(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        best_fit = fit_block_poses(ids, corners, 0.04, k, 0.06, 2.0)[0]
        num_wrong_without_image += rotation_angle(best_fit.T_camera_block, T) > np.radians(10)
    assert num_detected >= 18
    assert num_wrong == 0 < num_wrong_without_image


def tilted(angle: float) -> np.ndarray:
    R = Rotation.from_euler("xyz", [np.pi, angle, 0]).as_matrix()
    return rigid_transform(R, np.array([0.0, 0.0, 1.0]))


def pose_fit(angle: float, cost: float) -> PoseFit:
    return PoseFit(tilted(angle), 1e-6 * np.eye(6), np.zeros(1, int), cost)


def test_previous_image_disambiguates_equally_likely_poses() -> None:
    fits = [pose_fit(0.2, 0.0), pose_fit(-0.2, 0.0)]
    assert tracking_costs(fits, ()).tolist() == [0.0, 0.0]
    one, other = tracking_costs(
        fits, (PoseHypothesis(tilted(-0.21), 0.0), PoseHypothesis(tilted(0.19), 6.0))
    )
    assert one > other + 3.0
    far = tracking_costs(fits, (PoseHypothesis(tilted(1.5), 0.0),))
    assert far.tolist() == [
        MAX_TRACKING_COST,
        MAX_TRACKING_COST,
    ]  # a moved block has no relation to the previous image


def test_covariance_includes_probability_of_the_other_pose() -> None:
    fits = [pose_fit(0.2, 0.0), pose_fit(-0.2, 0.0)]
    best, modes = rank_hypotheses(fits, np.array([4.0, 1.0]))
    np.testing.assert_array_equal(best.T_camera_block, tilted(-0.2))
    assert [m.cost for m in modes] == [0.0, 3.0]
    probability = np.exp(-1.5) / (1 + np.exp(-1.5))
    assert best.covariance[4, 4] == pytest.approx(1e-6 + probability * 0.4**2)
    single, _ = rank_hypotheses(fits[:1], np.zeros(1))
    np.testing.assert_allclose(single.covariance, 1e-6 * np.eye(6))
