"""A cube with an ArUco marker on each face: its geometry, its pictures, finding its markers.

Enters: a grey image, or a marker id to draw. Leaves: marker ids and subpixel corners. The only
file that knows which OpenCV (4.6 to 5.0) is installed.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

FACES = 6  # block b carries the ids 6 b (face up) to 6 b + 5 (face down)
MARKER_FRACTION = 0.8  # side of the marker / side of the block; the rest is white quiet margin
DICTIONARY_SIZE = 50  # markers in DICT_4X4_50
MAX_BLOCKS = DICTIONARY_SIZE // FACES

# Outward normal and x axis of each face, (6, 2, 3): up, then around the z axis, then down.
_FACE_AXES = np.array([
    [[0, 0, 1], [1, 0, 0]],
    [[1, 0, 0], [0, 1, 0]],
    [[0, 1, 0], [-1, 0, 0]],
    [[-1, 0, 0], [0, -1, 0]],
    [[0, -1, 0], [1, 0, 0]],
    [[0, 0, -1], [1, 0, 0]],
], dtype=float)  # fmt: skip
# Of a square of side 1, clockwise from the top left, (4, 2).
_CORNERS = np.array([[-0.5, 0.5], [0.5, 0.5], [0.5, -0.5], [-0.5, -0.5]])

SIDE_FRACTIONS = np.linspace(0.08, 0.92, 24)  # where a side of a marker is searched, of its length
SEARCH_SAMPLES = 24  # of the search across a side
# Inwards and outwards, of the marker. ArUco may take the quiet margin of a shaded face before a
# bright wall as a part of the marker, so the first search begins deep in the black border.
SEARCH_DEPTHS = ((0.18, 0.1), (0.08, 0.08), (0.08, 0.08))
SEARCH_RANGE = 1.0, 3.0  # of the searches about a found edge: at least, at most [px]
INLIER_FRACTION = 0.8  # of the points found on a side; the others are left out
EDGE_THRESHOLD = 0.5  # a step of the grey level counts as an edge, of the greatest across the side
MAX_CORNER_SHIFT = 0.25  # of a corner, of the longest side; more is no refinement
DUPLICATE_DISTANCE = 1.5  # two quads with all corners nearer than this are one marker [px]
MIN_QUAD_DISTANCE = 0.01  # least distance of two quads, of their perimeter
MIN_SINE = 0.1  # of the angle between neighbouring sides: less is no corner


class MarkerDetections(NamedTuple):
    """Markers found in an image."""

    ids: np.ndarray
    """(k,) id of each marker in DICT_4X4_50."""
    corners: np.ndarray
    """(k, 4, 2) corners [px], clockwise from the marker's own top left."""


def face_normals() -> np.ndarray:
    """Outward normal of each face in the block frame, (6, 3)."""
    return _FACE_AXES[:, 0].copy()


def face_corners(side: float) -> np.ndarray:
    """Corners of a square on each face of a cube, in the block frame.

    Args:
        side: side of the cube [m].

    Returns:
        (6, 4, 3) [m], clockwise from the top left as seen from outside.
    """
    normal, x = _FACE_AXES[:, 0], _FACE_AXES[:, 1]
    y = np.cross(normal, x)
    u, v = _CORNERS[:, :1], _CORNERS[:, 1:]
    return side * (normal[:, None] / 2 + u * x[:, None] + v * y[:, None])


def marker_corners(block_size: float) -> np.ndarray:
    """Corners of the markers of a block, in the block frame, (6, 4, 3) [m]."""
    normal = _FACE_AXES[:, None, 0] * block_size / 2
    return normal + (face_corners(block_size) - normal) * MARKER_FRACTION


def face_image(marker_id: int, pixels: int) -> np.ndarray:
    """Picture of one face: the marker in its white margin.

    Args:
        marker: id in DICT_4X4_50.
        pixels: side of the picture [px], a multiple of 60 so that every edge lies on a pixel.

    Returns:
        (pixels, pixels) uint8.
    """
    if not 0 <= marker_id < DICTIONARY_SIZE:
        raise ValueError(f"no marker {marker_id}; DICT_4X4_50 has 0 to {DICTIONARY_SIZE - 1}")
    if pixels <= 0 or pixels % 60:
        raise ValueError(f"a face of {pixels} px has blurred edges; use a multiple of 60")
    side = round(pixels * MARKER_FRACTION)
    margin = (pixels - side) // 2
    if hasattr(cv2.aruco, "generateImageMarker"):  # since 4.7
        draw = cv2.aruco.generateImageMarker
    else:
        draw = cv2.aruco.drawMarker  # type: ignore[attr-defined]
    return np.pad(draw(_dictionary(), marker_id, side), margin, constant_values=255)


def detect_markers(gray: np.ndarray) -> MarkerDetections:
    """Find the markers in a grey image, with subpixel corners.

    Args:
        gray: (H, W) uint8.
    """
    ids, quads = detect_markers_opencv(gray)
    corners = np.array([_refine_corners(gray, quad) for quad in quads]).reshape(-1, 4, 2)
    apart = (
        np.abs(corners[:, None] - corners[None]).max(axis=(2, 3)) > DUPLICATE_DISTANCE
    )  # (k, k)
    again = np.tril((ids[:, None] == ids) & ~apart, -1).any(axis=1)
    return MarkerDetections(ids[~again], corners[~again])


