"""Marked blocks in a PyBullet world."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.arms.pybullet_client import BulletClient
from invdyn_ros.perception.aruco_cube import (
    face_corners,
    face_image,
    face_normals,
    face_pixels,
)
from invdyn_ros.robots.block_markers import FACES, BlockMarkers
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array, Image

FACE_PIXELS = 240  # minimum side of a face in the block's texture [px]
SPINNING_FRICTION = 0.004  # of a pad's contact patch: keeps a held block from turning [m]
ROLLING_FRICTION = 0.0002  # [m]


def block_texture(markers: BlockMarkers) -> Image:
    """Return the six faces of a block side by side, (h, 6 h) grey."""
    pixels = face_pixels(markers.dictionary, FACE_PIXELS)
    return np.hstack([face_image(i, pixels, markers.dictionary) for i in markers.ids])


def add_block(client: BulletClient, scene: Scene, pose: Array, block: int = 0) -> int:
    """Add a block to a PyBullet world.

    Args:
        client: the PyBullet world.
        scene: size, mass and friction of the block, and whether it carries markers.
        pose: (4, 4) in the base frame.
        block: index of the block.

    Returns:
        The body id of the block.
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
        _apply_marker_texture(client, body, scene.markers[block])
    place_block(client, body, pose)
    return int(body)


def _apply_marker_texture(client: BulletClient, body: int, markers: BlockMarkers) -> None:
    """Texture a block with its markers."""
    with tempfile.TemporaryDirectory() as directory:  # PyBullet loads textures from files only
        file = Path(directory) / "block.png"
        cv2.imwrite(str(file), cv2.cvtColor(block_texture(markers), cv2.COLOR_GRAY2BGR))
        texture = client.loadTexture(str(file))
    client.changeVisualShape(body, -1, textureUniqueId=texture)


def place_block(client: BulletClient, body: int, pose: Array) -> None:
    """Move a block.

    Args:
        client: physics client.
        body: id of the block.
        pose: (4, 4) in the base frame.
    """
    quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()  # x, y, z, w
    client.resetBasePositionAndOrientation(body, pose[:3, 3], quaternion)


def _textured_cube(client: BulletClient, side: float) -> int:
    """Create a textured cube; face f shows the f-th of six images side by side."""
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
