"""A cube with an ArUco marker on each face: geometry, face images, marker detection.

Code that depends on the version of OpenCV (4.6 to 5.0) is in this file and in
calibration_board.py.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.robots.block_markers import DEFAULT_DICTIONARY, load_dictionary

MARKER_FRACTION = 0.8  # side of the marker over side of the block; the rest is a white margin

# Outward normal and x axis of each face, (6, 2, 3): top, the four sides, bottom.
_FACE_AXES = np.array([
    [[0, 0, 1], [1, 0, 0]],
    [[1, 0, 0], [0, 1, 0]],
    [[0, 1, 0], [-1, 0, 0]],
    [[-1, 0, 0], [0, -1, 0]],
    [[0, -1, 0], [1, 0, 0]],
    [[0, 0, -1], [1, 0, 0]],
], dtype=float)  # fmt: skip
# Corners of a square of side 1, clockwise from the top left, (4, 2).
_CORNERS = np.array([[-0.5, 0.5], [0.5, 0.5], [0.5, -0.5], [-0.5, -0.5]])

SIDE_FRACTIONS = np.linspace(0.08, 0.92, 24)  # positions along a side of the searches across it
SEARCH_SAMPLES = 24  # samples of a search across a side
# Depths of the searches into and out of the marker, relative to its size. In front of a bright
# wall, OpenCV may regard the margin of a shaded face as a part of the marker, so the first search
# starts deep inside the black border.
SEARCH_DEPTHS = ((0.18, 0.1), (0.08, 0.08), (0.08, 0.08))
SEARCH_RANGE = 1.0, 3.0  # minimum and maximum depth of the later searches [px]
INLIER_FRACTION = 0.8  # fraction of the edge points of a side that are not rejected
EDGE_THRESHOLD = 0.5  # minimum step of the grey level at an edge, relative to the largest step
MAX_CORNER_SHIFT = 0.25  # relative to the longest side; larger refinements are rejected
DUPLICATE_DISTANCE = 1.5  # [px] detections whose corners are all nearer are duplicates
MIN_QUAD_DISTANCE = 0.01  # between two candidate quads, over their perimeter
MIN_SINE = 0.1  # sine of the smallest angle between adjacent sides of a valid marker


class MarkerDetections(NamedTuple):
    """Markers detected in an image."""

    ids: np.ndarray
    """(k,) id of each marker in its dictionary."""
    corners: np.ndarray
    """(k, 4, 2) corners [px], clockwise from the top left of the marker."""


def face_axes() -> np.ndarray:
    """Return outward normal and x axis of each face in the block frame, (6, 2, 3).

    The x axis points right in the image of the face.
    """
    return _FACE_AXES.copy()


def face_normals() -> np.ndarray:
    """Return the outward normal of each face in the block frame, (6, 3)."""
    return _FACE_AXES[:, 0].copy()


def face_corners(side: float) -> np.ndarray:
    """Return the corners of a square on each face of a cube, in the block frame.

    Args:
        side: length of a side of the cube [m].

    Returns:
        (6, 4, 3) [m], clockwise from the top left when looking at the face from outside.
    """
    normal, x = _FACE_AXES[:, 0], _FACE_AXES[:, 1]
    y = np.cross(normal, x)
    u, v = _CORNERS[:, :1], _CORNERS[:, 1:]
    return side * (normal[:, None] / 2 + u * x[:, None] + v * y[:, None])


def marker_corners(block_size: float) -> np.ndarray:
    """Return the corners of the markers of a block, in the block frame, (6, 4, 3) [m]."""
    normal = _FACE_AXES[:, None, 0] * block_size / 2
    return normal + (face_corners(block_size) - normal) * MARKER_FRACTION


def face_pixels(dictionary: str, at_least: int) -> int:
    """Return a side of the image of a face [px] with which every edge lies on a pixel.

    Args:
        dictionary: name of the dictionary.
        at_least: smallest side [px].
    """
    multiple = _pixel_multiple(dictionary)
    return multiple * -(-at_least // multiple)


def _pixel_multiple(dictionary: str) -> int:
    """Return the side [px] of which the side of the image of a face must be a multiple."""
    cells = load_dictionary(dictionary).bits + 2  # with the black border
    return 10 * cells // gcd(8, cells)  # MARKER_FRACTION is 8 tenths


def face_image(
    marker_id: int | None, pixels: int, dictionary: str = DEFAULT_DICTIONARY
) -> np.ndarray:
    """Draw the image of one face: the marker and its white margin.

    Args:
        marker_id: id in the dictionary; None: a blank face.
        pixels: side of the image [px], as of `face_pixels`.
        dictionary: name of the dictionary.

    Returns:
        (pixels, pixels) uint8.
    """
    count, multiple = load_dictionary(dictionary).size, _pixel_multiple(dictionary)
    if marker_id is not None and not 0 <= marker_id < count:
        raise ValueError(f"no marker {marker_id}; {dictionary} has 0 to {count - 1}")
    if pixels <= 0 or pixels % multiple:
        raise ValueError(
            f"pixels is {pixels}; it must be a positive multiple of {multiple}, for sharp edges"
        )
    if marker_id is None:
        return np.full((pixels, pixels), 255, np.uint8)
    side = round(pixels * MARKER_FRACTION)
    margin = (pixels - side) // 2
    if hasattr(cv2.aruco, "generateImageMarker"):  # since 4.7
        draw = cv2.aruco.generateImageMarker
    else:
        draw = cv2.aruco.drawMarker  # type: ignore[attr-defined]
    return np.pad(draw(_dictionary(dictionary), marker_id, side), margin, constant_values=255)


def detect_markers(gray: np.ndarray, dictionary: str = DEFAULT_DICTIONARY) -> MarkerDetections:
    """Detect the markers in a grey image, with subpixel corners.

    Args:
        gray: (H, W) uint8.
        dictionary: name of the dictionary.
    """
    ids, quads = detect_markers_opencv(gray, dictionary=dictionary)
    corners = np.array([_refine_corners(gray, quad) for quad in quads]).reshape(-1, 4, 2)
    distance = np.abs(corners[:, None] - corners[None]).max(axis=(2, 3))  # (k, k)
    apart = distance > DUPLICATE_DISTANCE
    duplicate = np.tril((ids[:, None] == ids) & ~apart, -1).any(axis=1)
    return MarkerDetections(ids[~duplicate], corners[~duplicate])


def detect_markers_opencv(
    gray: np.ndarray, subpixel: bool = False, dictionary: str = DEFAULT_DICTIONARY
) -> MarkerDetections:
    """Detect the markers in a grey image with OpenCV alone.

    Args:
        gray: (H, W) uint8.
        subpixel: whether to refine the corners with cornerSubPix.
        dictionary: name of the dictionary.
    """
    modern = hasattr(cv2.aruco, "ArucoDetector")
    # up to 4.6, DetectorParameters() returns an object that crashes on use
    create = cv2.aruco.DetectorParameters if modern else cv2.aruco.DetectorParameters_create  # type: ignore[attr-defined]
    parameters = create()
    if subpixel:
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    if modern:
        detector = cv2.aruco.ArucoDetector(_dictionary(dictionary), parameters)
        quads, ids, _ = detector.detectMarkers(gray)
    else:
        # the default would discard the inner of two nested quads, the marker of a shaded face
        parameters.minMarkerDistanceRate = MIN_QUAD_DISTANCE
        markers = _dictionary(dictionary)
        quads, ids, _ = cv2.aruco.detectMarkers(gray, markers, parameters=parameters)  # type: ignore[attr-defined]
    if ids is None or len(quads) == 0:
        return MarkerDetections(np.empty(0, int), np.empty((0, 4, 2)))
    corners = np.array([np.asarray(quad, float).reshape(4, 2) for quad in quads])
    return MarkerDetections(np.asarray(ids).ravel().astype(int), corners)


def _dictionary(name: str) -> cv2.aruco.Dictionary:
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))


def _refine_corners(gray: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """Return refined corners (4, 2) [px] of a marker: intersections of lines along its sides.

    The window of cornerSubPix around a corner extends over the margin to the edge of the block,
    with errors of up to 2 px for a marker of 50 px; a search across a side avoids them.
    """
    initial, longest = quad, np.linalg.norm(quad - np.roll(quad, 1, axis=0), axis=1).max()
    for iteration, fractions in enumerate(SEARCH_DEPTHS):
        along, across = _side_points(quad, fractions, bounded=iteration > 0)
        pixels = quad[:, None, None] + along[:, :, None] + across[:, None]  # (4, p, s, 2)
        x, y = np.moveaxis(pixels, -1, 0).reshape(2, -1, SEARCH_SAMPLES).astype(np.float32)
        levels = cv2.remap(gray, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        rise = np.maximum(np.diff(np.asarray(levels, float).reshape(pixels.shape[:3])), 0.0)
        midpoints = (pixels[:, :, 1:] + pixels[:, :, :-1]) / 2
        edge = _first_edge(rise, midpoints) if iteration == 0 else _edge_centroid(rise, midpoints)
        lines = _fit_lines_robustly(edge)  # side i starts at corner i
        crossing = np.cross(np.roll(lines, 1, axis=0), lines)
        if np.abs(crossing[:, 2]).min() < MIN_SINE:
            return initial
        quad = crossing[:, :2] / crossing[:, 2:]
    return quad if np.abs(quad - initial).max() < MAX_CORNER_SHIFT * longest else initial


def _first_edge(rise: np.ndarray, midpoints: np.ndarray) -> np.ndarray:
    """Return the position of the first steep rise of the grey level, (4, p, 2) [px].

    Args:
        rise: (4, p, s) increase of the grey level between samples.
        midpoints: (4, p, s, 2) points between the samples [px].
    """
    strong = rise >= EDGE_THRESHOLD * rise.max(axis=2, keepdims=True)
    first = strong.argmax(axis=2)[..., None, None]
    return np.take_along_axis(midpoints, first, axis=2)[:, :, 0]


def _edge_centroid(rise: np.ndarray, midpoints: np.ndarray) -> np.ndarray:
    """Return the mean position of the rise, (4, p, 2) [px]; the middle if there is no rise."""
    weight = rise[..., None] ** 2 + 1e-9
    return np.asarray((weight * midpoints).sum(axis=2) / weight.sum(axis=2))


def _side_points(
    quad: np.ndarray, depth_fractions: tuple[float, float], bounded: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sample points of the searches for the sides of a marker, as offsets.

    Args:
        quad: (4, 2) corners [px].
        depth_fractions: depth of the search inwards and outwards, relative to the marker.
        bounded: whether to limit the depth to SEARCH_RANGE.

    Returns:
        Offsets from each corner along the side that starts there, (4, p, 2), and across it from
        inside to outside, (4, s, 2) [px].
    """
    side = np.roll(quad, -1, axis=0) - quad
    normal = np.column_stack([side[:, 1], -side[:, 0]])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    opposite = np.stack([np.roll(quad, -2, axis=0), np.roll(quad, -3, axis=0)], axis=1)
    inward = (opposite - quad[:, None]) @ -normal[:, :, None]  # (4, 2, 1)
    depth = inward[..., 0].min(axis=1)  # (4,) of the marker behind each side
    low, high = SEARCH_RANGE
    extent = np.multiply.outer(depth, depth_fractions)  # (4, 2)
    extent = np.clip(extent, low, high if bounded else None)
    steps = np.linspace(-extent[:, 0], extent[:, 1], SEARCH_SAMPLES, axis=1)  # (4, s)
    along = SIDE_FRACTIONS[None, :, None] * side[:, None]
    return along, steps[:, :, None] * normal[:, None]


def _fit_lines_robustly(points: np.ndarray) -> np.ndarray:
    """Return homogeneous lines (4, 3) fitted to points (4, p, 2) [px] without outliers."""
    lines = _fit_lines(points, np.ones(points.shape[:2]))
    distance = np.abs(points @ lines[:, :2, None] + lines[:, 2:, None])[..., 0]
    inliers = distance <= np.quantile(distance, INLIER_FRACTION, axis=1, keepdims=True)
    return _fit_lines(points, inliers.astype(float))


def _fit_lines(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return total least squares lines (4, 3), homogeneous with unit normals, through points.

    Args:
        points: (4, p, 2) [px].
        weights: (4, p) weights of the points.
    """
    weights = (weights / weights.sum(axis=1, keepdims=True))[..., None]
    center = (weights * points).sum(axis=1)
    offsets = points - center[:, None]
    normal = np.linalg.eigh(np.swapaxes(weights * offsets, 1, 2) @ offsets)[1][:, :, 0]
    return np.column_stack([normal, -np.sum(normal * center, axis=1)])
