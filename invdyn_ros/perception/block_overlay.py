"""Drawing a found block: its marker corners and its pose enter; they are drawn on an image."""

from __future__ import annotations

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import face_corners, face_normals

AXIS_COLORS = ((239, 71, 61), (72, 199, 98), (64, 140, 255))  # RGB of x, y, z
OUTLINE_COLOR = (255, 199, 31)
EDGE_COLOR = (255, 255, 255)
TEXT_COLOR = (255, 255, 255)
LABEL_BACKGROUND = (24, 28, 36)
AXIS_LENGTH = 0.9  # of the block's side, from its centre
LABEL_GAP = 20  # between block and label [px]
FIXED_POINT_BITS = 4  # OpenCV draws at 1 / 2^SHIFT px

ProjectionArgs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Rotation vector (3,), translation (3,) [m], intrinsics (3, 3), distortion of the camera."""


def draw_block(
    canvas: np.ndarray, block: int, corners: np.ndarray, side: float, camera: ProjectionArgs
) -> None:
    """Draw outlines of the markers, edges of the cube, its axes and its place on an image.

    Args:
        canvas: (H, W, 3) uint8 RGB, drawn on.
        block: its number.
        corners: (k, 4, 2) marker corners as seen [px].
        side: side of the block [m].
        camera: pose of the block in the camera, and the lens.
    """
    if camera[1][2] <= side:  # too near to project
        return
    _draw_edges(canvas, side, camera)
    for quad in corners:
        _line(canvas, np.vstack([quad, quad[:1]]), OUTLINE_COLOR, 2)
    _draw_axes(canvas, side, camera)
    x, y, z = 1e3 * camera[1].ravel()
    _label(canvas, corners, [f"block {block}", f"{x:+.0f} {y:+.0f} {z:.0f} mm"])


def _pixels(points: np.ndarray, camera: ProjectionArgs) -> np.ndarray:
    """Points (N, 3) [m] of the block frame in the image, (N, 2) [px]."""
    return cv2.projectPoints(np.asarray(points, float), *camera)[0].reshape(-1, 2)


def _draw_edges(canvas: np.ndarray, side: float, camera: ProjectionArgs) -> None:
    """Edges of the faces that can be seen."""
    R = cv2.Rodrigues(camera[0])[0]
    for face, normal in zip(face_corners(side), face_normals(), strict=True):
        if (R @ normal) @ (R @ face.mean(axis=0) + camera[1].ravel()) < 0:
            _line(canvas, _pixels(np.vstack([face, face[:1]]), camera), EDGE_COLOR, 1)


def _draw_axes(canvas: np.ndarray, side: float, camera: ProjectionArgs) -> None:
    """The block's x, y and z axis in red, green and blue, the farthest first."""
    tips = AXIS_LENGTH * side * np.eye(3)
    centre, *ends = _pixels(np.vstack([np.zeros(3), tips]), camera)
    depth = cv2.Rodrigues(camera[0])[0][2]  # of each axis
    for axis in np.argsort(-depth):
        for color, width in ((LABEL_BACKGROUND, 5), (AXIS_COLORS[axis], 3)):
            start, end = _to_fixed_point(np.array([centre, ends[axis]]))
            cv2.arrowedLine(canvas, start, end, color, width, cv2.LINE_AA, FIXED_POINT_BITS, 0.18)


def _label(canvas: np.ndarray, corners: np.ndarray, lines: list[str]) -> None:
    """Lines of text on a dark plate above the block, moved into the picture."""
    font, scale, pad = cv2.FONT_HERSHEY_SIMPLEX, 0.45, 6
    sizes = [cv2.getTextSize(line, font, scale, 1)[0] for line in lines]
    step = sizes[0][1] + pad
    width, height = max(w for w, _ in sizes) + 2 * pad, step * len(lines) + pad
    middle, above = corners[..., 0].mean(), corners[..., 1].min() - LABEL_GAP
    left = int(np.clip(middle - width / 2, 0, max(canvas.shape[1] - width, 0)))
    top = int(np.clip(above - height, 0, max(canvas.shape[0] - height, 0)))
    plate = canvas[top : top + height, left : left + width]
    plate[:] = (0.3 * plate + 0.7 * np.array(LABEL_BACKGROUND)).astype(np.uint8)
    for row, line in enumerate(lines):
        where = (left + pad, top + step * (row + 1))
        cv2.putText(canvas, line, where, font, scale, TEXT_COLOR, 1, cv2.LINE_AA)


def _to_fixed_point(points: np.ndarray) -> np.ndarray:
    """Points [px] in OpenCV's fixed-point numbers."""
    return np.round(points * 2**FIXED_POINT_BITS).astype(int)


def _line(canvas: np.ndarray, points: np.ndarray, color: tuple[int, ...], width: int) -> None:
    """Smooth line through points (N, 2) [px]."""
    args = (False, color, width, cv2.LINE_AA, FIXED_POINT_BITS)
    cv2.polylines(canvas, [_to_fixed_point(points).astype(np.int32)], *args)
