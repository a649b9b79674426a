"""Net of a block: its six faces in one plane, to print, cut out and fold.

The faces lie as a cross: the top in the middle, the sides around it, the bottom below.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import face_axes, face_image, face_pixels
from invdyn_ros.robots.block_markers import BlockMarkers
from invdyn_ros.typing import Array, Image

COLUMNS, ROWS = 3, 4  # faces across and down
TAB = 0.18  # depth of a glue tab [block sides]
LINE_WIDTH, DASH = 0.2, 2.0  # [mm]
FINE_PIXELS = 600  # at least, of a face before it is scaled, so that its edges are exact
RIGHT, UP = np.array([1, 0]), np.array([0, 1])  # directions on the page


class NetFace(NamedTuple):
    """A face in the plane of the net.

    Attributes:
        face: index of the face.
        cell: (2,) its place, in faces to the right of and above the top face.
        right: (3,) direction in the block frame that points right on the page.
        up: (3,) direction in the block frame that points up on the page.
    """

    face: int
    cell: Array
    right: Array
    up: Array


def unfold() -> tuple[NetFace, ...]:
    """Return the six faces of the net, seen from outside the block."""
    x, y, _ = np.eye(3)
    top = (np.zeros(2, int), x, y)
    down = _next(*top, -UP)
    placed = [top, down, _next(*down, -UP), *(_next(*top, way) for way in (RIGHT, UP, -RIGHT))]
    normals = face_axes()[:, 0]
    return tuple(
        NetFace(int(np.argmax(normals @ np.cross(right, up))), cell, right, up)
        for cell, right, up in placed
    )


def _next(cell: Array, right: Array, up: Array, way: Array) -> tuple[Array, Array, Array]:
    """Return the face beyond an edge of a face, turned into its plane."""
    normal = np.cross(right, up)
    if way[0]:  # over the right or left edge
        return cell + way, -way[0] * normal, up
    return cell + way, right, -way[1] * normal


def draw_net(markers: BlockMarkers, side: float, pixels_per_mm: int) -> Image:
    """Draw the net of a block, with the lines to cut (solid) and to fold (dashed).

    Args:
        markers: markers of the block.
        side: of the block [m].
        pixels_per_mm: resolution.

    Returns:
        (H, W) uint8.
    """
    edge = round(1e3 * side * pixels_per_mm)
    tab = round(TAB * edge)
    shape = (ROWS * edge + 2 * tab, COLUMNS * edge + 2 * tab)
    image = np.full(shape, 255, np.uint8)
    faces = unfold()
    for net_face in faces:
        left, top = tab + edge * (net_face.cell * (1, -1) + (1, 1))
        image[top : top + edge, left : left + edge] = _turned_face(net_face, markers, edge)
    _draw_lines(image, faces, edge, tab, pixels_per_mm)
    return image


def _turned_face(net_face: NetFace, markers: BlockMarkers, edge: int) -> Image:
    """Return the image of a face as it lies in the net, (edge, edge) uint8."""
    fine = face_pixels(markers.dictionary, FINE_PIXELS)
    image = face_image(markers.ids[net_face.face], fine, markers.dictionary)
    x = face_axes()[net_face.face, 1]  # points right in the image of the face
    turns = round(np.arctan2(x @ net_face.up, x @ net_face.right) / (np.pi / 2))
    turned = np.rot90(image, turns)
    return np.asarray(cv2.resize(turned, (edge, edge), interpolation=cv2.INTER_NEAREST))


def _draw_lines(
    image: Image, faces: tuple[NetFace, ...], edge: int, tab: int, pixels_per_mm: int
) -> None:
    """Draw the outline of the net, its glue tabs and the lines to fold, in place."""
    width = max(1, round(LINE_WIDTH * pixels_per_mm))
    dash = round(DASH * pixels_per_mm)
    cells = {tuple(face.cell) for face in faces}
    glued: list[Array] = []  # middles of edges of the block that have a tab
    for net_face in faces:
        centre = tab + edge * (net_face.cell * (1, -1) + (1.5, 1.5))
        for way in (RIGHT, UP, -RIGHT, -UP):
            along = way[::-1] * (1, -1)  # of the edge, on the page with y upwards
            ends = [centre + edge / 2 * (way + s * along) * (1, -1) for s in (-1, 1)]
            if tuple(net_face.cell + way) in cells:
                _dashed_line(image, ends, width, dash)
                continue
            normal = np.cross(net_face.right, net_face.up)
            middle = normal + way[0] * net_face.right + way[1] * net_face.up
            if any(np.array_equal(middle, other) for other in glued):
                _line(image, ends, width)
                continue
            glued.append(middle)
            _dashed_line(image, ends, width, dash)
            outer = [
                end + tab * (way - sign * along) * (1, -1)
                for end, sign in zip(ends, (-1, 1), strict=True)
            ]
            for a, b in ((ends[0], outer[0]), (outer[0], outer[1]), (outer[1], ends[1])):
                _line(image, [a, b], width)


def _line(image: Image, ends: list[Array], width: int) -> None:
    a, b = (tuple(np.round(end).astype(int).tolist()) for end in ends)
    cv2.line(image, a, b, (0.0,), width)


def _dashed_line(image: Image, ends: list[Array], width: int, dash: int) -> None:
    start, end = ends
    count = max(1, round(float(np.linalg.norm(end - start)) / dash / 2))
    for k in range(count):
        parts = [start + (end - start) * (k + f) / count for f in (0.25, 0.75)]
        _line(image, parts, width)
