"""A block's pose from its whole picture: drawing, its derivative, and what it tells."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from invdyn_ros.benchmarks.rendered_blocks import block_scene
from invdyn_ros.perception.photometric_alignment import (
    BlockImage,
    align_poses,
    tilt_angle,
    tilted_poses,
)
from invdyn_ros.perception.pose_from_edges import PoseFit
from invdyn_ros.perception.rigid_transforms import apply_step, rigid_transform, rotation_angle

SIZE, SIDE = 0.04, 40.0  # of the block [m], of its marker [px]
GREY = (225.0, 40.0, 90.0)  # white, black, background
STEPS = np.array([2e-5, 2e-5, 5e-4, 2e-3, 2e-3, 2e-3])  # [m, rad]


def lens(distorted: bool = False) -> tuple[np.ndarray, np.ndarray]:
    return block_scene().camera.intrinsics(), np.array([-0.2, 0.05, 0, 0, 0]) * distorted


def facing(across: float, along: float, x: float = 0.01, y: float = -0.02) -> np.ndarray:
    """A block whose first face looks at the camera, tilted by two angles [rad]."""
    R = Rotation.from_euler("xyz", [np.pi + across, along, 0.3]).as_matrix()
    return rigid_transform(R, np.array([x, y, 850 * 0.032 / SIDE]))


@cache
def drawn(T_bytes: bytes, distorted: bool, noise: float) -> np.ndarray:
    """A picture (480, 640) uint8 of a block: white, black and background as GREY."""
    T, blank = np.frombuffer(T_bytes).reshape(4, 4), np.zeros((480, 640), np.uint8)
    picture = BlockImage(blank, [T], 0, SIZE, lens(distorted))
    layers = sum(picture._apply_lens(layer) for layer in picture.render(T).layers)
    white, covered = layers[..., 0], layers[..., 1]
    image = np.full(blank.shape, GREY[2], float)
    h, w = picture.crop.shape
    x, y = picture.origin
    block = GREY[1] * covered + (GREY[0] - GREY[1]) * white + GREY[2] * (1 - covered)
    image[y : y + h, x : x + w] = block
    image += np.random.default_rng(0).normal(0, noise, image.shape)
    return image.round().clip(0, 255).astype(np.uint8)


def image_of(T: np.ndarray, distorted: bool = False, noise: float = 2.0) -> np.ndarray:
    return drawn(T.tobytes(), distorted, noise)


def fit(T: np.ndarray) -> PoseFit:
    return PoseFit(T, np.eye(6), np.zeros(1, int), 0.0)


@pytest.mark.parametrize("distorted", [False, True])
def test_jacobian_of_residual_matches_finite_differences(distorted: bool) -> None:
    """About, as an edge is hardly wider than a pixel."""
    T = facing(0.3, -0.2)
    picture = BlockImage(image_of(T, distorted), [T], 0, SIZE, lens(distorted))
    J = picture.jacobian(T, picture.render(T))
    for column, step in zip(J.T, np.diag(STEPS), strict=True):
        ends = [picture.render(apply_step(T, sign * step)).residual for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step.sum())
        assert np.linalg.norm(column - slope) < 0.2 * np.linalg.norm(slope)


@pytest.mark.parametrize("distorted", [False, True])
@pytest.mark.parametrize("other", [0, 4, 20, 23])
def test_alignment_determines_tilt_of_frontal_face(other: int, distorted: bool) -> None:
    """Though the search starts with a tilt to another side."""
    truth = facing(0.04, -0.03)
    start = tilted_poses(truth, 0, SIZE)[other]
    best = align_poses([fit(start)], [], 0, image_of(truth, distorted), SIZE, lens(distorted))[0]
    assert (
        rotation_angle(best.T_camera_block, truth)
        < np.radians(1)
        < rotation_angle(start, truth) / 5
    )
    error = (best.T_camera_block - truth)[:3, 3]
    assert np.linalg.norm(error[:2]) < 5e-4 and abs(error[2]) < 2e-3


def test_alignment_starts_from_previous_poses_too() -> None:
    truth = facing(0.5, 0.4)
    image, other = image_of(truth), facing(-0.5, -0.4)
    alone = align_poses([fit(other)], [], 0, image, SIZE, lens())
    known = align_poses([fit(other)], [facing(0.48, 0.42)], 0, image, SIZE, lens())
    assert rotation_angle(known[0].T_camera_block, truth) < np.radians(0.3)
    assert rotation_angle(alone[0].T_camera_block, truth) > np.radians(5)


def test_covariance_grows_with_image_noise() -> None:
    truth = facing(0.3, -0.2)
    quiet, noisy = (
        align_poses([fit(truth)], [], 0, image_of(truth, noise=noise), SIZE, lens())[0].covariance
        for noise in (2.0, 12.0)
    )
    assert (np.diag(noisy) > 4 * np.diag(quiet)).all()


def test_block_partly_outside_the_image_gives_finite_poses() -> None:
    truth = facing(0.05, 0.05, x=-0.245)
    best = align_poses([fit(truth)], [], 0, image_of(facing(0.05, 0.05)), SIZE, lens())
    assert all(np.isfinite(found.T_camera_block).all() for found in best)
    beyond = facing(0.05, 0.05, x=5.0)
    assert (
        align_poses([fit(beyond)], [], 0, np.zeros((480, 640), np.uint8), SIZE, lens())[0].cost
        == 0
    )


def test_tilted_poses_keep_the_position_of_the_face() -> None:
    T = facing(0.1, 0.05)
    for other in tilted_poses(T, 0, SIZE):
        assert tilt_angle(other, 0, SIZE) < np.radians(11.5)
        centres = [pose[:3, 3] + pose[:3, 2] * SIZE / 2 for pose in (T, other)]
        np.testing.assert_allclose(*centres, atol=1e-12)
    assert tilt_angle(T, 0, SIZE) == pytest.approx(np.hypot(0.1, 0.05), abs=0.04)
    assert cv2.norm(tilted_poses(T, 0, SIZE)[12][:3, :3] - T[:3, :3]) < 0.2
