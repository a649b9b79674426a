"""Predicted grey levels of pixels that show the faces of a block, and their derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import face_axes, face_corners
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.face_pattern import (
    NUM_LEVELS,
    FacePattern,
    blurred_image,
    edge_profiles,
)
from invdyn_ros.perception.rigid_transforms import apply_step

SHAPE_LIMITS = -0.08, 0.04  # of a blur
MIN_BLUR_VARIANCE = 0.12  # of the image of a point; that of a pixel is 1/12 [px^2]
BLUR, SHAPE, NUM_SHARED = slice(6, 10), 9, 10  # parameters: pose, blur, then levels of each face

INWARD_AXES = np.stack(
    [face_axes()[:, 1], np.cross(face_axes()[:, 1], face_axes()[:, 0]), -face_axes()[:, 0]],
    axis=1,
)


class ImageModel(NamedTuple):
    """Parameters of the image of a block."""

    T_camera_block: np.ndarray
    """(4, 4)."""
    blur: np.ndarray
    """(4,) covariance xx, xy, yy of the image of a point [px^2], and shape [-]."""
    levels: np.ndarray | None
    """(f, NUM_LEVELS) grey levels of each face."""

    @property
    def blur_std(self) -> float:
        """Standard deviation of the image of a point, the mean over directions [px]."""
        return float(np.sqrt((self.blur[0] + self.blur[2]) / 2))

    def moved(self, step: np.ndarray) -> ImageModel:
        """Return the model after a step (p,) of all parameters."""
        assert self.levels is not None
        levels = self.levels + step[NUM_SHARED:].reshape(-1, NUM_LEVELS)
        blur = _valid_blur(self.blur + step[BLUR])
        return ImageModel(apply_step(self.T_camera_block, step[:6]), blur, levels)


class PixelErrors(NamedTuple):
    """Differences of n pixels from a model, and their derivative; both without weights."""

    residual: np.ndarray
    """(n,) observed minus predicted [grey levels]."""
    jacobian: np.ndarray
    """(p, n) derivative of the prediction."""
    model: ImageModel
    """The model, with its levels."""


class FacePoints(NamedTuple):
    """Points of f faces that n pixels show."""

    axes: np.ndarray
    """(f, 3, 3) of each face in the camera: right, down and inward."""
    rays: np.ndarray
    """(3, n) of the pixels in the axes of the face that they meet."""
    distance: np.ndarray
    """(n,) of the points, along the rays."""
    points: np.ndarray
    """(2, n) x and y on the face [sides of the block]."""
    slopes: np.ndarray
    """(2, 2, n) derivative of the points by x and y of the pixel [sides/px]."""


class FacePixels:
    """Pixels of some faces of a block near one pose."""

    def __init__(
        self,
        gray: np.ndarray,
        lens: CameraIntrinsics,
        block_size: float,
        patterns: Sequence[FacePattern],
        T: np.ndarray,
        max_pixels: int,
    ) -> None:
        """Select the pixels.

        Args:
            gray: (H, W) uint8.
            lens: the camera.
            block_size: side of the block [m].
            patterns: of the faces, one at least.
            T: (4, 4) pose near the true one.
            max_pixels: number of pixels to compare, spread evenly.
        """
        self.patterns, self.block_size = patterns, block_size
        faces = [pattern.face for pattern in patterns]
        corners = face_corners(block_size)[faces]
        # right, down and into each face, (f, 3, 3), and its upper left corner, (f, 3)
        self.axes, self.origins = INWARD_AXES[faces], corners[:, 0]
        quads = lens.project(corners @ T[:3, :3].T + T[:3, 3])
        count = max_pixels // len(patterns)
        pixels = [_pixels_in(quad, gray.shape, count) for quad in quads]
        sizes = list(map(len, pixels))
        ends = np.cumsum([0, *sizes])
        self.parts = [slice(*bounds) for bounds in pairwise(ends.tolist())]
        self.face_indices = np.repeat(np.arange(len(patterns)), sizes)
        self.pixels = np.concatenate(pixels)
        self.observed = gray[self.pixels[:, 1], self.pixels[:, 0]].astype(float)
        self.rays, self.ray_slopes = _rays(lens, self.pixels)
        self.num_parameters = NUM_SHARED + NUM_LEVELS * len(patterns)

    def evaluate(self, model: ImageModel) -> PixelErrors:
        """Return the errors of a model; without levels, those that fit best are used."""
        on_faces = self.face_points(model)
        squares, products, blur, profiles = self._blur(model, on_faces)
        image = blurred_image(
            self.patterns,
            self.parts,
            profiles,
            blur,
            model.blur[3],
            model.levels,
            self.observed,
        )
        J = np.zeros((self.num_parameters, len(self.pixels)))
        t = model.T_camera_block[:3, 3]
        self._fill_pose_rows(J[:6], on_faces, image.gradient / self.block_size, t)
        J[6], J[8] = np.einsum("ijn,in->jn", squares, image.curvature)
        J[7] = 2 * np.einsum("in,in->n", products, image.curvature)
        J[SHAPE] = image.shape
        for face, part in enumerate(self.parts):
            row = NUM_SHARED + NUM_LEVELS * face
            J[row : row + NUM_LEVELS, part] = image.basis[:, part]
        return PixelErrors(self.observed - image.grey, J, model._replace(levels=image.levels))

    def face_points(self, model: ImageModel) -> FacePoints:
        """Return the points of the faces that the pixels show."""
        R, t = model.T_camera_block[:3, :3], model.T_camera_block[:3, 3]
        side, n = self.block_size, len(self.pixels)
        axes = self.axes @ R.T  # (f, 3, 3)
        rays, slopes = np.empty((3, n)), np.empty((3, 2, n))
        for part, A in zip(self.parts, axes, strict=True):
            np.matmul(A, self.rays[:, part], out=rays[:, part])
            slopes[..., part] = np.tensordot(A, self.ray_slopes[..., part], 1)
        corner = np.einsum("fij,fj->if", axes, self.origins @ R.T + t)[:, self.face_indices]
        distance = corner[2] / rays[2]
        points = (rays[:2] * distance - corner[:2]) / side
        slopes = (slopes[:2] - (rays[:2] / rays[2])[:, None] * slopes[2]) * (distance / side)
        return FacePoints(axes, rays, distance, points, slopes)

    def profiles(self, model: ImageModel) -> np.ndarray:
        """Return the profiles of the edges at the pixels, see `edge_profiles`."""
        return self._blur(model, self.face_points(model))[3]

    def _blur(
        self, model: ImageModel, on_faces: FacePoints
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the blur (3, n) on the face, of what it is composed, and profiles of edges."""
        (a, b), (c, d) = on_faces.slopes  # of x and y on the face, by x and y of the pixel
        squares, products = (
            on_faces.slopes * on_faces.slopes,
            on_faces.slopes[:, 0] * on_faces.slopes[:, 1],
        )
        xx, xy, yy, _ = model.blur
        variances = xx * squares[:, 0] + yy * squares[:, 1] + 2 * xy * products
        covariance = xx * a * c + yy * b * d + xy * (a * d + b * c)
        blur = np.stack([variances[0], covariance, variances[1]])
        profiles = edge_profiles(
            on_faces.points.astype(np.float32),
            variances.astype(np.float32),
            self.patterns[0].edges,
        )
        return squares, products, blur, profiles

    def _fill_pose_rows(
        self, J: np.ndarray, on_faces: FacePoints, gradient: np.ndarray, t: np.ndarray
    ) -> None:
        """Fill the derivatives with respect to the pose: a pixel sees another point of the face.

        Args:
            J: (6, n) to fill.
            on_faces: points that the pixels show.
            gradient: (2, n) by the place on the face [1/m].
            t: (3,) position of the block.
        """
        axes, rays, distance = on_faces.axes, on_faces.rays, on_faces.distance
        moves = np.empty((3, len(distance)))  # derivative by a movement of the face in its axes
        np.negative(gradient, out=moves[:2])
        moves[2] = (gradient[0] * rays[0] + gradient[1] * rays[1]) / rays[2]
        for part, A in zip(self.parts, axes, strict=True):
            np.matmul(A.T, moves[:, part], out=J[:3, part])
        x, y, z = self.rays * distance - t[:, None]  # from the middle of the block
        u, v, w = J[:3]
        J[3], J[4], J[5] = y * w - z * v, z * u - x * w, x * v - y * u


