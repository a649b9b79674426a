"""Where the block lies: single sightings with covariance enter, one running estimate leaves."""

from typing import NamedTuple

import numpy as np

from invdyn_ros.perception.block_detector import block_pose_in_base
from invdyn_ros.typing import Array

QUARTER = np.pi / 2
PLACED_STD = 0.003  # [m] how surely a block lies where the gripper let it go


class BlockDetection(NamedTuple):
    """One detection of a block that lies flat.

    Attributes:
        time: stamp of the image [s].
        position: (3,) centre in the base frame [m].
        yaw: rotation about the vertical, modulo a quarter turn [rad].
        variance: (4,) of x, y, z [m2] and yaw [rad2].
        size: side that a block on the table has if it looks like this one [m]; infinite: it is
            not below the camera; nan: not known.
    """

    time: float
    position: Array
    yaw: float
    variance: Array
    apparent_size: float = np.nan


def upright_yaw(rotation: Array) -> float:
    """Return the yaw [rad] in [0, pi/2) of a cube with rotation (3, 3), whichever face is up."""
    upright = int(np.argmax(np.abs(rotation[2])))
    side = rotation[:, (upright + 1) % 3]
    return float(np.arctan2(side[1], side[0]) % QUARTER)


def relative_yaw(T_base_tool: Array, yaw: float) -> float:
    """Return the yaw [rad] from the fingers of a tool (4, 4) to the nearest side of a block."""
    turn = yaw - np.arctan2(T_base_tool[1, 0], T_base_tool[0, 0])
    return float((turn + QUARTER / 2) % QUARTER - QUARTER / 2)


def project_to_height(position: Array, camera_position: Array, height: float) -> Array:
    """Return the point at `height` [m] on the ray from the camera at `eye` through a position.

    Depth is what a marker tells worst; the table's height is known.
    """
    ray = position - camera_position
    if abs(ray[2]) < 1e-6:
        return position
    return camera_position + ray * (height - camera_position[2]) / ray[2]


def apparent_size(position: Array, camera_position: Array, height: float) -> float:
    """Return the side [m] of a block on the table that looks like a block at a position (3,) [m].

    A marker that is twice as large looks the same from twice as far away.

    Args:
        position: centre of the detected block, if it has the size it is said to have.
        eye: (3,) of the camera [m].
        height: half the size it is said to have [m].
    """
    below = float(
        camera_position[2] - position[2]
    )  # grows with the size that the block is said to have
    return float(2 * height * camera_position[2] / (below + height)) if below > 0 else np.inf


def detection_on_table(
    time: float, T_camera_block: Array, covariance: Array, T_base_camera: Array, height: float
) -> BlockDetection:
    """Return what a detection says of a block that lies on the table.

    Args:
        time: stamp of the image [s].
        T_camera_block: (4, 4) detected pose.
        covariance: (6, 6) of it, x y z rx ry rz in the camera's axes [m2, rad2].
        T_base_camera: (4, 4) calibrated pose of the camera.
        height: of the block's centre over the base [m].
    """
    T, in_base = block_pose_in_base(T_camera_block, covariance, T_base_camera)
    variance = np.diag(in_base)[[0, 1, 2, 5]]
    eye = T_base_camera[:3, 3]
    centre, size = project_to_height(T[:3, 3], eye, height), apparent_size(T[:3, 3], eye, height)
    return BlockDetection(time, centre, upright_yaw(T[:3, :3]), variance, size)


class BlockEstimate:
    """The weighted mean of the sightings of a block at rest; a block that moved starts it anew."""

    def __init__(self, reset_distance: float = 0.015) -> None:
        self.reset_distance = reset_distance
        self.clear()

    def clear(self) -> None:
        """Forget all sightings."""
        self.count = 0
        self.position = np.zeros(3)
        self._weight = np.zeros(3)
        self._yaw_phasor = 0j
        self.time = -np.inf

    def update(self, detection: BlockDetection) -> None:
        """Take one more sighting."""
        if self.count and np.linalg.norm(detection.position - self.position) > self.reset_distance:
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
        """Take it that the block lies at a position (3,) [m] now, as surely as one sighting says.

        Its yaw stays, for a gripper turns a block hardly.
        """
        self.count, self.position = 1, np.array(position, float)
        self._weight = np.full(3, 1 / PLACED_STD**2)

    @property
    def yaw(self) -> float:
        """Mean yaw modulo a quarter turn [rad]."""
        return float(np.angle(self._yaw_phasor) / 4 % QUARTER)
