"""Pattern of a marked face and its image, blurred by a lens that is out of focus or a motion.

The blur of an edge along x by a Gaussian is an error function of x. The blur of a tilted face is
not along its sides, and that of a disc or a line is no Gaussian: both add derivatives of the
pattern (the heat equation, and the first term of an Edgeworth series). So the image of a face is
a sum of products of functions of x and of y, without rendering.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from invdyn_ros.perception.aruco_cube import MARKER_FRACTION, face_image, face_pixels
from invdyn_ros.robots.block_markers import BlockMarkers, load_dictionary

INV_SQRT_2PI = 1 / np.sqrt(2 * np.pi)
NUM_LEVELS = 6  # of a face: white, black, and beyond its left, right, upper and lower side
MAX_DEVIATIONS = np.float32(7.0)  # beyond, an edge is not blurred; products would be denormal
RANK_TOLERANCE = 1e-8  # relative, of squared singular values
# of an approximation of the error function, Abramowitz and Stegun (1964), eq. 7.1.26
ERF_SCALE = 0.3275911 / np.sqrt(2)
ERF_COEFFICIENTS = 1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592


class FacePattern(NamedTuple):
    """Cells of a face: its white margin, the black border of its marker and the bits."""

    face: int
    """Index of the face."""
    edges: np.ndarray
    """(k + 1, 1) edges between the cells, from 0 to 1 side of the block, float32."""
    white: np.ndarray
    """(k, k) whether each cell is white, along x (to the right) and y (down)."""
    jumps: np.ndarray
    """(NUM_LEVELS, k + 2, k + 2) of the image of each level with that level 1 and the others 0:
    the first row and column hold it beyond the upper left corner, others how much it rises at an
    edge along x (to the right) and y (down), float32."""


class FacesImage(NamedTuple):
    """Grey levels of n points of f faces and their derivatives."""

    grey: np.ndarray
    """(n,) grey levels."""
    basis: np.ndarray
    """(NUM_LEVELS, n) derivative with respect to the levels of the face."""
    gradient: np.ndarray
    """(2, n) derivative with respect to x and y."""
    curvature: np.ndarray
    """(2, n) derivative with respect to the variances of the blur along x and y."""
    shape: np.ndarray
    """(n,) derivative with respect to the shape of the blur."""
    levels: np.ndarray
    """(f, NUM_LEVELS) grey levels of the parts of each face."""


@lru_cache
def face_patterns(markers: BlockMarkers) -> dict[int, FacePattern]:
    """Return the patterns of the faces with a marker, by the index of the face."""
    cells = load_dictionary(markers.dictionary).bits + 2  # with the black border
    pixels = face_pixels(markers.dictionary, 10 * cells)
    centers = pixels * (
        0.5 - MARKER_FRACTION / 2 + MARKER_FRACTION * (np.arange(cells) + 0.5) / cells
    )
    inner = 0.5 - MARKER_FRACTION / 2 + MARKER_FRACTION * np.arange(cells + 1) / cells
    edges = np.concatenate([[0.0], inner, [1.0]]).astype(np.float32)[:, None]
    patterns = {}
    for face, marker in enumerate(markers.ids):
        if marker is not None:
            image = face_image(marker, pixels, markers.dictionary)
            bits = image[np.ix_(centers.astype(int), centers.astype(int))].T > 127
            white = np.pad(bits.astype(float), 1, constant_values=1.0)
            patterns[face] = FacePattern(face, edges, white > 0, _jumps(white))
    return patterns


def _jumps(white: np.ndarray) -> np.ndarray:
    """Return the jumps, see `FacePattern`, for white cells (k, k)."""
    grids = np.zeros((NUM_LEVELS, len(white) + 2, len(white) + 2))
    grids[0, 1:-1, 1:-1], grids[1, 1:-1, 1:-1] = white, 1 - white
    grids[2, 0], grids[3, -1] = 1.0, 1.0
    grids[4, 1:-1, 0], grids[5, 1:-1, -1] = 1.0, 1.0
    jumps = np.diff(np.diff(grids, axis=1, prepend=0.0), axis=2, prepend=0.0)
    return jumps.astype(np.float32)


def edge_profiles(points: np.ndarray, variances: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return how much of each edge lies before points, and four derivatives, (5, 2, k + 2, n).

    The first edge, before all, is that of the image.

    Args:
        points: (2, n) x and y on the face [sides of the block], float32.
        variances: (2, n) of the blur along x and y [sides^2], float32.
        edges: (k + 1, 1) between the cells [sides], float32.
    """
    profiles = np.empty((5, 2, len(edges) + 1, points.shape[1]), np.float32)
    profiles[0, :, 0], profiles[1:, :, 0] = 1.0, 0.0
    inner = profiles[:, :, 1:]
    scale = (1 / np.sqrt(variances))[:, None]
    z = (points[:, None] - edges) * scale
    np.clip(z, -MAX_DEVIATIONS, MAX_DEVIATIONS, out=z)
    square = z * z
    bell = np.exp(-0.5 * square)
    t = 1 / (1 + np.float32(ERF_SCALE) * np.abs(z))
    tail = np.float32(ERF_COEFFICIENTS[0]) * t
    for coefficient in ERF_COEFFICIENTS[1:]:
        tail += np.float32(coefficient)
        tail *= t
    tail *= bell
    tail -= 1
    np.copysign(tail, z, out=tail)
    np.multiply(tail, np.float32(0.5), out=inner[0])
    inner[0] += np.float32(0.5)
    bell *= np.float32(INV_SQRT_2PI) * scale
    inner[1] = bell
    bell *= scale
    np.multiply(-z, bell, out=inner[2])
    bell *= scale
    np.multiply(square - 1, bell, out=inner[3])
    bell *= scale
    bell *= z
    np.multiply(3 - square, bell, out=inner[4])
    return profiles


