"""Tracking of blocks without a detected marker: blurred, in the gripper, gone or replaced."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from invdyn_ros.benchmarks.lens_images import BACKGROUND, render_cube
from invdyn_ros.benchmarks.photographed_blocks import camera_lens, photograph_blocks
from invdyn_ros.benchmarks.rendered_blocks import BlockImageSample
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig
from invdyn_ros.perception.block_tracker import MAX_PREDICTION, BlockTracker, CameraFrames
from invdyn_ros.perception.rigid_transforms import (
    invert_transform,
    pose_difference,
    transform_from_rotvec,
)
from invdyn_ros.robots.block_markers import BlockMarkers

LENS = camera_lens("pinhole")
T_BLOCK = transform_from_rotvec(np.array([2.6, 0.35, 0.3]), np.array([0.02, 0.01, 0.3]))
EMPTY = np.full((LENS.height, LENS.width, 3), BACKGROUND, np.uint8)


def detector(config: BlockDetectorConfig | None = None) -> BlockDetector:
    return BlockDetector(config or BlockDetectorConfig(search=False), LENS)


def image_without_detection(T: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3) of a block at T (4, 4), the borders of whose markers are cut."""
    image = render_cube(T, LENS)
    (pose,) = detector().detect(image)
    for quad in pose.corners:
        x, y = np.round(0.93 * quad[0] + 0.07 * quad.mean(axis=0)).astype(int)
        image[y - 6 : y + 7, x - 6 : x + 7] = BACKGROUND
    assert not detector().detect(image)
    return image


def pairs(condition: str, count: int) -> Iterator[tuple[BlockImageSample, BlockImageSample]]:
    """Yield a clear image of a block, and one after it has moved a little in a condition."""
    samples = photograph_blocks(condition, count, 777, frames=2)
    yield from zip(samples, samples, strict=True)


@pytest.mark.slow
def test_block_that_motion_blurs_is_tracked_and_another_in_its_place_is_not() -> None:
    others = BlockDetectorConfig(markers=(BlockMarkers(ids=(6, 7, 8, 9, 10, 11)),))
    num_tracked = num_detected = 0
    for first, second in pairs("motion 6 px", 5):
        tracker = BlockTracker(detector())
        if not tracker.update(first.image, 0.0).poses:
            continue
        num_detected += bool(tracker.detector.detect(second.image))
        for pose in tracker.update(second.image, 0.1).poses:
            num_tracked += 1
            T, T_true = pose.T_camera_block, second.T_camera_block
            error = pose_difference(T[None], T_true[None])[0]
            assert error @ np.linalg.solve(pose.covariance, error) < 40
        gray = second.image[..., 0]
        assert detector(others).confirm(gray, 0, [second.T_camera_block]) is None
    assert num_tracked >= 3 > num_detected


def test_block_that_was_taken_away_is_not_tracked() -> None:
    tracker = BlockTracker(detector())
    assert tracker.update(render_cube(T_BLOCK, LENS), 0.0).poses
    assert not tracker.update(EMPTY, 0.1).poses
    noise = np.random.default_rng(0).normal(0, 20, EMPTY.shape)
    assert not tracker.update(np.uint8(np.clip(EMPTY + noise, 0, 255)), 0.2).poses


def test_block_is_tracked_where_it_lies_and_not_for_long() -> None:
    tracker, hidden = BlockTracker(detector()), image_without_detection(T_BLOCK)
    assert tracker.update(render_cube(T_BLOCK, LENS), 0.0).poses
    times = np.arange(1, 10) * 0.4
    results = [tracker.update(hidden, float(t)).poses for t in times]
    assert [bool(poses) for poses in results] == [bool(t < MAX_PREDICTION) for t in times]
    (pose,) = results[0]
    assert pose.is_predicted
    error = pose_difference(pose.T_camera_block[None], T_BLOCK[None])[0]
    assert np.linalg.norm(error[:3]) < 1e-3 and np.linalg.norm(error[3:]) < np.radians(1)


def test_block_in_the_gripper_is_tracked_where_the_tool_carries_it() -> None:
    T_tool = transform_from_rotvec(np.array([np.pi, 0.0, 0.0]), np.array([0.0, 0.0, 0.25]))
    move = transform_from_rotvec(np.array([0.0, 0.0, 0.2]), np.array([-0.03, 0.02, 0.01]))
    T_moved = move @ T_BLOCK
    for frames, is_found in ((CameraFrames(None, move @ T_tool), True), (CameraFrames(), False)):
        tracker = BlockTracker(detector())
        tracker.update(render_cube(T_BLOCK, LENS), 0.0, CameraFrames(None, T_tool))
        poses = tracker.update(image_without_detection(T_moved), 0.1, frames).poses
        assert bool(poses) == is_found
    empty_hand = tracker.update(EMPTY, 0.2, CameraFrames(None, move @ T_tool)).poses
    assert not empty_hand


def test_block_at_rest_is_tracked_by_a_camera_that_moves() -> None:
    T_camera_base = transform_from_rotvec(np.array([0.0, 0.1, 0.0]), np.array([0.02, 0.0, 0.0]))
    tracker = BlockTracker(detector())
    tracker.update(render_cube(T_BLOCK, LENS), 0.0, CameraFrames(np.eye(4)))
    image = image_without_detection(T_camera_base @ T_BLOCK)
    (pose,) = tracker.update(image, 0.1, CameraFrames(T_camera_base)).poses
    T_base_block = invert_transform(T_camera_base) @ pose.T_camera_block
    assert np.linalg.norm((T_base_block - T_BLOCK)[:3, 3]) < 1e-3


def test_repeated_image_gives_the_same_pose_again_and_tracking_first_agrees() -> None:
    image = render_cube(T_BLOCK, LENS)
    tracker, first = BlockTracker(detector()), BlockTracker(detector(), track_first=True)
    poses = [tracker.update(image, t).poses[0].T_camera_block for t in (0.0, 0.1, 0.1)]
    np.testing.assert_array_equal(poses[1], poses[2])
    tracked = [first.update(image, 0.1 * k).poses[0] for k in range(7)]
    assert [p.is_predicted for p in tracked] == [False, True, True, True, True, False, True]
    for pose in tracked:
        assert np.linalg.norm((pose.T_camera_block - T_BLOCK)[:3, 3]) < 1e-3
