"""Overlay of detected blocks: marker outlines, edges, axes and positions."""

from __future__ import annotations

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import face_corners, face_normals
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics

AXIS_COLORS = ((239, 71, 61), (72, 199, 98), (64, 140, 255))  # RGB of x, y, z
OUTLINE_COLOR = (255, 199, 31)
EDGE_COLOR = (255, 255, 255)
TEXT_COLOR = (255, 255, 255)
LABEL_BACKGROUND = (24, 28, 36)
AXIS_LENGTH = 0.9  # from the block's center, relative to its side
LABEL_GAP = 20  # between block and label [px]
FONT = cv2.FONT_HERSHEY_SIMPLEX
FIXED_POINT_BITS = 4  # OpenCV draws at multiples of 1 / 2^FIXED_POINT_BITS px


def draw_block(
    canvas: np.ndarray,
    block_id: int,
    corners: np.ndarray,
    side: float,
    T_camera_block: np.ndarray,
    intrinsics: CameraIntrinsics,
) -> None:
    """Draw the markers, edges, axes and position of a block on an image.

    Args:
        canvas: (H, W, 3) uint8 RGB, modified in place.
        block_id: index of the block.
        corners: (k, 4, 2) observed marker corners [px].
        side: side of the block [m].
        T_camera_block: (4, 4) pose of the block in the camera.
        intrinsics: of the camera.
    """
    T = T_camera_block
    if T[2, 3] <= side:  # too close to project
        return
    _draw_edges(canvas, side, T, intrinsics)
    for quad in corners:
        _line(canvas, np.vstack([quad, quad[:1]]), OUTLINE_COLOR, 2)
    _draw_axes(canvas, side, T, intrinsics)
    x, y, z = 1e3 * T[:3, 3]
    outline = _pixels(face_corners(side).reshape(-1, 3), T, intrinsics)
    _label(canvas, outline, [f"block {block_id}", f"{x:+.0f} {y:+.0f} {z:.0f} mm"])


def _pixels(points: np.ndarray, T: np.ndarray, intrinsics: CameraIntrinsics) -> np.ndarray:
    """Return the pixels (N, 2) of points (N, 3) [m] in the frame of a block at T (4, 4)."""
    return intrinsics.project(np.asarray(points, float) @ T[:3, :3].T + T[:3, 3])


def _draw_edges(
    canvas: np.ndarray, side: float, T: np.ndarray, intrinsics: CameraIntrinsics
) -> None:
    """Draw the edges of the visible faces."""
    R = T[:3, :3]
    for face, normal in zip(face_corners(side), face_normals(), strict=True):
        if (R @ normal) @ (R @ face.mean(axis=0) + T[:3, 3]) < 0:
            outline = np.vstack([face, face[:1]])
            _line(canvas, _pixels(outline, T, intrinsics), EDGE_COLOR, 1)


def _draw_axes(
    canvas: np.ndarray, side: float, T: np.ndarray, intrinsics: CameraIntrinsics
) -> None:
    """Draw the x, y and z axes in red, green and blue, the farthest first."""
    tips = AXIS_LENGTH * side * np.eye(3)
    center, *ends = _pixels(np.vstack([np.zeros(3), tips]), T, intrinsics)
    depth = T[2, :3]  # of each axis
    for axis in np.argsort(-depth):
        for color, width in ((LABEL_BACKGROUND, 5), (AXIS_COLORS[axis], 3)):
            start, end = _to_fixed_point(np.array([center, ends[axis]]))
            cv2.arrowedLine(canvas, start, end, color, width, cv2.LINE_AA, FIXED_POINT_BITS, 0.18)
    for name, color, end in zip("xyz", AXIS_COLORS, ends, strict=True):
        away = (end - center) / max(float(np.linalg.norm(end - center)), 1e-6)
        x, y = np.round(end + 10 * away + (-4, 4)).astype(int).tolist()
        for shade, width in ((LABEL_BACKGROUND, 4), (color, 1)):
            cv2.putText(canvas, name, (x, y), FONT, 0.45, shade, width, cv2.LINE_AA)


def _label(canvas: np.ndarray, outline: np.ndarray, lines: list[str]) -> None:
    """Draw lines of text on a dark rectangle above the block, or below it without room."""
    font, scale, pad = FONT, 0.45, 6
    sizes = [cv2.getTextSize(line, font, scale, 1)[0] for line in lines]
    step = sizes[0][1] + pad
    width, height = max(w for w, _ in sizes) + 2 * pad, step * len(lines) + pad
    middle, above = outline[:, 0].mean(), outline[:, 1].min() - LABEL_GAP
    top_edge = above - height if above >= height else outline[:, 1].max() + LABEL_GAP
    left = int(np.clip(middle - width / 2, 0, max(canvas.shape[1] - width, 0)))
    top = int(np.clip(top_edge, 0, max(canvas.shape[0] - height, 0)))
    background = canvas[top : top + height, left : left + width]
    background[:] = (0.3 * background + 0.7 * np.array(LABEL_BACKGROUND)).astype(np.uint8)
    for row, line in enumerate(lines):
        position = (left + pad, top + step * (row + 1))
        cv2.putText(canvas, line, position, font, scale, TEXT_COLOR, 1, cv2.LINE_AA)


def _to_fixed_point(points: np.ndarray) -> np.ndarray:
    """Convert points [px] to OpenCV's fixed-point numbers."""
    return np.round(points * 2**FIXED_POINT_BITS).astype(int)


def _line(canvas: np.ndarray, points: np.ndarray, color: tuple[int, ...], width: int) -> None:
    """Draw an antialiased line through points (N, 2) [px]."""
    args = (False, color, width, cv2.LINE_AA, FIXED_POINT_BITS)
    cv2.polylines(canvas, [_to_fixed_point(points).astype(np.int32)], *args)