def blurred_image(
    patterns: Sequence[FacePattern],
    parts: Sequence[slice],
    profiles: np.ndarray,
    blur: np.ndarray,
    shape: float,
    levels: np.ndarray | None,
    observed: np.ndarray,
) -> FacesImage:
    """Return the image of points of faces.

    Args:
        patterns: of f faces.
        parts: points of each face.
        profiles: (5, 2, k + 2, n) of the edges at the points, see `edge_profiles`.
        blur: (3, n) variance along x, covariance, and variance along y [sides^2].
        shape: factor of the fourth derivative: -0.05 for a line, 0 for a Gaussian.
        levels: (f, NUM_LEVELS) grey levels; None: those that fit best to the observed ones.
        observed: (n,) grey levels.
    """
    u, v = profiles[:, 0], profiles[:, 1]
    basis = _basis(patterns, parts, u[0], v[0])
    if levels is None:
        levels = np.array([_fit_levels(basis[:, part], observed[part]) for part in parts])
    U, grey = np.empty_like(u), np.empty(len(observed))  # (5, k + 2, n)
    for pattern, part, of_face in zip(patterns, parts, levels, strict=True):
        jumps = (of_face.astype(np.float32) @ pattern.jumps.reshape(NUM_LEVELS, -1)).reshape(
            pattern.jumps.shape[1:]
        )
        np.matmul(jumps.T, u[..., part], out=U[..., part])
        np.matmul(of_face, basis[:, part], out=grey[part])
    along_x = np.einsum("ikn,kn->in", U[1:], v[0])  # derivatives of order 1 to 4
    along_y = np.einsum("ikn,kn->in", v[1:], U[0])
    both = np.einsum("ikn,ikn->in", U[1:4], v[1:4])
    # of order 3 along one axis and 1 along the other
    across = np.einsum("ikn,ikn->in", U[3:0:-2], v[1:4:2])
    xx, xy, yy = blur
    fourth = xx**2 * along_x[3] + yy**2 * along_y[3] + (2 * xx * yy + 4 * xy**2) * both[1]
    fourth += 4 * xy * (xx * across[0] + yy * across[1])
    grey += xy * (both[0] + xy / 2 * (both[1] + xy / 3 * both[2])) + shape * fourth
    gradient = np.stack([along_x[0], along_y[0]])
    curvature = np.stack([along_x[1], along_y[1]]) / 2
    return FacesImage(grey, basis, gradient, curvature, fourth, levels)


def _basis(
    patterns: Sequence[FacePattern], parts: Sequence[slice], u: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """Return the weights (NUM_LEVELS, n) of the levels from the profiles (k + 2, n) of edges."""
    basis = np.empty((NUM_LEVELS, u.shape[1]))
    inside_u, inside_v = u[1] - u[-1], v[1] - v[-1]
    for pattern, part in zip(patterns, parts, strict=True):
        white = pattern.jumps[0].T @ u[:, part]
        np.einsum("kn,kn->n", white, v[:, part], out=basis[0, part])
    basis[1] = inside_u * inside_v - basis[0]
    basis[2], basis[3] = 1 - u[1], u[-1]
    basis[4], basis[5] = inside_u * (1 - v[1]), inside_u * v[-1]
    return basis


def _fit_levels(basis: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return the levels (NUM_LEVELS,) that fit best; 0 for those that no pixel shows."""
    values, vectors = np.linalg.eigh(basis @ basis.T)
    inverse = np.where(values > RANK_TOLERANCE * values[-1], 1 / np.maximum(values, 1e-12), 0.0)
    return np.asarray(vectors @ (inverse * (vectors.T @ (basis @ observed))))
