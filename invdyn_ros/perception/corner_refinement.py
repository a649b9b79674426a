"""Subpixel corners of markers: intersections of lines along their sides.

The window of cornerSubPix around a corner extends over the margin to the edge of the block, with
errors of up to 2 px for a marker of 50 px; a search across a side avoids them.
"""

from __future__ import annotations

import cv2
import numpy as np

SIDE_FRACTIONS = np.linspace(0.08, 0.92, 24)  # positions along a side of the searches across it
SEARCH_SAMPLES = 24  # samples of a search across a side
UNIT_STEPS = np.linspace(0.0, 1.0, SEARCH_SAMPLES)
# Depths of the searches into and out of the marker, relative to its size. In front of a bright
# wall, OpenCV may regard the margin of a shaded face as a part of the marker, so the first search
# starts deep inside the black border.
SEARCH_DEPTHS = ((0.18, 0.1), (0.08, 0.08), (0.08, 0.08))
SEARCH_RANGE = 1.0, 3.0  # minimum and maximum depth of the later searches [px]
INLIER_FRACTION = 0.8  # fraction of the edge points of a side that are not rejected
EDGE_THRESHOLD = 0.5  # minimum step of the grey level at an edge, relative to the largest step
MAX_CORNER_SHIFT = 0.25  # relative to the longest side; larger refinements are rejected
MIN_SINE = 0.1  # sine of the smallest angle between adjacent sides of a valid marker
NEXT, AFTER_NEXT, LAST = [1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2]  # corners from each one


def refine_corners(gray: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Return refined corners (k, 4, 2) [px] of markers; as they were where no lines are found.

    Args:
        gray: (H, W) uint8.
        quads: (k, 4, 2) corners [px], clockwise.
    """
    if not len(quads):
        return quads
    corners, good = quads, np.ones(len(quads), bool)
    for iteration, fractions in enumerate(SEARCH_DEPTHS):
        along, across = _side_points(corners, fractions, bounded=iteration > 0)
        pixels = (corners[:, :, None] + along)[:, :, :, None] + across[:, :, None]
        x, y = pixels.transpose(4, 0, 1, 2, 3).reshape(2, -1, SEARCH_SAMPLES).astype(np.float32)
        levels = cv2.remap(gray, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        levels = np.asarray(levels, np.float32).reshape(pixels.shape[:4])  # (k, 4, p, s)
        rise = np.maximum(levels[..., 1:] - levels[..., :-1], 0.0)
        place = _first_edge(rise) if iteration == 0 else _edge_centroid(rise)  # (k, 4, p)
        step = across[:, :, 1] - across[:, :, 0]
        edge = corners[:, :, None] + along + across[:, :, :1]
        edge = edge + (place[..., None] + 0.5) * step[:, :, None]
        lines = _fit_lines_robustly(edge)  # side i starts at corner i
        a, b = lines[:, LAST], lines
        crossing = np.stack([
            a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1],
            a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2],
        ], axis=-1)  # fmt: skip
        sine = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
        good &= np.abs(sine).min(axis=1) >= MIN_SINE
        corners = np.where(
            good[:, None, None], crossing / np.where(sine, sine, 1)[..., None], quads
        )
    longest = np.linalg.norm(quads - quads[:, NEXT], axis=2).max(axis=1)
    good &= np.abs(corners - quads).max(axis=(1, 2)) < MAX_CORNER_SHIFT * longest
    return np.where(good[:, None, None], corners, quads)


def _first_edge(rise: np.ndarray) -> np.ndarray:
    """Return the index (k, 4, p) of the first steep rise (k, 4, p, s) of the grey level."""
    strong = rise >= EDGE_THRESHOLD * rise.max(axis=3, keepdims=True)
    return np.asarray(strong.argmax(axis=3))


def _edge_centroid(rise: np.ndarray) -> np.ndarray:
    """Return the mean index (k, 4, p) of the rise (k, 4, p, s); the middle if there is none."""
    weight = rise * rise + np.float32(1e-9)
    return np.asarray((weight @ np.arange(rise.shape[3], dtype=np.float32)) / weight.sum(axis=3))


def _side_points(
    quads: np.ndarray, depth_fractions: tuple[float, float], bounded: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sample points of the searches for the sides of markers, as offsets.

    Args:
        quads: (k, 4, 2) corners [px].
        depth_fractions: depth of the search inwards and outwards, relative to the marker.
        bounded: whether to limit the depth to SEARCH_RANGE.

    Returns:
        Offsets from each corner along the side that starts there, (k, 4, p, 2), and across it
        from inside to outside, (k, 4, s, 2) [px].
    """
    side = quads[:, NEXT] - quads
    normal = np.stack([side[..., 1], -side[..., 0]], axis=-1)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    inward = [-np.sum((quads[:, other] - quads) * normal, axis=2) for other in (AFTER_NEXT, LAST)]
    depth = np.minimum(*inward)  # (k, 4) of the marker behind each side
    low, high = SEARCH_RANGE
    extent = np.multiply.outer(depth, depth_fractions)  # (k, 4, 2)
    extent = np.clip(extent, low, high if bounded else np.inf)
    steps = -extent[..., :1] + extent.sum(axis=2, keepdims=True) * UNIT_STEPS  # (k, 4, s)
    along = SIDE_FRACTIONS[:, None] * side[:, :, None]
    return along, steps[..., None] * normal[:, :, None]


def _fit_lines_robustly(points: np.ndarray) -> np.ndarray:
    """Return homogeneous lines (k, 4, 3) fitted to points (k, 4, p, 2) [px] without outliers."""
    lines = _fit_lines(points, np.ones(points.shape[:3]))
    distance = np.abs((points @ lines[..., :2, None])[..., 0] + lines[..., 2:])
    last = int(INLIER_FRACTION * (distance.shape[2] - 1))
    limit = np.partition(distance, last, axis=2)[..., last : last + 1]
    return _fit_lines(points, (distance <= limit).astype(float))


def _fit_lines(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return total least squares lines (k, 4, 3), homogeneous with unit normals, through points.

    Args:
        points: (k, 4, p, 2) [px].
        weights: (k, 4, p) weights of the points.
    """
    weights = (weights / weights.sum(axis=2, keepdims=True))[..., None]
    center = (weights * points).sum(axis=2)
    offsets = points - center[:, :, None]
    xx, xy, yy = (
        (weights[..., 0] * offsets[..., i] * offsets[..., j]).sum(axis=2)
        for i, j in ((0, 0), (0, 1), (1, 1))
    )
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)  # of the line
    normal = np.stack([-np.sin(angle), np.cos(angle)], axis=-1)
    return np.concatenate([normal, -np.sum(normal * center, axis=2, keepdims=True)], axis=2)
