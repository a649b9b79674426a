"""Which of the poses that explain a block's corners is right: an image enters; their costs leave.

A small marker looks nearly the same tilted to either side: its corners say little, but the faces
beside it, too thin to be read, and the outline of the block lie elsewhere. All costs are
-2 log likelihood, so that they add up.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.block_fit import BlockFit, turn
from invdyn_ros.perception.markers import FACES, face_corners, face_image, face_normals

TEXTURE = 60  # side of a face's picture [px]
SAMPLES = 4  # of a drawn block, per pixel and axis
BLUR = 0.7  # of a usual lens, standard deviation [px]
RING = 2  # of background around the block that is looked at [px]
CORRELATED = 10.0  # so many pixels err together, as edges do when the pose is not exact
NOISE_FLOOR = 1.0  # of a pixel, standard deviation [grey levels]
CERTAIN = 25.0  # corners that tell two poses apart by so much need no picture
TRACK_TURN = 0.1  # a block turns so much between two images [rad]
TRACK_LIMIT = 9.0  # the past says so much at most against a pose
FADING = 0.8  # of what the past says, per image


class Mode(NamedTuple):
    """One of the poses that a block may have."""

    T_camera_block: np.ndarray
    """(4, 4)."""
    cost: float
    """-2 log likelihood, 0 for the likeliest."""


def rank(fits: list[BlockFit], costs: np.ndarray) -> tuple[BlockFit, tuple[Mode, ...]]:
    """Return the likeliest pose and all modes, it first.

    Its covariance about it includes the chance that another mode is true.

    Args:
        fits: the poses that explain the corners, at least one.
        costs: (n,) of each.
    """
    order = np.argsort(costs, kind="stable")
    least = costs[order[0]]
    modes = tuple(Mode(fits[i].T_camera_block, float(costs[i] - least)) for i in order)
    weights = np.exp(-0.5 * np.array([mode.cost for mode in modes]))
    best, covariance = fits[order[0]], np.zeros((6, 6))
    for i, weight in zip(order, weights / weights.sum(), strict=True):
        away = _difference(fits[i].T_camera_block, best.T_camera_block)
        covariance += weight * (fits[i].covariance + np.outer(away, away))
    return best._replace(covariance=covariance), modes


def corner_costs(fits: list[BlockFit]) -> np.ndarray:
    """What the corners say of each pose, (n,)."""
    return np.array([fit.cost for fit in fits])


def track_costs(fits: list[BlockFit], before: tuple[Mode, ...]) -> np.ndarray:
    """What the image before says of each pose, (n,); it never outweighs a clear picture."""
    if not before:
        return np.zeros(len(fits))
    costs = [
        min(FADING * mode.cost + (turn(fit.T_camera_block, mode[0]) / TRACK_TURN) ** 2
            for mode in before)
        for fit in fits
    ]  # fmt: skip
    return np.minimum(costs, TRACK_LIMIT)


def picture_costs(
    fits: list[BlockFit],
    gray: np.ndarray,
    block: int,
    block_size: float,
    camera: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """What the picture says of each pose, (n,): the block is drawn in each and compared.

    Brightness of every face, black and background are whatever fits best.

    Args:
        fits: the poses.
        gray: (H, W) uint8.
        block: its number, which gives the ids of its markers.
        block_size: side of the block [m].
        camera: intrinsics (3, 3) [px] and distortion.
    """
    corners = face_corners(block_size)
    outlines = [_project(corners, fit.T_camera_block, camera) for fit in fits]  # (6, 4, 2) each
    low, high = _window(np.array(outlines), gray.shape)
    seen = gray[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    if seen.size == 0:
        return np.zeros(len(fits))
    drawn = [
        _draw(outline - low, _visible(fit.T_camera_block, block_size), block, seen.shape)
        for fit, outline in zip(fits, outlines, strict=True)
    ]
    covered = np.sum([d[..., 1].sum(axis=0) for d in drawn], axis=0)
    near = np.asarray(cv2.dilate(covered, np.ones((2 * RING + 1,) * 2))) > 0
    pixels = int(near.sum())
    residuals = [_residual(seen[near], d[:, near]) for d in drawn]
    variances = np.array(residuals) / pixels + NOISE_FLOOR**2
    return np.asarray(pixels / CORRELATED * np.log(variances / variances.min()))


def _draw(outline: np.ndarray, faces: np.ndarray, block: int, size: tuple[int, ...]) -> np.ndarray:
    """Visible faces (m) of a block with corners (6, 4, 2) [px]: (m, h, w, 2) white and covered.

    White is the share of a pixel that shows white of the face, covered that shows the face.
    """
    h, w = size
    square = TEXTURE * np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) - 0.5
    drawn = np.zeros((len(faces), h, w, 2), np.float32)
    for canvas, face in zip(drawn, faces, strict=True):
        white = face_image(FACES * block + int(face), TEXTURE).astype(np.float32) / 255
        texture = np.dstack([white, np.ones_like(white)])
        corners = (SAMPLES * (outline[face] + 0.5) - 0.5).astype(np.float32)
        H = cv2.getPerspectiveTransform(square.astype(np.float32), corners)
        fine = cv2.warpPerspective(texture, H, (SAMPLES * w, SAMPLES * h))
        coarse = cv2.resize(fine, (w, h), interpolation=cv2.INTER_AREA)
        canvas[:] = cv2.GaussianBlur(coarse, (0, 0), BLUR)
    return drawn


def _residual(seen: np.ndarray, drawn: np.ndarray) -> float:
    """Squared difference that is left between pixels (n,) and faces (m, n, 2) as drawn."""
    covered = drawn[..., 1].sum(axis=0)
    columns = np.column_stack([*drawn[..., 0], covered, 1 - covered])
    levels = np.linalg.lstsq(columns, seen, rcond=None)[0]
    return float(np.sum((seen - columns @ levels) ** 2))


def _visible(T: np.ndarray, block_size: float) -> np.ndarray:
    """Faces (m,) of a block at T (4, 4) that look towards the camera."""
    normals = face_normals() @ T[:3, :3].T
    centres = normals * block_size / 2 + T[:3, 3]
    return np.flatnonzero(np.sum(normals * centres, axis=1) < 0)


def _project(
    points: np.ndarray, T: np.ndarray, camera: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Points (6, 4, 3) [m] of a block at T (4, 4) in the image, (6, 4, 2) [px]."""
    rotation = cv2.Rodrigues(T[:3, :3])[0]
    pixels = cv2.projectPoints(points.reshape(-1, 3), rotation, T[:3, 3], *camera)[0]
    return np.asarray(pixels).reshape(6, 4, 2)


def _window(points: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel (x, y) of the part of an image that points (..., 2) lie in."""
    flat, size = points.reshape(-1, 2), (shape[1], shape[0])
    margin = 2 * RING
    low = np.clip(np.floor(flat.min(axis=0)).astype(int) - margin, 0, size)
    high = np.clip(np.ceil(flat.max(axis=0)).astype(int) + margin + 1, 0, size)
    return low, high


def _difference(T: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Shift [m] and turn [rad] about the camera's axes from another pose to T, (6,)."""
    return np.concatenate([
        T[:3, 3] - other[:3, 3], cv2.Rodrigues(T[:3, :3] @ other[:3, :3].T)[0].ravel()
    ])  # fmt: skip
