"""Scene description: the table, the blocks, the camera and the light around an arm."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat

from invdyn_ros.config import Validated
from invdyn_ros.robots.block_markers import BlockMarkers, default_markers
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.typing import Array

# Gripper opening over block size, beyond which fingers hold no block, not even by its diagonal,
# and tilted a little: one was 1.451 wide after half a minute in the fingers.
OPEN_WIDTH_RATIO = 1.5
BLOCK_DISTANCE = 2.2  # between the centres of two blocks at the start [block sizes]
MAX_SAMPLES = 1000  # of poses, until all blocks have a place
CAMERA_RATE = 10.0  # minimum frame rate of the simulated camera [Hz]


@dataclass(frozen=True)
class SceneBlock(Validated):
    """One of the blocks of a scene."""

    name: str
    """Name in messages."""
    markers: BlockMarkers
    """Markers on its faces."""
    goal: tuple[float, float, float]
    """Goal position of its centre [m]."""


@dataclass(frozen=True)
class Scene(Validated):
    """Table, blocks, goal and camera in the base frame of an arm. The table top is z = 0."""

    camera: PinholeCamera
    """Camera that looks at the table."""
    camera_on_hand: bool = False
    """Whether the camera moves with the tool, in whose frame its pose then is."""
    block_size: PositiveFloat = 0.04
    """Edge length of a block [m]."""
    num_blocks: NonNegativeInt = 1
    """Number of blocks; 0 for an empty table."""
    blocks: tuple[SceneBlock, ...] = ()
    """The blocks; empty: blocks with the default markers and the goal of the scene."""
    target: NonNegativeInt = 0
    """Index of the block to grasp."""
    area_x: tuple[float, float] = (0.375, 0.575)
    """Range of the x coordinate of a block's centre [m]."""
    area_y: tuple[float, float] = (-0.1, 0.1)
    """Range of the y coordinate of a block's centre [m]."""
    goal: tuple[float, float, float] = (0.425, -0.165, 0.02)
    """Goal position of the centre of the block to grasp [m]."""
    block_mass: PositiveFloat = 0.05
    """Mass of a block [kg]."""
    friction: PositiveFloat = 0.9
    """Coulomb friction coefficient of a block; a contact uses the product of both bodies'."""
    light: tuple[float, float, float] = (0.6, -0.5, 1.4)
    """Direction to the light, a vector of any length."""
    ambient: NonNegativeFloat = 0.62
    """Fraction of the light that is ambient."""
    blur: NonNegativeFloat = 0.7
    """Standard deviation of the Gaussian lens blur [px]."""
    pixel_noise: NonNegativeFloat = 2.0
    """Standard deviation of the image sensor noise [grey levels of 255]."""
    marked: bool = True
    """Whether blocks carry a marker on each face."""
    table_color: tuple[float, float, float] = (66.0, 76.0, 88.0)
    """RGB, 0 to 255."""
    area_color: tuple[float, float, float] = (76.0, 88.0, 102.0)
    """RGB of the area of the blocks, 0 to 255."""
    wall_color: tuple[float, float, float] = (226.0, 231.0, 237.0)
    """RGB of the wall at the horizon, 0 to 255; it is darker above."""
    block_color: tuple[float, float, float] = (216.0, 92.0, 60.0)
    """RGB of a block without markers, 0 to 255."""

    @property
    def all_blocks(self) -> tuple[SceneBlock, ...]:
        """All blocks, also those with default markers."""
        default = default_markers(0 if self.blocks else self.num_blocks)
        numbered = (SceneBlock(f"block {b}", m, self.goal) for b, m in enumerate(default))
        return self.blocks or tuple(numbered)

    @property
    def markers(self) -> tuple[BlockMarkers, ...]:
        """Markers of each block."""
        return tuple(block.markers for block in self.all_blocks)

    def seen_from(self, T_base_tool: Array) -> Scene:
        """Return the scene with the camera where it is while the tool is at a pose (4, 4)."""
        if not self.camera_on_hand:
            return self
        T = T_base_tool @ self.camera.T_base_camera
        return replace(self, camera=replace(self.camera, T_base_camera=T), camera_on_hand=False)

    def sample_block_pose(self, rng: np.random.Generator) -> Array:
        """Sample the pose (4, 4) of a block that lies flat in the area, at any yaw."""
        x, y = rng.uniform(*self.area_x), rng.uniform(*self.area_y)
        return block_pose(x, y, self.block_size / 2, rng.uniform(-np.pi, np.pi))

    def sample_block_poses(self, rng: np.random.Generator) -> Array:
        """Sample poses (num_blocks, 4, 4) of all blocks, apart from each other.

        Raises:
            ValueError: the area is too small for them.
        """
        poses: list[Array] = []
        for _ in range(MAX_SAMPLES):
            if len(poses) == self.num_blocks:
                return np.array(poses).reshape(-1, 4, 4)
            pose = self.sample_block_pose(rng)
            distances = [np.linalg.norm(pose[:2, 3] - other[:2, 3]) for other in poses]
            if min(distances, default=np.inf) >= BLOCK_DISTANCE * self.block_size:
                poses.append(pose)
        raise ValueError(
            f"no place for {self.num_blocks} blocks of {self.block_size} m in area_x "
            f"{list(self.area_x)}, area_y {list(self.area_y)}; enlarge the area"
        )


def ticks_per_image(rate: float) -> int:
    """Return the control steps between two camera images at a control rate [Hz]."""
    return max(1, int(rate / CAMERA_RATE))


def quaternion_pose(position: Array, quaternion: Array) -> Array:
    """Return the pose (4, 4) of a position (3,) [m] and a quaternion (4,) xyzw.

    The quaternion need not have unit length, but must not be zero.
    """
    x, y, z, w = (quaternion / math.sqrt(quaternion @ quaternion)).tolist()
    T = np.eye(4)
    T[:3, :3] = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    T[:3, 3] = position
    return T


def block_pose(x: float, y: float, z: float, yaw: float) -> Array:
    """Return the pose (4, 4) of an upright block.

    Args:
        x: coordinate of the block's centre [m].
        y: coordinate of the block's centre [m].
        z: coordinate of the block's centre [m].
        yaw: rotation about the vertical axis [rad].
    """
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1.0]])
