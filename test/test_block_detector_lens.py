"""Detection of blocks through lenses that distort."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from invdyn_ros.benchmarks.lens_images import render_cube
from invdyn_ros.perception.aruco_cube import marker_corners
from invdyn_ros.perception.block_detector import (
    BlockDetector,
    BlockDetectorConfig,
)
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.rigid_transforms import rigid_transform, rotation_angle

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