def _pixels_in(quad: np.ndarray, shape: tuple[int, ...], count: int) -> np.ndarray:
    """Return about `count` pixels (n, 2), x and y, evenly spread in a quadrangle (4, 2)."""
    if not np.isfinite(quad).all():
        return np.empty((0, 2), int)
    size = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(quad.min(axis=0)), 0, size).astype(int)
    high = np.clip(np.ceil(quad.max(axis=0)) + 1, 0, size).astype(int)
    if (high <= low).any():
        return np.empty((0, 2), int)
    mask = np.zeros((high - low)[::-1], np.uint8)
    cv2.fillConvexPoly(mask, np.round((quad - low) * 16).astype(np.int32), (1,), shift=4)
    y, x = np.nonzero(mask)
    step = max(len(x) / count, 1.0)
    chosen = (np.arange(min(count, len(x))) * step).astype(int)
    return np.asarray(np.column_stack([x, y])[chosen] + low)


def _rays(lens: CameraIntrinsics, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rays (3, n) of pixels (n, 2), and their derivative (3, 2, n)."""
    if not lens.is_distorted:
        inverse = np.linalg.inv(lens.camera_matrix)
        rays = inverse[:, :2] @ pixels.T + inverse[:, 2:]
        return rays, np.broadcast_to(inverse[:, :2, None], (3, 2, len(pixels)))
    shifted = pixels[:, None] + np.array([[0, 0], [0.5, 0], [0, 0.5]])
    rays = lens.undistort(shifted).T  # (3, 3, n)
    return np.ascontiguousarray(rays[:, 0]), (rays[:, 1:] - rays[:, :1]) / 0.5


def _valid_blur(blur: np.ndarray) -> np.ndarray:
    """Return the nearest blur (4,) whose smallest variance is MIN_BLUR_VARIANCE."""
    xx, xy, yy, shape = blur
    values, vectors = np.linalg.eigh([[xx, xy], [xy, yy]])
    M = vectors * np.maximum(values, MIN_BLUR_VARIANCE) @ vectors.T
    return np.array([M[0, 0], M[0, 1], M[1, 1], np.clip(shape, *SHAPE_LIMITS)])
