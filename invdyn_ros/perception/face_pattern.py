"""Pattern of a marked face and its image, blurred by a lens that is out of focus or a motion.

The blur of an edge along x by a Gaussian is an error function of x. The blur of a tilted face is
not along its sides, and that of a disc or a line is no Gaussian: both add derivatives of the
pattern (the heat equation, and the first term of an Edgeworth series). So the image of a face is
a sum of products of functions of x and of y, without rendering.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from invdyn_ros.perception.aruco_cube import MARKER_FRACTION, face_image, face_pixels
from invdyn_ros.robots.block_markers import BlockMarkers, load_dictionary

INV_SQRT_2PI = 1 / np.sqrt(2 * np.pi)
NUM_LEVELS = 6  # of a face: white, black, and beyond its left, right, upper and lower side


class FacePattern(NamedTuple):
    """Cells of a face: its white margin, the black border of its marker and the bits."""

    face: int
    """Index of the face."""
    white: np.ndarray
    """(k, k) 1 for a white cell, 0 for a black one, along x (to the right) and y (down)."""
    edges: np.ndarray
    """(k + 1,) edges between the cells, from 0 to 1 side of the block."""


class FaceImage(NamedTuple):
    """Grey levels of n points of a face and their derivatives."""

    grey: np.ndarray
    """(n,) grey levels."""
    basis: np.ndarray
    """(n, NUM_LEVELS) derivative with respect to the levels."""
    gradient: np.ndarray
    """(n, 2) derivative with respect to x and y."""
    curvature: np.ndarray
    """(n, 2) derivative with respect to the variances of the blur along x and y."""
    shape: np.ndarray
    """(n,) derivative with respect to the shape of the blur."""


@lru_cache
def face_patterns(markers: BlockMarkers) -> dict[int, FacePattern]:
    """Return the patterns of the faces with a marker, by the index of the face."""
    cells = load_dictionary(markers.dictionary).bits + 2  # with the black border
    pixels = face_pixels(markers.dictionary, 10 * cells)
    centers = pixels * (
        0.5 - MARKER_FRACTION / 2 + MARKER_FRACTION * (np.arange(cells) + 0.5) / cells
    )
    inner = 0.5 - MARKER_FRACTION / 2 + MARKER_FRACTION * np.arange(cells + 1) / cells
    edges = np.concatenate([[0.0], inner, [1.0]])
    patterns = {}
    for face, marker in enumerate(markers.ids):
        if marker is not None:
            image = face_image(marker, pixels, markers.dictionary)
            bits = image[np.ix_(centers.astype(int), centers.astype(int))].T > 127
            white = np.pad(bits.astype(float), 1, constant_values=1.0)
            patterns[face] = FacePattern(face, white, edges)
    return patterns


def blurred_image(
    pattern: FacePattern,
    points: np.ndarray,
    blur: np.ndarray,
    shape: float,
    levels: np.ndarray | None,
    observed: np.ndarray,
) -> tuple[FaceImage, np.ndarray]:
    """Return the image of a face, and the grey levels of its parts (NUM_LEVELS,).

    Args:
        pattern: the face.
        points: (2, n) x and y on the face [sides of the block].
        blur: (3, n) variance along x, covariance, and variance along y [sides^2].
        shape: factor of the fourth derivative: -0.05 for a line, 0 for a Gaussian.
        levels: (NUM_LEVELS,) grey levels; None: those that fit best to the observed ones.
        observed: (n,) grey levels.
    """
    xx, xy, yy = blur
    u, v = _cell_weights(points[0], xx, pattern.edges), _cell_weights(points[1], yy, pattern.edges)
    basis = _basis(pattern, u[0], v[0])
    if levels is None:
        levels = np.linalg.lstsq(basis, observed, rcond=1e-4)[0]
    U = u @ _grid(pattern, levels)  # (5, n, k + 2)

    def term(i: int, j: int) -> np.ndarray:
        return np.asarray(np.einsum("nk,nk->n", U[i], v[j]))

    mixed = term(2, 2)
    fourth = xx**2 * term(4, 0) + yy**2 * term(0, 4) + (2 * xx * yy + 4 * xy**2) * mixed
    fourth += 4 * xy * (xx * term(3, 1) + yy * term(1, 3))
    grey = term(0, 0) + xy * (term(1, 1) + xy / 2 * (mixed + xy / 3 * term(3, 3)))
    gradient = np.column_stack([term(1, 0), term(0, 1)])
    curvature = np.column_stack([term(2, 0), term(0, 2)]) / 2
    return FaceImage(grey + shape * fourth, basis, gradient, curvature, fourth), levels


def _basis(pattern: FacePattern, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the weights (n, NUM_LEVELS) of the levels from those of the columns and rows."""
    basis = np.empty((len(u), NUM_LEVELS))
    inside_u, inside_v = 1 - u[:, 0] - u[:, -1], 1 - v[:, 0] - v[:, -1]
    basis[:, 0] = np.einsum("nk,nk->n", u[:, 1:-1] @ pattern.white, v[:, 1:-1])
    basis[:, 1] = inside_u * inside_v - basis[:, 0]
    basis[:, 2], basis[:, 3] = u[:, 0], u[:, -1]
    basis[:, 4], basis[:, 5] = inside_u * v[:, 0], inside_u * v[:, -1]
    return basis


def _grid(pattern: FacePattern, levels: np.ndarray) -> np.ndarray:
    """Return the grey levels (k + 2, k + 2) of the cells and of what is beyond the face."""
    white, black, left, right, above, below = levels
    grid = np.pad(black + (white - black) * pattern.white, 1)
    grid[0], grid[-1] = left, right
    grid[1:-1, 0], grid[1:-1, -1] = above, below
    return grid


def _cell_weights(position: np.ndarray, variance: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the weights of cells along an axis and four derivatives, (5, n, k + 2).

    Args:
        position: (n,) on the face [sides].
        variance: (n,) of the blur [sides^2].
        edges: (k + 1,) between the cells [sides].
    """
    scale = (1 / np.sqrt(variance))[:, None]
    z = (position[:, None] - edges) * scale
    beyond = np.zeros((5, len(position), len(edges) + 2))
    beyond[0, :, 0] = 1.0
    inner = beyond[:, :, 1:-1]
    ndtr(z, out=inner[0])
    square = z * z
    density = np.exp(-0.5 * square) * (INV_SQRT_2PI * scale)
    inner[1] = density
    density = density * scale
    inner[2] = -z * density
    density = density * scale
    inner[3] = (square - 1) * density
    inner[4] = z * (3 - square) * density * scale
    return np.asarray(beyond[:, :, :-1] - beyond[:, :, 1:])