def detect_markers_opencv(gray: np.ndarray, subpixel: bool = False) -> MarkerDetections:
    """Find the markers in a grey image as OpenCV does.

    Args:
        gray: (H, W) uint8.
        subpixel: refine the corners with cornerSubPix.
    """
    modern = hasattr(cv2.aruco, "ArucoDetector")
    # until 4.6 DetectorParameters() gives an object that crashes on use
    create = cv2.aruco.DetectorParameters if modern else cv2.aruco.DetectorParameters_create  # type: ignore[attr-defined]
    parameters = create()
    if subpixel:
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    if modern:
        detector = cv2.aruco.ArucoDetector(_dictionary(), parameters)
        found, ids, _ = detector.detectMarkers(gray)
    else:
        # of a quad within a quad it drops the inner one, which a shaded face needs
        parameters.minMarkerDistanceRate = MIN_QUAD_DISTANCE
        found, ids, _ = cv2.aruco.detectMarkers(gray, _dictionary(), parameters=parameters)  # type: ignore[attr-defined]
    if ids is None or len(found) == 0:
        return MarkerDetections(np.empty(0, int), np.empty((0, 4, 2)))
    quads = np.array([np.asarray(quad, float).reshape(4, 2) for quad in found])
    return MarkerDetections(np.asarray(ids).ravel().astype(int), quads)


def _dictionary() -> cv2.aruco.Dictionary:
    return cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)


def _refine_corners(gray: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """Move the corners (4, 2) [px] of one marker to where lines through its four sides cross.

    A window around a corner, as cornerSubPix takes it, reaches over the quiet margin into the edge
    of the block (errors up to 2 px at 50 px); a search across a side need not.
    """
    start, longest = quad, np.linalg.norm(quad - np.roll(quad, 1, axis=0), axis=1).max()
    for number, shares in enumerate(SEARCH_DEPTHS):
        along, across = _side_points(quad, shares, bounded=number > 0)
        pixels = quad[:, None, None] + along[:, :, None] + across[:, None]  # (4, p, s, 2)
        x, y = np.moveaxis(pixels, -1, 0).reshape(2, -1, SEARCH_SAMPLES).astype(np.float32)
        levels = cv2.remap(gray, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        rise = np.maximum(np.diff(np.asarray(levels, float).reshape(pixels.shape[:3])), 0.0)
        middle = (pixels[:, :, 1:] + pixels[:, :, :-1]) / 2
        edge = _first_edge(rise, middle) if number == 0 else _edge_centroid(rise, middle)
        lines = _fit_lines_robustly(edge)  # side i leaves corner i
        crossing = np.cross(np.roll(lines, 1, axis=0), lines)
        if np.abs(crossing[:, 2]).min() < MIN_SINE:
            return start
        quad = crossing[:, :2] / crossing[:, 2:]
    return quad if np.abs(quad - start).max() < MAX_CORNER_SHIFT * longest else start


def _first_edge(rise: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Where the grey level first rises steeply, from inside outwards, (4, p, 2) [px].

    Args:
        rise: (4, p, s) of the grey level, from step to step.
        middle: (4, p, s, 2) of each step [px].
    """
    strong = rise >= EDGE_THRESHOLD * rise.max(axis=2, keepdims=True)
    first = strong.argmax(axis=2)[..., None, None]
    return np.take_along_axis(middle, first, axis=2)[:, :, 0]


def _edge_centroid(rise: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Where the grey level rises on average, (4, p, 2) [px]; where it does not, the middle."""
    weight = rise[..., None] ** 2 + 1e-9
    return np.asarray((weight * middle).sum(axis=2) / weight.sum(axis=2))


def _side_points(
    quad: np.ndarray, depth_fractions: tuple[float, float], bounded: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Where to search for the sides of a marker, relative to its corners (4, 2) [px].

    Args:
        quad: the corners.
        shares: how far inwards and outwards, of the marker.
        bounded: keep to SEARCH_RANGE.

    Returns:
        Steps along each side (4, p, 2), and across it from inside to outside (4, s, 2) [px].
    """
    side = np.roll(quad, -1, axis=0) - quad
    normal = np.column_stack([side[:, 1], -side[:, 0]])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    opposite = np.stack([np.roll(quad, -2, axis=0), np.roll(quad, -3, axis=0)], axis=1)
    inward = (opposite - quad[:, None]) @ -normal[:, :, None]  # (4, 2, 1)
    depth = inward[..., 0].min(axis=1)  # (4,) of the marker behind each side
    low, high = SEARCH_RANGE
    reach = np.clip(
        np.multiply.outer(depth, depth_fractions), low, high if bounded else None
    )  # (4, 2)
    steps = np.linspace(-reach[:, 0], reach[:, 1], SEARCH_SAMPLES, axis=1)  # (4, s)
    along = SIDE_FRACTIONS[None, :, None] * side[:, None]
    return along, steps[:, :, None] * normal[:, None]


def _fit_lines_robustly(points: np.ndarray) -> np.ndarray:
    """Homogeneous lines (4, 3) nearest to points (4, p, 2) [px], without the worst of them."""
    lines = _fit_lines(points, np.ones(points.shape[:2]))
    distance = np.abs(points @ lines[:, :2, None] + lines[:, 2:, None])[..., 0]
    good = distance <= np.quantile(distance, INLIER_FRACTION, axis=1, keepdims=True)
    return _fit_lines(points, good.astype(float))


def _fit_lines(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Homogeneous lines (4, 3), unit normals, of least squared distance to points (4, p, 2)."""
    weights = (weights / weights.sum(axis=1, keepdims=True))[..., None]
    centre = (weights * points).sum(axis=1)
    arms = points - centre[:, None]
    normal = np.linalg.eigh(np.swapaxes(weights * arms, 1, 2) @ arms)[1][:, :, 0]
    return np.column_stack([normal, -np.sum(normal * centre, axis=1)])
