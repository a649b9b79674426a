"""Pose of a block from the corners of its markers."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.perception.aruco_cube import marker_corners
from invdyn_ros.perception.pose_from_edges import fit_block_poses, project
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.rotation import skew
from invdyn_ros.robots.scene import block_pose


def test_jacobian_of_projection_matches_finite_differences() -> None:
    rng = np.random.default_rng(0)
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=1).as_matrix()
    T[:3, 3] = 0.03, -0.05, 0.5
    k, points = load_scene("ur5").camera.intrinsics(), rng.normal(0, 0.02, (5, 3))
    pixels, J = project(T, points, k)
    for axis, step in enumerate(1e-7 * np.eye(6)):
        T_moved = T.copy()
        T_moved[:3, 3] += step[:3]
        T_moved[:3, :3] = Rotation.from_rotvec(step[3:]).as_matrix() @ T[:3, :3]
        difference = (project(T_moved, points, k)[0] - pixels).ravel() / 1e-7
        np.testing.assert_allclose(J[:, axis], difference, rtol=1e-4, atol=1e-2)


def test_exact_corners_give_the_exact_pose_at_any_orientation() -> None:
    rng, k = np.random.default_rng(4), load_scene("ur5").camera.intrinsics()
    corners = marker_corners(0.04)  # (6, 4, 3)
    for R in Rotation.random(50, random_state=4).as_matrix():
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, (*rng.uniform(-0.1, 0.1, 2), rng.uniform(0.35, 0.7))
        centres = corners.mean(axis=1) @ R.T  # along the outward normals
        normals = centres / 0.02
        visible = np.flatnonzero(np.sum(normals * (centres + T[:3, 3]), axis=1) < -0.05)
        quads = project(T, corners[visible].reshape(-1, 3), k)[0].reshape(-1, 4, 2)
        fit = fit_block_poses(visible, quads, 0.04, k, edge_noise_std=0.06, max_error=2.0)[0]
        np.testing.assert_allclose(fit.T_camera_block, T, atol=1e-5)


def test_contradictory_marker_is_rejected() -> None:
    camera = load_scene("ur5").camera
    k, T = (
        camera.intrinsics(),
        np.linalg.inv(camera.T_base_camera) @ block_pose(0.47, 0, 0.02, 0.7),
    )
    visible, corners = np.array([0, 1, 4]), marker_corners(0.04)
    quads = project(T, corners[visible].reshape(-1, 3), k)[0].reshape(-1, 4, 2)
    quads[1] += [[8.0, 0.0], [0.0, 5.0], [-7.0, 0.0], [0.0, 6.0]]
    fit = fit_block_poses(visible, quads, 0.04, k, edge_noise_std=0.06, max_error=2.0)[0]
    assert fit.inliers.tolist() == [0, 2]
    np.testing.assert_allclose(fit.T_camera_block, T, atol=1e-5)


def test_skew_is_the_cross_product() -> None:
    v, w = np.random.default_rng(0).normal(size=(2, 7, 3))
    np.testing.assert_allclose((skew(v) @ w[:, :, None])[..., 0], np.cross(v, w))
