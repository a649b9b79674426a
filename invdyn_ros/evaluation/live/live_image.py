"""Camera images of the live window: compressed, with what the page draws on them."""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

import cv2
import numpy as np

from invdyn_ros.data.recording import encode_jpeg
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.typing import Array, Image

MAX_SIDE = 480  # [px] of an image on the page
JPEG_QUALITY = 75
AXIS_LENGTH = 0.9  # of a block's axes from its centre, relative to its side
LENGTH = struct.Struct("<I")  # of the header, before it


class BlockAxes(NamedTuple):
    """Projected axes of a block.

    Attributes:
        block_id: index of the block.
        points: (4, 2) centre and tips of the x, y and z axes [image heights].
    """

    block_id: int
    points: Array


def encode_small_jpeg(image: Image) -> bytes:
    """Return an image (H, W, 3) RGB as JPEG, no larger than a page shows it."""
    height, width = image.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_jpeg(image, JPEG_QUALITY)


def live_image_message(
    encoded_image: bytes, stamp: float, landmarks: Array | None, blocks: list[BlockAxes]
) -> bytes:
    """Return an image as one binary message: length of the header, the header as JSON, the image.

    Args:
        encoded_image: JPEG or PNG.
        stamp: time of the image [s].
        landmarks: (33, 3) position [image heights] and visibility of each, None without a person.
        blocks: axes of the blocks in the image.
    """
    header: dict[str, Any] = {
        "stamp": stamp,
        "landmarks": None if landmarks is None else np.round(landmarks, 4).tolist(),
        "blocks": [
            {"id": axes.block_id, "points": np.round(axes.points, 4).tolist()} for axes in blocks
        ],
    }
    encoded = json.dumps(header, allow_nan=False).encode()
    return LENGTH.pack(len(encoded)) + encoded + encoded_image


def project_axes(T: Array, side: float, intrinsics: CameraIntrinsics) -> Array | None:
    """Return the axes of a block (4, 2) [image heights], None if it is too close to the camera.

    Args:
        T: (4, 4) pose of the block in the optical frame.
        side: side of the block [m].
        intrinsics: of the camera.
    """
    if not T[2, 3] > side:
        return None
    points = np.vstack([np.zeros(3), AXIS_LENGTH * side * np.eye(3)])
    return intrinsics.project(points @ T[:3, :3].T + T[:3, 3]) / intrinsics.height
