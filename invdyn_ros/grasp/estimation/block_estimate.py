"""Estimate of the pose of a block on the table, fused from single detections."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from invdyn_ros.perception.block_pose_in_base import block_pose_in_base
from invdyn_ros.typing import Array

QUARTER_TURN = np.pi / 2
MAX_LEVEL = 9  # blocks below a block in a stack
PLACED_STD = 0.003  # [m] standard deviation of the position of a block after its release


class BlockDetection(NamedTuple):
    """One detection of a block that lies flat on the table.

    Attributes:
        time: stamp of the image [s].
        position: (3,) centre of the block in the base frame [m].
        yaw: rotation about the vertical axis, modulo a quarter turn [rad].
        variance: (4,) variances of x, y, z [m2] and yaw [rad2].
        apparent_size: side of a block on the table that would look the same [m]; infinite if the
            detection is not below the camera, NaN if unknown.
        block: index of the block.
        level: number of blocks below it.
    """

    time: float
    position: Array
    yaw: float
    variance: Array
    apparent_size: float = np.nan
    block: int = 0
    level: int = 0


class ImageDetections(NamedTuple):
    """What was detected in one image.

    Attributes:
        time: stamp of the image [s].
        detections: the blocks with a pose.
        rejections: why other blocks have no pose although they are visible, by index.
    """

    time: float
    detections: tuple[BlockDetection, ...]
    rejections: Mapping[int, str]


def upright_yaw(rotation: Array) -> float:
    """Return the yaw [rad] in [0, pi/2) of a cube with rotation (3, 3), whichever face is up."""
    upright = int(np.argmax(np.abs(rotation[2])))
    side = rotation[:, (upright + 1) % 3]
    return float(np.arctan2(side[1], side[0]) % QUARTER_TURN)


def relative_yaw(T_base_tool: Array, yaw: float) -> float:
    """Return the yaw [rad] from the fingers of a tool (4, 4) to the nearest side of a block."""
    difference = yaw - np.arctan2(T_base_tool[1, 0], T_base_tool[0, 0])
    return float((difference + QUARTER_TURN / 2) % QUARTER_TURN - QUARTER_TURN / 2)


def project_to_height(position: Array, camera_position: Array, height: float) -> Array:
    """Move a position along its camera ray to a known height.

    Depth is the least accurate coordinate of a marker pose, and the height of the table is known.

    Args:
        position: (3,) detected position in the base frame [m].
        camera_position: (3,) position of the camera in the base frame [m].
        height: height of the returned point over the base [m].
    """
    ray = position - camera_position
    if abs(ray[2]) < 1e-6:
        return position
    return camera_position + ray * (height - camera_position[2]) / ray[2]


def apparent_size(position: Array, camera_position: Array, height: float) -> float:
    """Return the side [m] of a block on the table that looks like a detected block.

    A marker that is twice as large looks the same from twice the distance.

    Args:
        position: (3,) centre, detected on the assumption of the nominal block size [m].
        camera_position: (3,) position of the camera [m].
        height: half the nominal block size [m].
    """
    depth = float(camera_position[2] - position[2])  # proportional to the assumed block size
    return float(2 * height * camera_position[2] / (depth + height)) if depth > 0 else np.inf


def detection_on_table(
    time: float, T_camera_block: Array, covariance: Array, T_base_camera: Array, height: float
) -> BlockDetection:
    """Convert a marker pose to the detection of a block that lies on the table.

    Args:
        time: stamp of the image [s].
        T_camera_block: (4, 4) detected pose of the block in the camera's optical frame.
        covariance: (6, 6) covariance of x, y, z [m] and of rotations about the camera's axes
            [rad].
        T_base_camera: (4, 4) calibrated pose of the camera.
        height: height of the block's centre over the base [m].
    """
    T, covariance_base = block_pose_in_base(T_camera_block, covariance, T_base_camera)
    variance = np.diag(covariance_base)[[0, 1, 2, 5]]
    camera_position = T_base_camera[:3, 3]
    centre = project_to_height(T[:3, 3], camera_position, height)
    size = apparent_size(T[:3, 3], camera_position, height)
    return BlockDetection(time, centre, upright_yaw(T[:3, :3]), variance, size)


def detection_in_stack(
    time: float,
    T_camera_block: Array,
    covariance: Array,
    T_base_camera: Array,
    block_size: float,
    block: int,
) -> BlockDetection:
    """Convert a marker pose to the detection of a block that lies on the table or on others.

    Args:
        time: stamp of the image [s].
        T_camera_block: (4, 4) detected pose of the block in the camera's optical frame.
        covariance: (6, 6) covariance of x, y, z [m] and of rotations about the camera's axes
            [rad].
        T_base_camera: (4, 4) calibrated pose of the camera.
        block_size: side of a block [m].
        block: index of the block.
    """
    height = float((T_base_camera @ T_camera_block)[2, 3])
    level = int(np.clip(round(height / block_size - 0.5), 0, MAX_LEVEL))
    support = np.array([0.0, 0.0, level * block_size])  # top of the blocks below
    T = T_base_camera.copy()
    T[:3, 3] -= support
    detection = detection_on_table(time, T_camera_block, covariance, T, block_size / 2)
    position = detection.position + support
    return detection._replace(position=position, block=block, level=level)


class BlockEstimate:
    """Inverse-variance weighted mean of the detections of a block at rest.

    A detection farther than `reset_distance` from the mean starts a new estimate.

    Attributes:
        count: number of detections since the last reset.
        position: (3,) estimated centre in the base frame [m].
        time: stamp of the last detection [s].
    """

    def __init__(self, reset_distance: float = 0.015) -> None:
        self.reset_distance = reset_distance
        self.clear()

    def clear(self) -> None:
        """Discard all detections."""
        self.count = 0
        self.position = np.zeros(3)
        self._weight = np.zeros(3)
        self._yaw_phasor = 0j
        self.time = -np.inf

    def update(self, detection: BlockDetection) -> None:
        """Add one detection."""
        offset = detection.position - self.position
        if self.count and np.linalg.norm(offset) > self.reset_distance:
            self.clear()
        weight = 1 / np.maximum(detection.variance, 1e-10)
        self._weight = self._weight + weight[:3]
        self.position = self.position + weight[:3] / self._weight * (
            detection.position - self.position
        )
        self._yaw_phasor += weight[3] * np.exp(4j * detection.yaw)  # four-fold symmetry
        self.count += 1
        self.time = detection.time

    def set_position(self, position: Array) -> None:
        """Set the position (3,) [m] as if it were the only detection, and keep the yaw.

        A gripper hardly turns a block that it carries.
        """
        self.count, self.position = 1, np.array(position, float)
        self._weight = np.full(3, 1 / PLACED_STD**2)

    @property
    def yaw(self) -> float:
        """Mean yaw modulo a quarter turn [rad]."""
        return float(np.angle(self._yaw_phasor) / 4 % QUARTER_TURN)
