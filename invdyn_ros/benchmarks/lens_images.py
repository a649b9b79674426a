"""Images of flat patterns and of a marked block, taken through a lens with known intrinsics."""

from __future__ import annotations

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import face_corners, face_image, face_normals
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics

SAMPLES = 2  # rendered pixels per pixel and axis
BACKGROUND = 120


def pixel_rays(lens: CameraIntrinsics, part: tuple[slice, slice] | None = None) -> np.ndarray:
    """Return the ray (h, w, 3) with z = 1 of each rendered pixel; SAMPLES per pixel and axis.

    Args:
        lens: the camera.
        part: rows and columns of the image; None: all.
    """
    rows, columns = (
        (np.arange(SAMPLES * s.start, SAMPLES * s.stop) + 0.5) / SAMPLES - 0.5
        for s in part or (slice(0, lens.height), slice(0, lens.width))
    )
    pixels = np.stack(np.meshgrid(columns, rows), axis=-1)
    return lens.undistort(pixels).astype(np.float32)


def render_plane(
    canvas: np.ndarray, rays: np.ndarray, pattern: np.ndarray, corners: np.ndarray
) -> None:
    """Draw a rectangle with a pattern on an image of rendered pixels.

    Args:
        canvas: (h, w) uint8, modified in place.
        rays: (h, w, 3) of its pixels.
        pattern: (m, n) uint8.
        corners: (4, 3) in the optical frame [m], clockwise from the top left of the pattern.
    """
    origin, x, y = corners[0], corners[1] - corners[0], corners[3] - corners[0]
    # ray = a x + b y + c origin, so the plane is met at origin + a / c x + b / c y
    height, width = pattern.shape
    to_pixels = np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]])
    H = to_pixels @ np.linalg.inv(np.column_stack([x, y, origin]))
    u, v, w = cv2.split(cv2.transform(rays, H.astype(np.float32)))
    w[~(w > 0)] = np.nan  # behind the camera
    cv2.remap(
        pattern,
        np.nan_to_num(u / w, nan=-9),
        np.nan_to_num(v / w, nan=-9),
        cv2.INTER_LINEAR,
        dst=canvas,
        borderMode=cv2.BORDER_TRANSPARENT,
    )


def shrink(canvas: np.ndarray) -> np.ndarray:
    """Return the RGB image (H, W, 3) of rendered pixels (h, w)."""
    height, width = canvas.shape
    size = (width // SAMPLES, height // SAMPLES)
    image = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return np.repeat(image[..., None], 3, axis=2)


def render_cube(T: np.ndarray, lens: CameraIntrinsics, side: float = 0.04) -> np.ndarray:
    """Render block 0 in front of a uniform background, (H, W, 3) RGB.

    Args:
        T: (4, 4) pose of the block in the optical frame.
        lens: the camera.
        side: of the block [m].
    """
    corners, normals = face_corners(side) @ T[:3, :3].T + T[:3, 3], face_normals() @ T[:3, :3].T
    outline = lens.project(corners.reshape(-1, 3))
    low = np.clip(outline.min(axis=0) - 4, 0, lens.size).astype(int)
    high = np.clip(outline.max(axis=0) + 5, 0, lens.size).astype(int)
    part = slice(low[1], high[1]), slice(low[0], high[0])
    rays = pixel_rays(lens, part)
    canvas = np.full(rays.shape[:2], BACKGROUND, np.uint8)
    for face in range(6):
        if normals[face] @ corners[face].mean(axis=0) < 0:
            render_plane(canvas, rays, face_image(face, 480), corners[face])
    image = np.full((lens.height, lens.width, 3), BACKGROUND, np.uint8)
    image[part] = shrink(canvas)
    return image
