"""What stands around the simulated arm: a table, marked blocks and the camera that sees them.

Enters: the name of an arm, and in the simulation a PyBullet client. Leaves: bodies in that client,
and where camera, area and goal are.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from pybullet_utils.bullet_client import BulletClient
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat
from scipy.spatial.transform import Rotation

from invdyn_ros.arms.camera import Camera
from invdyn_ros.config import Validated
from invdyn_ros.perception.aruco_cube import FACES, face_corners, face_image, face_normals
from invdyn_ros.perception.hand_eye.camera_pose import read_camera_pose

FACE_PIXELS = 240  # side of a face in the block's texture
CAMERA_RATE = 10.0  # at least, of the simulated camera [Hz]
SPINNING_FRICTION = 0.004  # of a pad's patch: what keeps a held block from turning [m]
ROLLING_FRICTION = 0.0002  # [m]


@dataclass(frozen=True)
class Scene(Validated):
    """Table, block, goal and camera around an arm, in its base frame. The table top is z = 0."""

    camera: Camera
    block_size: PositiveFloat = 0.04
    """Side of the block [m]."""
    blocks: NonNegativeInt = 1
    """Number of blocks; 0 for a plain table."""
    area_x: tuple[float, float] = (0.375, 0.575)
    """Where the centre of a block may lie [m]."""
    area_y: tuple[float, float] = (-0.1, 0.1)
    """Where the centre of a block may lie [m]."""
    goal: tuple[float, float, float] = (0.425, -0.165, 0.02)
    """Where the centre of the block shall end [m]."""
    block_mass: PositiveFloat = 0.05
    """[kg]."""
    friction: PositiveFloat = 0.9
    """Coulomb friction coefficient of the block; the contact has the product with the other's."""
    light: tuple[float, float, float] = (0.6, -0.5, 1.4)
    """Direction to the light."""
    ambient: NonNegativeFloat = 0.62
    """Share of the light that comes from everywhere."""
    blur: NonNegativeFloat = 0.7
    """Blur of the lens, standard deviation [px]."""
    pixel_noise: NonNegativeFloat = 2.0
    """Noise of the image sensor, standard deviation [grey levels of 255]."""
    marked: bool = True
    """Blocks carry a marker on each face; else they are plain."""
    table_color: tuple[float, float, float] = (66.0, 76.0, 88.0)
    """Red, green, blue of 255; so the next ones."""
    area_color: tuple[float, float, float] = (76.0, 88.0, 102.0)
    """Where blocks lie."""
    wall_color: tuple[float, float, float] = (226.0, 231.0, 237.0)
    """At the horizon; the wall is darker above."""
    block_color: tuple[float, float, float] = (216.0, 92.0, 60.0)
    """Of a block without markers."""

    def sample_block_pose(self, rng: np.random.Generator) -> np.ndarray:
        """Pose (4, 4) of a block that lies flat anywhere in the area, at any yaw."""
        x, y = rng.uniform(*self.area_x), rng.uniform(*self.area_y)
        return block_pose(x, y, self.block_size / 2, rng.uniform(-np.pi, np.pi))


def nominal_scene(arm: str, camera_pose: str) -> Scene:
    """Return the scene of an arm with its camera where a calibration file says.

    Args:
        arm: name of the arm.
        camera_pose: the file; empty: where the simulated camera stands.

    Raises:
        ValueError: the file is not of such a camera.
    """
    scene = SCENES[arm]
    if not camera_pose:
        return scene
    T = read_camera_pose(camera_pose, arm).T
    return replace(scene, camera=replace(scene.camera, T_base_camera=T))


