"""Alignment of a block with the grey levels of its faces in the image of any lens.

Pixels of the faces are compared with the blurred patterns: pose, blur and grey levels are
optimized together. The image is not rectified, so the noise of the pixels stays that of the
sensor, and the residual tells how much of it there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import face_corners
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.face_pattern import NUM_LEVELS, FacePattern, blurred_image
from invdyn_ros.perception.rigid_transforms import apply_step

INITIAL_BLURS = (1.0, 2.5, 5.0)  # standard deviations [px]; the one with the least error is used
MIN_BLUR_VARIANCE = 0.12  # of the image of a point; that of a pixel is 1/12 [px^2]
SHAPE_STD, SHAPE_LIMITS = 0.04, (-0.08, 0.04)  # of the shape of a blur
OUTSIDE_ERROR = 12.0  # of the levels beside a face, which is not uniform, over the pixel noise
MIN_PIXEL_STD = 0.5  # [grey levels], that of rounding and more
HIDDEN_TILE, HIDDEN_FACTOR, HIDDEN_CONTRAST = 8, 3.0, 0.1  # side [px]; RMS error of a hidden one
MAX_HIDDEN, MAX_REJECTIONS = 0.6, 3  # fraction of the pixels; number of times
MIN_FACE_PIXELS = 60
REWEIGHTED_ITERATIONS = 1
STEP_TOLERANCE = 0.1  # of the last step [standard deviations]
MAX_DAMPING = 1e3
BLUR, NUM_SHARED = slice(6, 10), 10  # parameters: pose, blur, then the levels of each face


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
    """Weighted differences of n pixels from a model, and their derivative."""

    residual: np.ndarray
    """(n,) observed minus predicted."""
    jacobian: np.ndarray
    """(n, p) derivative of the prediction."""
    model: ImageModel
    """The model, with its levels."""
    squared_error: float
    """Sum of squares, with that of the prior of the shape."""


class PixelAlignment:
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
        self.corners = face_corners(block_size)[[pattern.face for pattern in patterns]]
        quads = lens.project(self.corners @ T[:3, :3].T + T[:3, 3])
        count = max_pixels // len(patterns)
        pixels = [_pixels_in(quad, gray.shape, count) for quad in quads]
        ends = np.cumsum([0, *map(len, pixels)])
        self.parts = [slice(*bounds) for bounds in pairwise(ends.tolist())]
        self.pixels = np.concatenate(pixels)
        self.observed = gray[self.pixels[:, 1], self.pixels[:, 0]].astype(float)
        self.rays, self.ray_slopes = _rays(lens, self.pixels)
        self.weights = np.ones(len(self.pixels))
        self.visible = np.ones(len(self.pixels), bool)
        self.beyond = np.zeros(len(self.pixels))
        self.shape_precision = self.mean_square = 0.0
        self.num_parameters = NUM_SHARED + NUM_LEVELS * len(patterns)

    @property
    def is_determined(self) -> bool:
        """Whether there are enough pixels on each face."""
        fewest = min(part.stop - part.start for part in self.parts)
        return fewest > MIN_FACE_PIXELS and len(self.pixels) > 3 * self.num_parameters

    def evaluate(self, model: ImageModel) -> PixelErrors:
        """Return the errors of a model; without levels, those that fit best are used."""
        J = np.zeros((len(self.pixels), self.num_parameters))
        residual = np.empty(len(self.pixels))
        levels = np.empty((len(self.patterns), NUM_LEVELS))
        for face in range(len(self.patterns)):
            given = None if model.levels is None else model.levels[face]
            levels[face] = self._evaluate_face(face, model, given, residual, J)
        weights = self.weights * self.visible
        self.raw = residual * self.weights
        residual = residual * weights
        J *= weights[:, None]
        error = float(residual @ residual) + self.shape_precision * model.blur[3] ** 2
        return PixelErrors(residual, J, model._replace(levels=levels), error)

    def _evaluate_face(
        self,
        face: int,
        model: ImageModel,
        levels: np.ndarray | None,
        residual: np.ndarray,
        J: np.ndarray,
    ) -> np.ndarray:
        """Fill the rows of a face of the residual (n,) and of J (n, p); return its levels."""
        part, side = self.parts[face], self.block_size
        rays, slopes, observed = self.rays[part], self.ray_slopes[part], self.observed[part]
        R, t = model.T_camera_block[:3, :3], model.T_camera_block[:3, 3]
        top_left, top_right, _, bottom_left = self.corners[face] @ R.T + t
        x, y = top_right - top_left, bottom_left - top_left
        # a ray meets the face where it is a combination of x, y and the top left corner
        H = np.linalg.inv(np.column_stack([x, y, top_left]))
        *scaled, depth = H @ rays.T
        points = np.array(scaled) / depth  # (2, n)
        # derivative (2, n, 2) of the point on the face with respect to the pixel
        by_ray = (H[:2, None] - points[..., None] * H[2]) / depth[:, None]
        by_pixel = np.einsum("ani,nij->anj", by_ray, slopes)
        xx, xy, yy, shape = model.blur
        S = np.array([[xx, xy], [xy, yy]])
        smeared = by_pixel @ S
        blur = np.stack(
            [np.sum(smeared[i] * by_pixel[j], axis=1) for i, j in ((0, 0), (0, 1), (1, 1))]
        )
        image, levels = blurred_image(self.patterns[face], points, blur, shape, levels, observed)
        residual[part] = observed - image.grey
        self.beyond[part] = image.basis[:, 2:].sum(axis=1)
        rows = J[part]
        square = by_pixel**2 * image.curvature.T[..., None]
        rows[:, 6], rows[:, 8] = square[..., 0].sum(axis=0), square[..., 1].sum(axis=0)
        product = by_pixel[..., 0] * by_pixel[..., 1]
        rows[:, 7] = 2 * np.einsum("an,na->n", product, image.curvature)
        rows[:, 9] = image.shape
        column = NUM_SHARED + NUM_LEVELS * face
        rows[:, column : column + NUM_LEVELS] = image.basis
        # when the face moves, a pixel sees another point of it
        axes, normal = np.stack([x, y]) / side**2, np.cross(x, y)
        along_ray = np.einsum("na,na->n", image.gradient, rays @ axes.T) / (rays @ normal)
        rows[:, :3] = along_ray[:, None] * normal - image.gradient @ axes
        rows[:, 3:6] = np.cross(rays / depth[:, None] - t, rows[:, :3])
        return levels

    def align(
        self, T: np.ndarray, blur: np.ndarray | None, max_iterations: int, is_last: bool = True
    ) -> PixelErrors:
        """Optimize a model from a pose; each face is weighted by the noise of its pixels.

        Args:
            T: (4, 4) initial pose.
            blur: (4,) initial blur; None: the best of several.
            max_iterations: maximum number of steps.
            is_last: whether to weight the faces.
        """
        initial_blurs = (
            [np.array([s**2, 0.0, s**2, 0.0]) for s in INITIAL_BLURS] if blur is None else [blur]
        )
        start = self.evaluate(ImageModel(T, initial_blurs[0], None))
        for blur in initial_blurs[1:]:
            other = self.evaluate(ImageModel(T, blur, None))
            if other.squared_error > start.squared_error:
                break
            start = other
        self.weights = 1 / np.hypot(1.0, OUTSIDE_ERROR * self.beyond)
        self.shape_precision = 1 / SHAPE_STD**2
        errors = self._minimize(start.model, max_iterations)
        for _ in range(MAX_REJECTIONS):
            if not self._reject_hidden(errors):
                break
            errors = self._minimize(errors.model, max_iterations)
        self.mean_square = float(errors.residual @ errors.residual) / self.visible.sum()
        if not is_last:
            return errors
        for part in self.parts:
            free = max(self.visible[part].sum() - self.num_parameters, 1)
            std = np.sqrt(errors.residual[part] @ errors.residual[part] / free)
            self.weights[part] /= max(std, MIN_PIXEL_STD)
        return self._minimize(errors.model, REWEIGHTED_ITERATIONS)

    def _reject_hidden(self, errors: PixelErrors) -> bool:
        """Give tiles with large errors no weight, as something is in front of them.

        Returns:
            Whether there are more or other ones than before.
        """
        levels = errors.model.levels
        assert levels is not None
        before, hidden = self.visible, np.zeros(len(self.pixels), bool)
        for part, (white, black, *_) in zip(self.parts, levels, strict=True):
            tiles = (self.pixels[part] // HIDDEN_TILE) @ [1, 1 << 16]
            _, index = np.unique(tiles, return_inverse=True)
            index = index.ravel()
            count = np.bincount(index)
            # also of the pixels without weight, which may be visible after all
            square = np.bincount(index, self.raw[part] ** 2)
            rms = np.sqrt(square / count)
            limit = max(
                HIDDEN_FACTOR * np.median(rms[index]), HIDDEN_CONTRAST * abs(white - black)
            )
            hidden[part] = (rms > limit)[index]
        if hidden.mean() > MAX_HIDDEN:
            return False
        self.visible = ~hidden
        return bool((self.visible != before).any())

    def _minimize(self, model: ImageModel, max_iterations: int) -> PixelErrors:
        current, damping = self.evaluate(model), 1e-3
        free = max(self.visible.sum() - self.num_parameters, 1)
        for _ in range(max_iterations):
            H, g = self.normal_equations(current)
            H[np.diag_indices_from(H)] *= 1 + damping
            step = np.linalg.solve(H, g)
            new = self.evaluate(current.model.moved(step))
            if new.squared_error < current.squared_error:
                current, damping = new, damping / 10
            else:
                damping *= 10
            if (
                step @ g < STEP_TOLERANCE**2 * current.squared_error / free
                or damping > MAX_DAMPING
            ):
                break
        return current

    def normal_equations(self, errors: PixelErrors) -> tuple[np.ndarray, np.ndarray]:
        """Return the matrix (p, p) and the right side (p,) of a Gauss-Newton step."""
        J = errors.jacobian
        H, g = J.T @ J, J.T @ errors.residual
        H[9, 9] += self.shape_precision
        g[9] -= self.shape_precision * errors.model.blur[3]
        H[np.diag_indices_from(H)] += 1e-12
        return H, g


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
    """Return the rays (n, 3) of pixels (n, 2), and their derivative (n, 3, 2)."""
    if not lens.is_distorted:
        inverse = np.linalg.inv(lens.camera_matrix)
        rays = pixels @ inverse[:, :2].T + inverse[:, 2]
        return rays, np.broadcast_to(inverse[:, :2], (len(pixels), 3, 2))
    shifted = pixels[:, None] + np.array([[0, 0], [0.5, 0], [0, 0.5]])
    rays = lens.undistort(shifted)  # (n, 3, 3)
    return rays[:, 0], np.swapaxes((rays[:, 1:] - rays[:, :1]) / 0.5, 1, 2)


def _valid_blur(blur: np.ndarray) -> np.ndarray:
    """Return the nearest blur (4,) whose smallest variance is MIN_BLUR_VARIANCE."""
    xx, xy, yy, shape = blur
    values, vectors = np.linalg.eigh([[xx, xy], [xy, yy]])
    M = vectors * np.maximum(values, MIN_BLUR_VARIANCE) @ vectors.T
    return np.array([M[0, 0], M[0, 1], M[1, 1], np.clip(shape, *SHAPE_LIMITS)])
