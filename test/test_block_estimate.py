"""Estimate of the pose of a block from detections."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from invdyn_ros.grasp.estimation.block_estimate import (
    QUARTER_TURN,
    BlockDetection,
    BlockEstimate,
    detection_on_table,
    project_to_height,
    upright_yaw,
)
from invdyn_ros.robots.registry import load_scene


def yaw_distance(a: float, b: float) -> float:
    """Angle between two yaws of a cube [rad]."""
    return abs((a - b + QUARTER_TURN / 2) % QUARTER_TURN - QUARTER_TURN / 2)


def test_yaw_of_a_block_does_not_depend_on_its_upper_face() -> None:
    rng = np.random.default_rng(0)
    for turn in Rotation.create_group("O"):
        yaw = rng.uniform(0, QUARTER_TURN)
        R = Rotation.from_euler("z", yaw) * turn
        assert yaw_distance(upright_yaw(R.as_matrix()), yaw) < 1e-9


def test_projection_onto_the_table_removes_depth_errors() -> None:
    eye, block = np.array([0.8, 0.1, 0.5]), np.array([0.4, 0.0, 0.02])
    deep = eye + 1.07 * (block - eye)
    np.testing.assert_allclose(project_to_height(deep, eye, 0.02), block, atol=1e-12)


def test_detection_is_transformed_to_the_base_with_its_covariance() -> None:
    camera = load_scene("ur5").camera.T_base_camera
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", 0.4).as_matrix()
    T[:3, 3] = 0.45, 0.05, 0.02
    covariance = np.diag([1e-6, 2e-6, 3e-6, 1e-4, 2e-4, 3e-4])
    turn = np.kron(np.eye(2), camera[:3, :3])
    detection = detection_on_table(
        1.5, np.linalg.inv(camera) @ T, turn.T @ covariance @ turn, camera, 0.02
    )
    np.testing.assert_allclose(detection.position, T[:3, 3], atol=1e-9)
    assert detection.time == 1.5 and detection.yaw == pytest.approx(0.4)
    np.testing.assert_allclose(detection.variance, [1e-6, 2e-6, 3e-6, 3e-4])


def test_estimate_improves_with_every_detection_and_weights_them() -> None:
    rng, position, errors = np.random.default_rng(0), np.array([0.45, 0.05, 0.02]), []
    for count in (1, 25):
        runs = []
        for _ in range(200):
            estimate = BlockEstimate()
            for k in range(count):
                noise = 0.002 * rng.standard_normal(3)
                estimate.update(BlockDetection(k, position + noise, 0.0, np.full(4, 4e-6)))
            runs.append(estimate.position - position)
        errors.append(np.std(runs))
    assert errors[1] == pytest.approx(errors[0] / 5, rel=0.2)
    estimate = BlockEstimate()
    estimate.update(BlockDetection(0, position, 0.0, np.full(4, 1e-6)))
    estimate.update(BlockDetection(1, position + 0.004, 0.0, np.full(4, 3e-6)))
    np.testing.assert_allclose(estimate.position, position + 0.001)


def test_estimate_of_yaw_is_invariant_to_quarter_turns() -> None:
    rng, estimate = np.random.default_rng(0), BlockEstimate()
    for k in range(40):
        # the noise crosses the wrap-around
        yaw = 0.02 + k * QUARTER_TURN + 0.05 * rng.standard_normal()
        estimate.update(BlockDetection(k, np.zeros(3), yaw, np.full(4, 1e-4)))
    assert yaw_distance(estimate.yaw, 0.02) < 0.03


def test_estimate_restarts_when_the_block_moves() -> None:
    estimate = BlockEstimate()
    for k in range(10):
        estimate.update(BlockDetection(k, np.array([0.4, 0.0, 0.02]), 0.3, np.full(4, 1e-6)))
    moved = np.array([0.45, 0.0, 0.02])
    estimate.update(BlockDetection(10, moved, 0.9, np.full(4, 1e-6)))
    assert estimate.count == 1 and estimate.yaw == pytest.approx(0.9)
    np.testing.assert_array_equal(estimate.position, moved)
