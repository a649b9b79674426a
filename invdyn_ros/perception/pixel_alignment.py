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
from invdyn_ros.perception.face_pattern import (
    NUM_LEVELS,
    FacePattern,
    blurred_image,
    edge_profiles,
)
from invdyn_ros.perception.rigid_transforms import apply_step

INITIAL_BLURS = (1.0, 2.5, 5.0)  # standard deviations [px]; the one with the least error is used
MAX_UNEXPLAINED = 0.2  # fraction of the variance of the pixels with a blur that is not far off
MIN_BLUR_VARIANCE = 0.12  # of the image of a point; that of a pixel is 1/12 [px^2]
SHAPE_STD, SHAPE_LIMITS = 0.04, (-0.08, 0.04)  # of the shape of a blur
OUTSIDE_ERROR = 12.0  # of the levels beside a face, which is not uniform, over the pixel noise
MIN_PIXEL_STD = 0.5  # [grey levels], that of rounding and more
HIDDEN_TILE, HIDDEN_FACTOR, HIDDEN_CONTRAST = 8, 3.0, 0.1  # side [px]; RMS error of a hidden one
MAX_HIDDEN, MAX_REJECTIONS = 0.6, 3  # fraction of the pixels; number of times
MIN_FACE_PIXELS = 60
REWEIGHTED_ITERATIONS = 1
STEP_TOLERANCE = 1.0  # of the last step, which is linear [standard deviations]
MAX_DAMPING = 1e3
BLUR, SHAPE, NUM_SHARED = slice(6, 10), 9, 10  # parameters: pose, blur, then the levels of each face


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
        self.shape_precision = 0.0
        self.num_parameters = NUM_SHARED + NUM_LEVELS * len(patterns)

    @property
    def is_determined(self) -> bool:
        """Whether there are enough pixels on each face."""
        fewest = min(part.stop - part.start for part in self.parts)
        return fewest > MIN_FACE_PIXELS and len(self.pixels) > 3 * self.num_parameters

    def weighted(self, errors: PixelErrors) -> np.ndarray:
        """Return the weighted residual (n,); 0 for hidden pixels."""
        return errors.residual * (self.weights * self.visible)

    def squared_error(self, errors: PixelErrors) -> float:
        """Return the sum of squares of the weighted residual, with that of the prior."""
        residual = self.weighted(errors)
        return float(residual @ residual) + self.shape_precision * errors.model.blur[3] ** 2

    def mean_square(self, errors: PixelErrors) -> float:
        """Return the mean square of the weighted residual of a visible pixel."""
        residual = self.weighted(errors)
        return float(residual @ residual) / max(self.visible.sum(), 1)

    def evaluate(self, model: ImageModel) -> PixelErrors:
        """Return the errors of a model; without levels, those that fit best are used."""
        side, n = self.block_size, len(self.pixels)
        R, t = model.T_camera_block[:3, :3], model.T_camera_block[:3, 3]
        corners = self.corners @ R.T + t  # (f, 4, 3)
        origins = corners[:, 0]
        x, y = corners[:, 1] - origins, corners[:, 3] - origins
        # a ray meets the face where it is a combination of x, y and the top left corner
        inverses = np.linalg.inv(np.stack([x, y, origins], axis=2))
        points, depth = np.empty((2, n)), np.empty(n)
        slopes = np.empty((2, 2, n))  # of the point on the face, by x and y of the pixel
        for part, H in zip(self.parts, inverses, strict=True):
            scaled = H @ self.rays[:, part]
            np.divide(scaled[:2], scaled[2], out=points[:, part])
            depth[part] = scaled[2]
            by_pixel = np.tensordot(H, self.ray_slopes[..., part], 1)  # (3, 2, n or 1)
            np.multiply(points[:, None, part], by_pixel[2], out=slopes[..., part])
            np.subtract(by_pixel[:2], slopes[..., part], out=slopes[..., part])
        slopes /= depth
        along, across = slopes[:, 0], slopes[:, 1]  # by x and y of the pixel
        square, product = slopes**2, along * across  # (2, 2, n), (2, n)
        xx, xy, yy, shape = model.blur
        variances = xx * square[:, 0] + yy * square[:, 1] + 2 * xy * product  # (2, n)
        covariance = xx * along[0] * along[1] + yy * across[0] * across[1]
        covariance += xy * (along[0] * across[1] + along[1] * across[0])
        blur = np.stack([variances[0], covariance, variances[1]])
        profiles = edge_profiles(
            points.astype(np.float32), variances.astype(np.float32), self.patterns[0].edges
        )
        J, residual = np.zeros((self.num_parameters, n)), np.empty(n)
        levels = np.empty((len(self.patterns), NUM_LEVELS))
        gradient, curvature = np.empty((2, n)), np.empty((2, n))
        for face, part in enumerate(self.parts):
            given = None if model.levels is None else model.levels[face]
            image, levels[face] = blurred_image(
                self.patterns[face],
                profiles[..., part],
                blur[:, part],
                shape,
                given,
                self.observed[part],
            )
            residual[part] = self.observed[part] - image.grey
            gradient[:, part], curvature[:, part] = image.gradient, image.curvature
            J[SHAPE, part] = image.shape
            row = NUM_SHARED + NUM_LEVELS * face
            J[row : row + NUM_LEVELS, part] = image.basis
            # when the face moves, a pixel sees another point of it
            normal = np.cross(x[face], y[face])
            axes = np.stack([x[face], y[face], side**2 * normal]) / side**2
            x_ray, y_ray, normal_ray = axes @ self.rays[:, part]
            g = image.gradient
            along_ray = (g[0] * x_ray + g[1] * y_ray) / normal_ray
            moves = np.column_stack([normal, -axes[0], -axes[1]])
            J[:3, part] = moves @ np.stack([along_ray, g[0], g[1]])
        J[6], J[8] = (square * curvature[:, None]).sum(axis=0)
        J[7] = 2 * (product * curvature).sum(axis=0)
        a, b, c = self.rays / depth - t[:, None]
        u, v, w = J[:3]
        J[3], J[4], J[5] = b * w - c * v, c * u - a * w, a * v - b * u
        return PixelErrors(residual, J, model._replace(levels=levels))

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
        start = self._start(T, blur)
        self._weight_inside(start)
        self.shape_precision = 1 / SHAPE_STD**2
        errors = self._minimize(start, max_iterations)
        self._weight_inside(errors)
        for _ in range(MAX_REJECTIONS):
            if not self._reject_hidden(errors):
                break
            errors = self._minimize(errors, max_iterations)
        if not is_last:
            return errors
        residual = self.weighted(errors)
        for part in self.parts:
            free = max(self.visible[part].sum() - self.num_parameters, 1)
            std = np.sqrt(residual[part] @ residual[part] / free)
            self.weights[part] /= max(std, MIN_PIXEL_STD)
        return self._small_step(self._minimize(errors, REWEIGHTED_ITERATIONS))

    def _weight_inside(self, errors: PixelErrors) -> None:
        """Give pixels less weight the more of what is beyond the face they show."""
        shares = errors.jacobian[NUM_SHARED:].reshape(-1, NUM_LEVELS, len(self.pixels))
        self.beyond = shares[:, 2:].sum(axis=(0, 1))
        self.weights = 1 / np.hypot(1.0, OUTSIDE_ERROR * self.beyond)

    def _start(self, T: np.ndarray, blur: np.ndarray | None) -> PixelErrors:
        """Return the errors of a pose with a blur, or with the best of several."""
        if blur is not None:
            return self.evaluate(ImageModel(T, blur, None))
        variance, best = float(np.var(self.observed)), None
        for std in INITIAL_BLURS:
            errors = self.evaluate(ImageModel(T, np.array([std**2, 0.0, std**2, 0.0]), None))
            if best is not None and self.squared_error(errors) > self.squared_error(best):
                break
            best = errors
            if self.mean_square(errors) < MAX_UNEXPLAINED * variance:
                break
        assert best is not None
        return best

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
            square = np.bincount(index, (errors.residual[part] * self.weights[part]) ** 2)
            rms = np.sqrt(square / count)
            limit = max(
                HIDDEN_FACTOR * np.median(rms[index]), HIDDEN_CONTRAST * abs(white - black)
            )
            hidden[part] = (rms > limit)[index]
        if hidden.mean() > MAX_HIDDEN:
            return False
        self.visible = ~hidden
        return bool((self.visible != before).any())

    def _minimize(self, current: PixelErrors, max_iterations: int) -> PixelErrors:
        """Return the errors after some Levenberg-Marquardt steps (Marquardt 1963)."""
        damping, error = 1e-3, self.squared_error(current)
        free = max(self.visible.sum() - self.num_parameters, 1)
        for _ in range(max_iterations):
            H, g = self.normal_equations(current)
            H[np.diag_indices_from(H)] *= 1 + damping
            step = _bounded_step(H, g, current.model)
            if step @ g < STEP_TOLERANCE**2 * error / free or damping > MAX_DAMPING:
                break
            new = self.evaluate(current.model.moved(step))
            new_error = self.squared_error(new)
            if new_error < error:
                current, error, damping = new, new_error, damping / 10
            else:
                damping *= 10
        return current

    def _small_step(self, errors: PixelErrors) -> PixelErrors:
        """Return the errors after a step so small that they change linearly."""
        H, g = self.normal_equations(errors)
        step = _bounded_step(H, g, errors.model)
        model = errors.model.moved(step)
        return errors._replace(residual=errors.residual - step @ errors.jacobian, model=model)

    def normal_equations(self, errors: PixelErrors) -> tuple[np.ndarray, np.ndarray]:
        """Return the matrix (p, p) and the right side (p,) of a Gauss-Newton step."""
        weights = self.weights * self.visible
        J = errors.jacobian * weights
        H, g = J @ J.T, J @ (errors.residual * weights)
        H[SHAPE, SHAPE] += self.shape_precision
        g[SHAPE] -= self.shape_precision * errors.model.blur[3]
        H[np.diag_indices_from(H)] += 1e-12
        return H, g


def _bounded_step(H: np.ndarray, g: np.ndarray, model: ImageModel) -> np.ndarray:
    """Return the step (p,) that solves H step = g and keeps the shape of the blur in its limits.

    Args:
        H: (p, p) normal matrix.
        g: (p,) right side.
        model: from which the step starts.
    """
    step = np.linalg.solve(H, g)
    shape = float(np.clip(model.blur[3] + step[SHAPE], *SHAPE_LIMITS)) - model.blur[3]
    if shape != step[SHAPE]:  # the other parameters then move differently
        others = np.arange(len(g)) != SHAPE
        step[SHAPE] = shape
        g_others = g[others] - shape * H[others, SHAPE]
        step[others] = np.linalg.solve(H[np.ix_(others, others)], g_others)
    return step


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
