"""A cube with an ArUco marker on each face: geometry, face images, marker detection.

Code that depends on the version of OpenCV (4.6 to 5.0) is in this file and in
calibration_board.py.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.corner_refinement import refine_corners
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
# of the faces of a block of side 1, (6, 4, 3)
_UNIT_CORNERS = (
    _FACE_AXES[:, None, 0] / 2
    + _CORNERS[:, :1] * _FACE_AXES[:, None, 1]
    + _CORNERS[:, 1:] * np.cross(_FACE_AXES[:, 0], _FACE_AXES[:, 1])[:, None]
)

DUPLICATE_DISTANCE = 1.5  # [px] detections whose corners are all nearer are duplicates
STRETCHED_PERCENTILES, STRETCHED_RANGE, MAX_STRETCH = (1, 99), 220.0, 12.0  # [grey levels]
# of searches in difficult images: a threshold far below the mean of the neighbourhood, and cells
# whose middle alone is read
SEARCH_THRESHOLD, SEARCH_CELL, SEARCH_CELL_MARGIN = 14.0, 8, 0.3  # [grey levels], [px], fraction
MIN_QUAD_DISTANCE = 0.01  # between two candidate quads, over their perimeter


class MarkerDetections(NamedTuple):
    """Markers detected in an image."""

    ids: np.ndarray
    """(k,) id of each marker in its dictionary."""
    corners: np.ndarray
    """(k, 4, 2) corners [px], clockwise from the top left of the marker."""


class MarkerSearch(NamedTuple):
    """Neighbourhoods with whose mean a pixel is compared in the search for markers."""

    windows: tuple[int, int]
    """Smallest and largest side [px]."""
    window_step: int
    """Step between sides [px]."""


SEARCHES = MarkerSearch((5, 65), 15), MarkerSearch((3, 23), 5)
"""Searches for markers that the defaults of OpenCV do not find, in this order."""


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
    return side * _UNIT_CORNERS


def marker_corners(block_size: float) -> np.ndarray:
    """Return the corners of the markers of a block, in the block frame, (6, 4, 3) [m]."""
    normal = _FACE_AXES[:, None, 0] / 2
    return block_size * (normal + (_UNIT_CORNERS - normal) * MARKER_FRACTION)


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


def detect_markers(
    gray: np.ndarray, dictionary: str = DEFAULT_DICTIONARY, search: MarkerSearch | None = None
) -> MarkerDetections:
    """Detect the markers in a grey image, with subpixel corners.

    Args:
        gray: (H, W) uint8.
        dictionary: name of the dictionary.
        search: how to search; None: with the defaults of OpenCV.
    """
    searched = gray if search is None else stretch_contrast(gray)
    ids, quads = detect_markers_opencv(searched, dictionary=dictionary, search=search)
    corners = refine_corners(gray, quads)
    distance = np.abs(corners[:, None] - corners[None]).max(axis=(2, 3))  # (k, k)
    apart = distance > DUPLICATE_DISTANCE
    duplicate = np.tril((ids[:, None] == ids) & ~apart, -1).any(axis=1)
    return MarkerDetections(ids[~duplicate], corners[~duplicate])


def stretch_contrast(gray: np.ndarray) -> np.ndarray:
    """Return a grey image (H, W) with nearly all of the range of grey levels."""
    low, high = np.percentile(gray[::4, ::4], STRETCHED_PERCENTILES)
    factor = min(STRETCHED_RANGE / max(high - low, 1.0), MAX_STRETCH)
    table = np.clip((np.arange(256) - low) * factor, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(gray, table))


def detect_markers_opencv(
    gray: np.ndarray,
    subpixel: bool = False,
    dictionary: str = DEFAULT_DICTIONARY,
    search: MarkerSearch | None = None,
) -> MarkerDetections:
    """Detect the markers in a grey image with OpenCV alone.

    Args:
        gray: (H, W) uint8.
        subpixel: whether to refine the corners with cornerSubPix.
        dictionary: name of the dictionary.
        search: how to search; None: with the defaults of OpenCV.
    """
    modern = hasattr(cv2.aruco, "ArucoDetector")
    # up to 4.6, DetectorParameters() returns an object that crashes on use
    create = cv2.aruco.DetectorParameters if modern else cv2.aruco.DetectorParameters_create  # type: ignore[attr-defined]
    parameters = create()
    if subpixel:
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    if search is not None:
        parameters.adaptiveThreshWinSizeMin, parameters.adaptiveThreshWinSizeMax = search.windows
        parameters.adaptiveThreshWinSizeStep = search.window_step
        parameters.adaptiveThreshConstant = SEARCH_THRESHOLD
        parameters.perspectiveRemovePixelPerCell = SEARCH_CELL
        parameters.perspectiveRemoveIgnoredMarginPerCell = SEARCH_CELL_MARGIN
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
