"""Photometric alignment: rendering, its Jacobian, aligned poses and their covariance."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from invdyn_ros.benchmarks.rendered_blocks import block_scene
from invdyn_ros.perception.levenberg_marquardt import minimize_pose
from invdyn_ros.perception.photometric_alignment import (
    BlockImage,
    align_poses,
    tilt_angle,
    tilted_poses,
)
from invdyn_ros.perception.pose_from_edges import PoseFit
from invdyn_ros.perception.rigid_transforms import apply_step, rigid_transform, rotation_angle
from invdyn_ros.robots.block_markers import BlockMarkers

SIZE, SIDE = 0.04, 40.0  # of the block [m], of its marker [px]
GREY = (225.0, 40.0, 90.0)  # white, black, background
STEPS = np.array([2e-5, 2e-5, 5e-4, 2e-3, 2e-3, 2e-3])  # [m, rad]


def camera_matrix() -> np.ndarray:
    return block_scene().camera.intrinsics()


def frontal_pose(across: float, along: float, x: float = 0.01, y: float = -0.02) -> np.ndarray:
    """Return the pose of a block whose first face is tilted by two angles [rad]."""
    R = Rotation.from_euler("xyz", [np.pi + across, along, 0.3]).as_matrix()
    return rigid_transform(R, np.array([x, y, 850 * 0.032 / SIDE]))


@cache
def render_block(T_bytes: bytes, noise: float) -> np.ndarray:
    """Render an image (480, 640) uint8 of a block: white, black and background as GREY."""
    T, blank = np.frombuffer(T_bytes).reshape(4, 4), np.zeros((480, 640), np.uint8)
    block_image = BlockImage(blank, [T], BlockMarkers(), SIZE, camera_matrix())
    layers = sum(block_image._apply_lens(layer) for layer in block_image.render(T).layers)
    white, covered = layers[..., 0], layers[..., 1]
    image = np.full(blank.shape, GREY[2], float)
    h, w = block_image.crop.shape
    x, y = block_image.origin
    block = GREY[1] * covered + (GREY[0] - GREY[1]) * white + GREY[2] * (1 - covered)
    image[y : y + h, x : x + w] = block
    image += np.random.default_rng(0).normal(0, noise, image.shape)
    return image.round().clip(0, 255).astype(np.uint8)


def image_of(T: np.ndarray, noise: float = 2.0) -> np.ndarray:
    return render_block(T.tobytes(), noise)


def fit(T: np.ndarray) -> PoseFit:
    return PoseFit(T, np.eye(6), np.zeros(1, int), 0.0)


def test_jacobian_of_residual_matches_finite_differences() -> None:
    """The tolerance is large because an edge is hardly wider than a pixel."""
    T = frontal_pose(0.3, -0.2)
    block_image = BlockImage(image_of(T), [T], BlockMarkers(), SIZE, camera_matrix())
    J = block_image.jacobian(T, block_image.render(T))
    for column, step in zip(J.T, np.diag(STEPS), strict=True):
        ends = [block_image.render(apply_step(T, sign * step)).residual for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step.sum())
        assert np.linalg.norm(column - slope) < 0.2 * np.linalg.norm(slope)


@pytest.mark.parametrize("other", [0, 4, 20, 23])
def test_alignment_determines_tilt_of_frontal_face(other: int) -> None:
    """Even if the search starts with a tilt to another side."""
    T_true = frontal_pose(0.04, -0.03)
    start = tilted_poses(T_true, 0, SIZE)[other]
    best = align_poses([fit(start)], [], 0, image_of(T_true), SIZE, camera_matrix())[0]
    assert (
        rotation_angle(best.T_camera_block, T_true)
        < np.radians(1)
        < rotation_angle(start, T_true) / 5
    )
    error = (best.T_camera_block - T_true)[:3, 3]
    assert np.linalg.norm(error[:2]) < 5e-4 and abs(error[2]) < 2e-3


def test_alignment_starts_from_previous_poses_too() -> None:
    T_true = frontal_pose(0.5, 0.4)
    image, other = image_of(T_true), frontal_pose(-0.5, -0.4)
    without_previous = align_poses([fit(other)], [], 0, image, SIZE, camera_matrix())
    with_previous = align_poses(
        [fit(other)], [frontal_pose(0.48, 0.42)], 0, image, SIZE, camera_matrix()
    )
    assert rotation_angle(with_previous[0].T_camera_block, T_true) < np.radians(0.3)
    assert rotation_angle(without_previous[0].T_camera_block, T_true) > np.radians(5)


def test_covariance_grows_with_image_noise() -> None:
    T_true = frontal_pose(0.3, -0.2)
    low_noise, high_noise = (
        align_poses([fit(T_true)], [], 0, image_of(T_true, noise=noise), SIZE, camera_matrix())[
            0
        ].covariance
        for noise in (2.0, 12.0)
    )
    assert (np.diag(high_noise) > 4 * np.diag(low_noise)).all()


def test_block_partly_outside_the_image_gives_finite_poses() -> None:
    T_true = frontal_pose(0.05, 0.05, x=-0.245)
    best = align_poses(
        [fit(T_true)], [], 0, image_of(frontal_pose(0.05, 0.05)), SIZE, camera_matrix()
    )
    assert all(np.isfinite(fit_.T_camera_block).all() for fit_ in best)
    outside = frontal_pose(0.05, 0.05, x=5.0)
    assert (
        align_poses([fit(outside)], [], 0, np.zeros((480, 640), np.uint8), SIZE, camera_matrix())[
            0
        ].cost
        == 0
    )


def test_tilted_poses_keep_the_position_of_the_face() -> None:
    T = frontal_pose(0.1, 0.05)
    for other in tilted_poses(T, 0, SIZE):
        assert tilt_angle(other, 0, SIZE) < np.radians(11.5)
        centres = [pose[:3, 3] + pose[:3, 2] * SIZE / 2 for pose in (T, other)]
        np.testing.assert_allclose(*centres, atol=1e-12)
    assert tilt_angle(T, 0, SIZE) == pytest.approx(np.hypot(0.1, 0.05), abs=0.04)
    assert cv2.norm(tilted_poses(T, 0, SIZE)[12][:3, :3] - T[:3, :3]) < 0.2


def test_start_beside_the_block_gives_finite_poses() -> None:
    """A rendering that covers no compared pixel does not depend on the pose."""
    T_true, away = frontal_pose(0.05, 0.05), frontal_pose(0.3, 0.05, x=-0.1)
    starts = [fit(T_true), fit(away), fit(frontal_pose(0.05, 0.05, x=5.0))]
    aligned = align_poses(starts, [], 0, image_of(T_true), SIZE, camera_matrix())
    assert all(np.isfinite(fit_.T_camera_block).all() for fit_ in aligned)
    assert rotation_angle(aligned[0].T_camera_block, T_true) < np.radians(1)
    image = BlockImage(image_of(T_true), [T_true], BlockMarkers(), SIZE, camera_matrix())
    beside = frontal_pose(0.05, 0.05, x=5.0)
    end, _ = minimize_pose(beside, image.render, image.jacobian, 3)
    np.testing.assert_array_equal(end, beside)