def quaternion_pose(position: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """Pose (4, 4) of a position (3,) [m] and quaternion (4,) xyzw of any length but zero."""
    x, y, z, w = (quaternion / math.sqrt(quaternion @ quaternion)).tolist()
    T = np.eye(4)
    T[:3, :3] = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    T[:3, 3] = position
    return T


def ticks_per_image(rate: float) -> int:
    """Ticks of an arm's control rate [Hz] from one picture of the simulated camera to the next."""
    return max(1, int(rate / CAMERA_RATE))


def block_pose(x: float, y: float, z: float, yaw: float) -> np.ndarray:
    """Pose (4, 4) of an upright block from its centre [m] and yaw [rad]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1.0]])


UR_SCENE = Scene(Camera.look_at((0.79, 0.0, 0.405), (0.465, 0.0, 0.02), focal=850.0))

SCENES: dict[str, Scene] = {
    "ur5": UR_SCENE,
    "ur5e": UR_SCENE,
    "dofbot": Scene(
        Camera.look_at((0.40, 0.0, 0.33), (0.165, 0.0, 0.015), focal=850.0),
        block_size=0.03,
        area_x=(0.13, 0.20),
        area_y=(-0.08, 0.08),
        goal=(0.13, -0.12, 0.015),
        block_mass=0.02,
    ),
    "kuka_iiwa": Scene(Camera.look_at((1.6, -1.1, 1.0), (0.2, 0.0, 0.45), focal=560.0), blocks=0),
}


def block_texture(block: int) -> np.ndarray:
    """The six faces of a block side by side, (FACE_PIXELS, 6 FACE_PIXELS) uint8."""
    return np.hstack([face_image(FACES * block + face, FACE_PIXELS) for face in range(FACES)])


def add_table(client: BulletClient) -> int:
    """Add the table, an endless plane at z = 0, to a PyBullet world; returns its body id."""
    body = client.createMultiBody(0, client.createCollisionShape(client.GEOM_PLANE))
    client.changeDynamics(body, -1, lateralFriction=0.8)
    return int(body)


def add_block(client: BulletClient, scene: Scene, pose: np.ndarray, block: int = 0) -> int:
    """Add a marked block to a PyBullet world.

    Args:
        client: the world.
        scene: size, mass and friction of the block.
        pose: (4, 4) in the base frame.
        block: its number, which gives the ids of its markers.

    Returns:
        Its body id.
    """
    half = [scene.block_size / 2] * 3
    box = client.createCollisionShape(client.GEOM_BOX, halfExtents=half)
    visual = _textured_cube(client, scene.block_size)
    body = client.createMultiBody(scene.block_mass, box, visual)
    client.changeDynamics(
        body,
        -1,
        lateralFriction=scene.friction,
        spinningFriction=SPINNING_FRICTION,
        rollingFriction=ROLLING_FRICTION,
    )
    if scene.marked:
        _apply_marker_texture(client, body, block)
    place_block(client, body, pose)
    return int(body)


def _apply_marker_texture(client: BulletClient, body: int, block: int) -> None:
    """Stick the markers on a block."""
    with tempfile.TemporaryDirectory() as directory:  # PyBullet takes pictures from files only
        file = Path(directory) / f"block_{block}.png"
        cv2.imwrite(str(file), cv2.cvtColor(block_texture(block), cv2.COLOR_GRAY2BGR))
        texture = client.loadTexture(str(file))
    client.changeVisualShape(body, -1, textureUniqueId=texture)


def place_block(client: BulletClient, body: int, pose: np.ndarray) -> None:
    """Put a block at rest at a pose (4, 4) of the base frame."""
    quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()  # x, y, z, w
    client.resetBasePositionAndOrientation(body, pose[:3, 3], quaternion)


def _textured_cube(client: BulletClient, side: float) -> int:
    """Textured cube: face f shows the f-th of six pictures side by side."""
    corners = face_corners(side)  # (6, 4, 3), clockwise from the top left
    left = np.arange(FACES)[:, None] / FACES
    u = left + np.array([0, 1, 1, 0]) / FACES
    v = np.broadcast_to([1.0, 1.0, 0.0, 0.0], u.shape)
    first = 4 * np.arange(FACES)[:, None]
    return int(
        client.createVisualShape(
            client.GEOM_MESH,
            vertices=corners.reshape(-1, 3).tolist(),
            indices=(first + np.array([0, 3, 2, 0, 2, 1])).ravel().tolist(),
            uvs=np.dstack([u, v]).reshape(-1, 2).tolist(),
            normals=np.repeat(face_normals(), 4, axis=0).tolist(),
            rgbaColor=[1, 1, 1, 1],
        )
    )
