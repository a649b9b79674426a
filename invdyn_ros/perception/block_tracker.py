"""Tracking of blocks whose markers are not detected for a moment.

A block that is not touched stays where it is, and one in the gripper moves with the tool. Both
places are predicted, and the bits of the markers in the image decide whether the block is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from invdyn_ros.perception.block_detections import BlockPose, DetectionResult
from invdyn_ros.perception.block_detector import BlockDetector, check_image
from invdyn_ros.perception.rigid_transforms import invert_transform
from invdyn_ros.typing import Array

MAX_INTERVAL = 0.5  # [s] between two images whose blocks are related
MAX_PREDICTION = 3.0  # [s] for which a block is tracked without a detected marker
MAX_TRACKED_IMAGES = 4  # without a search of the whole image for markers


@dataclass(frozen=True, eq=False)
class CameraFrames:
    """Where base and tool of the arm are when an image is taken; both (4, 4)."""

    T_camera_base: Array | None = None
    """None: the camera does not move."""
    T_camera_tool: Array | None = None
    """None: unknown; blocks in the gripper are not tracked."""


@dataclass(frozen=True, eq=False)
class _Track:
    """A block in the last image that shows it."""

    pose: BlockPose
    detected: float  # stamp of the last image with a detected marker [s]
    T_base_block: Array
    T_tool_block: Array | None


@dataclass(frozen=True, eq=False)
class _State:
    stamp: float = -np.inf
    tracks: tuple[_Track, ...] = ()
    num_tracked_images: int = 0


class BlockTracker:
    """Detector of marked blocks in a sequence of images of one camera."""

    def __init__(self, detector: BlockDetector, track_first: bool = False) -> None:
        """Create a tracker.

        Args:
            detector: of the camera.
            track_first: while all blocks are tracked, search only one image in
                MAX_TRACKED_IMAGES + 1 for markers. A copy of a block is then noticed later.
        """
        self.detector, self.track_first = detector, track_first
        self._state = self._before = _State()

    def update(
        self, image: np.ndarray, stamp: float, frames: CameraFrames | None = None
    ) -> DetectionResult:
        """Detect the blocks in the next image; a repeated image gives the same poses again.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp: of the image [s].
            frames: where the arm is; None: unknown, and the camera does not move.
        """
        check_image(image)
        frames = frames or CameraFrames()
        if stamp != self._state.stamp:
            self._before = self._state
        last = self._before
        tracks = last.tracks if 0.0 < stamp - last.stamp < MAX_INTERVAL else ()
        predicted = {
            track.pose.block_id: _predict(track, frames)
            for track in tracks
            if stamp - track.detected < MAX_PREDICTION
        }
        result = None
        if self.track_first and last.num_tracked_images < MAX_TRACKED_IMAGES:
            result = self._track(image, predicted)
        num_tracked_images = 0 if result is None else last.num_tracked_images + 1
        if result is None:
            previous = [track.pose for track in tracks]
            result = self.detector.detect_with_problems(image, previous, predicted)
        detected = {track.pose.block_id: track.detected for track in tracks}
        new = [
            _track(pose, detected[pose.block_id] if pose.is_predicted else stamp, frames)
            for pose in result.poses
        ]
        # a hidden block is looked for again
        known = {track.pose.block_id for track in new} | set(result.duplicate_ids)
        new += [t for t in tracks if t.pose.block_id not in known and t.pose.block_id in predicted]
        self._state = _State(stamp, tuple(new), num_tracked_images)
        return result

    def _track(
        self, image: np.ndarray, predicted: dict[int, list[np.ndarray]]
    ) -> DetectionResult | None:
        """Return all blocks if each is near a predicted pose, else None."""
        if len(predicted) < self.detector.config.num_blocks:
            return None
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        poses = []
        for block_id in sorted(predicted):
            pose = self.detector.confirm(gray, block_id, predicted[block_id])
            if pose is None:
                return None
            poses.append(pose)
        return DetectionResult(poses, (), ())


def _predict(track: _Track, frames: CameraFrames) -> list[np.ndarray]:
    """Return the poses (4, 4) of a block that stays where it is, and of one in the gripper."""
    T_camera_base = np.eye(4) if frames.T_camera_base is None else frames.T_camera_base
    predicted = [T_camera_base @ track.T_base_block]
    if frames.T_camera_tool is not None and track.T_tool_block is not None:
        predicted.append(frames.T_camera_tool @ track.T_tool_block)
    return predicted


def _track(pose: BlockPose, detected: float, frames: CameraFrames) -> _Track:
    """Return the track of a block in an image."""
    T, base, tool = pose.T_camera_block, frames.T_camera_base, frames.T_camera_tool
    T_base_block = T if base is None else invert_transform(base) @ T
    T_tool_block = None if tool is None else invert_transform(tool) @ T
    return _Track(pose, detected, T_base_block, T_tool_block)
