"""Detection of blocks through lenses that distort."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import norm

from invdyn_ros.benchmarks.lens_images import render_cube
from invdyn_ros.benchmarks.photographed_blocks import photograph_blocks
from invdyn_ros.perception.aruco_cube import marker_corners
from invdyn_ros.perception.block_detector import (
    BlockDetector,
    BlockDetectorConfig,
)
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.face_pattern import (
    FacesImage,
    blurred_image,
    edge_profiles,
    face_patterns,
)
from invdyn_ros.perception.rigid_transforms import (
    pose_difference,
    rigid_transform,
    rotation_angle,
)
from invdyn_ros.robots.block_markers import BlockMarkers

LENSES = {
    "plumb_bob": [-0.3, 0.1, 0.001, -0.002, 0.0],
    "rational_polynomial": [0.4, 0.1, 0.001, -0.002, 0.02, 0.9, 0.2, 0.05],
    "equidistant": [-0.02, 0.01, -0.004, 0.001],
}


@pytest.mark.parametrize("model", LENSES)
def test_lens_distortion_is_corrected(model: str) -> None:
    """A block far from the middle of a wide image; without the distortion, its pose is wrong."""
    k = np.array([[300.0, 0, 320], [0, 300, 240], [0, 0, 1]])
    lens = CameraIntrinsics(k, model, np.array(LENSES[model]), 640, 480)
    R = Rotation.from_euler("xyz", [2.6, 0.35, 0.3]).as_matrix()
    T_true = rigid_transform(R, np.array([0.15, 0.09, 0.28]))
    image = render_cube(T_true, lens)
    (pose,) = BlockDetector(BlockDetectorConfig(), lens).detect(image)
    error = pose.T_camera_block[:3, 3] - T_true[:3, 3]
    assert np.linalg.norm(error) < 1e-3, error
    assert rotation_angle(pose.T_camera_block, T_true) < np.radians(2)
    assert error @ np.linalg.solve(pose.covariance[:3, :3], error) < 16
    corners = lens.project(marker_corners(0.04)[pose.marker_ids] @ R.T + T_true[:3, 3])
    assert np.abs(corners - pose.corners).max() < 0.5
    wrong = BlockDetector(BlockDetectorConfig(), k).detect(image)
    assert not wrong or np.linalg.norm((wrong[0].T_camera_block - T_true)[:3, 3]) > 3e-3


def test_block_far_from_the_axis_of_a_fisheye_lens_is_located() -> None:
    k = np.array([[220.0, 0, 120], [0, 220, 240], [0, 0, 1]])
    lens = CameraIntrinsics(k, "equidistant", np.array(LENSES["equidistant"]), 640, 480)
    turn = Rotation.from_euler("y", 75, degrees=True)
    R = (turn * Rotation.from_euler("xyz", [2.6, 0.35, 0.3])).as_matrix()
    T_true = rigid_transform(R, turn.apply([0.0, 0.01, 0.28]))
    (pose,) = BlockDetector(BlockDetectorConfig(), lens).detect(render_cube(T_true, lens))
    assert np.linalg.norm((pose.T_camera_block - T_true)[:3, 3]) < 1e-3
    assert rotation_angle(pose.T_camera_block, T_true) < np.radians(1)


@pytest.mark.parametrize(
    "condition", ["k1 -0.38", "equidistant", "defocus 1.5 px", "motion 1.5 px"]
)
def test_covariance_holds_through_lens_and_blur(condition: str) -> None:
    """And the error across the line of sight is below a pixel."""
    num_detected = 0
    for sample in photograph_blocks(condition, 5, seed=11):
        detector = BlockDetector(BlockDetectorConfig(), sample.lens)
        for pose in detector.detect(sample.image):
            error = pose_difference(pose.T_camera_block[None], sample.T_camera_block[None])[0]
            assert error @ np.linalg.solve(pose.covariance, error) < 30
            lateral = np.linalg.norm(error[:2]) / sample.T_camera_block[2, 3]
            assert lateral * sample.lens.camera_matrix[0, 0] < 1.0
            num_detected += 1
    assert num_detected >= 3


def test_image_of_a_face_has_the_derivatives_that_it_says() -> None:
    """With respect to position, blur and grey levels."""
    pattern, rng = face_patterns(BlockMarkers())[3], np.random.default_rng(0)
    points = rng.uniform(0.02, 0.98, (2, 200))
    blur = np.broadcast_to(np.array([[2e-3], [5e-4], [3e-3]]), (3, 200))
    levels = np.array([200.0, 30, 90, 120, 40, 180])

    def image_at(
        points: np.ndarray, shape: float = 0.0, levels: np.ndarray = levels
    ) -> FacesImage:
        profiles = edge_profiles(*np.float32([points, blur[::2]]), pattern.edges)
        parts, nothing = [slice(200)], np.zeros(200)
        return blurred_image([pattern], parts, profiles, blur, shape, levels[None], nothing)

    image = image_at(points)
    assert (image.grey > 25).all() and (image.grey < 205).all()
    for axis in range(2):
        step = np.zeros((2, 1))
        step[axis] = 1e-3
        slope = (image_at(points + step).grey - image_at(points - step).grey) / 2e-3
        # those of the mixed terms are left out
        assert np.corrcoef(slope, image.gradient[axis])[0, 1] > 0.97
    shaped = image_at(points, 0.01)
    np.testing.assert_allclose(shaped.grey - image.grey, 0.01 * image.shape, atol=1e-3)
    brighter = image_at(points, levels=levels + 1.0)
    np.testing.assert_allclose(brighter.grey - image.grey, 1.0, atol=1e-3)
    np.testing.assert_allclose(image.basis.sum(axis=0), 1.0, atol=1e-5)


def test_edge_profiles_are_normal_distributions_and_their_derivatives() -> None:
    edges, points = np.float32([[0.0], [0.3], [1.0]]), np.linspace(0, 1, 200, dtype=np.float32)
    variances = np.full((2, 200), 4e-3, np.float32)
    profiles = edge_profiles(np.stack([points, points]), variances, edges)[:, 0, 1:]
    std = np.sqrt(4e-3)
    z = (points - edges) / std
    np.testing.assert_allclose(profiles[0], norm.cdf(z), atol=1e-6)
    np.testing.assert_allclose(profiles[1] * std, norm.pdf(z), atol=1e-5)
    for order in range(1, 4):
        slope = np.gradient(profiles[order], points, axis=1)[:, 1:-1]
        scale = np.abs(slope).max()
        np.testing.assert_allclose(profiles[order + 1][:, 1:-1], slope, atol=0.01 * scale)


@pytest.mark.slow
def test_dark_blocks_are_found_by_a_longer_search_and_others_are_not() -> None:
    num_found = num_found_at_once = 0
    others = BlockDetectorConfig(markers=(BlockMarkers(ids=(6, 7, 8, 9, 10, 11)),))
    for sample in photograph_blocks("light 0.1", 5, seed=12):
        (pose, *_) = BlockDetector(BlockDetectorConfig(), sample.lens).detect(sample.image) or [
            None
        ]
        if pose is not None:
            num_found += 1
            assert pose.is_aligned
            error = pose_difference(pose.T_camera_block[None], sample.T_camera_block[None])[0]
            assert np.linalg.norm(error[:2]) < 0.01 * sample.T_camera_block[2, 3]
        at_once = BlockDetectorConfig(search=False)
        num_found_at_once += bool(BlockDetector(at_once, sample.lens).detect(sample.image))
        assert not BlockDetector(others, sample.lens).detect(sample.image)
    assert num_found >= 4 > 1 >= num_found_at_once
