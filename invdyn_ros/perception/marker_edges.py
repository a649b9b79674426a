"""Observed sides of markers and their accuracy.

Each side of a marker is a line in the image. Two points of a line contain all information of
points spread evenly along it; their errors are independent if they lie at `SAMPLE_FRACTIONS`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.perception.aruco_cube import marker_corners

SAMPLE_FRACTIONS = 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3)  # of the length of a side
# Side length and marker thickness at which the variance across a side is twice that of a large
# marker [px].
NOISE_LENGTH_SCALE, NOISE_THICKNESS_SCALE = 36.0, 25.0


class EdgeSamples(NamedTuple):
    """Two sample points on each of m observed sides."""

    points: np.ndarray
    """(2 m, 3) positions in the block frame [m]."""
    pixels: np.ndarray
    """(2 m, 2) observed positions [px]; only the component across the side counts."""
    weighted_normals: np.ndarray
    """(2 m, 2) unit normals of the sides over the standard deviation across them [1/px]."""


def edge_samples(
    faces: np.ndarray, quads: np.ndarray, block_size: float, edge_noise_std: float
) -> EdgeSamples:
    """Sample the sides of observed markers.

    Args:
        faces: (k,) indices of the faces of the markers.
        quads: (k, 4, 2) corners of the markers [px].
        block_size: side of the block [m].
        edge_noise_std: standard deviation across a side of a large marker [px].
    """
    weights = np.column_stack([1 - SAMPLE_FRACTIONS, SAMPLE_FRACTIONS])  # (2, 2) of both ends

    def along_sides(corners: np.ndarray) -> np.ndarray:
        ends = np.stack([corners, np.roll(corners, -1, axis=1)], axis=2)  # (k, 4, 2 ends, d)
        return np.asarray(weights @ ends).reshape(-1, corners.shape[-1])

    side = np.roll(quads, -1, axis=1) - quads
    length = np.linalg.norm(side, axis=2)  # (k, 4)
    normal = np.stack([side[..., 1], -side[..., 0]], axis=-1) / length[..., None]
    weighted = normal / edge_std(quads, edge_noise_std)[..., None]
    points = marker_corners(block_size)[faces]
    normals = np.repeat(weighted.reshape(-1, 2), 2, axis=0)
    return EdgeSamples(along_sides(points), along_sides(quads), normals)


def edge_std(quads: np.ndarray, edge_noise_std: float) -> np.ndarray:
    """Return the standard deviation (k, 4) across the sides of markers [px].

    A short side is averaged over few pixels. The uniform margin beside a side of a thin marker is
    too narrow to locate the side precisely.

    Args:
        quads: (k, 4, 2) corners of the markers [px].
        edge_noise_std: standard deviation across a side of a large marker [px].
    """
    length, depth = _lengths_and_depths(quads)
    variance = 1.0 + (NOISE_LENGTH_SCALE / length) ** 2 + (NOISE_THICKNESS_SCALE / depth) ** 4
    return np.asarray(edge_noise_std * np.sqrt(variance))


def marker_thickness(quads: np.ndarray) -> np.ndarray:
    """Return the thickness (k,) of markers (k, 4, 2), the area over the longest side [px]."""
    return np.asarray(_lengths_and_depths(quads)[1].min(axis=1))


def _lengths_and_depths(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the length of each side (k, 4), and the area of the marker over that length [px]."""
    length = np.linalg.norm(np.roll(quads, -1, axis=1) - quads, axis=2)
    diagonals = quads[:, 2:] - quads[:, :2]  # (k, 2, 2)
    return length, np.abs(np.linalg.det(diagonals))[:, None] / 2 / length
