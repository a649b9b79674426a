"""Alignment of a block with the grey levels of its faces in the image of any lens.

Pixels of the faces are compared with the blurred patterns: pose, blur and grey levels are
optimized together. The image is not rectified, so the noise of the pixels stays that of the
sensor, and the residual tells how much of it there is.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from invdyn_ros.perception.face_pattern import NUM_LEVELS
from invdyn_ros.perception.face_pixels import (
    NUM_SHARED,
    SHAPE,
    SHAPE_LIMITS,
    FacePixels,
    ImageModel,
    PixelErrors,
)

INITIAL_BLURS = (0.7, 2.5, 5.0)  # standard deviations [px]; the one with the least error is used
MAX_UNEXPLAINED = 0.2  # fraction of the variance of the pixels with a blur that is not far off
SHAPE_STD = 0.04  # of the shape of a blur, before the image is seen
OUTSIDE_ERROR = 12.0  # of the levels beside a face, which is not uniform, over the pixel noise
MIN_PIXEL_STD = 0.5  # [grey levels], that of rounding and more
HIDDEN_TILE, HIDDEN_FACTOR, HIDDEN_CONTRAST = 8, 3.0, 0.1  # side [px]; RMS error of a hidden one
MAX_HIDDEN, MAX_REJECTIONS = 0.6, 3  # fraction of the pixels; number of times
MIN_FACE_PIXELS = 60
REWEIGHTED_ITERATIONS = 2
STEP_TOLERANCE = 1.0  # of the last step, which is linear [standard deviations]
LINEAR_CHANGE = 0.01  # RMS change of the grey levels by a last step, over the contrast
MAX_DAMPING = 1e3


class PixelAlignment(FacePixels):
    """Pixels of some faces of a block with their weights, and the model that fits to them."""

    shape_precision = 0.0

    @cached_property
    def weights(self) -> np.ndarray:
        """(n,) weight of each pixel."""
        return np.ones(len(self.pixels))

    @cached_property
    def visible(self) -> np.ndarray:
        """(n,) whether nothing hides the pixel."""
        return np.ones(len(self.pixels), bool)

    @cached_property
    def beyond(self) -> np.ndarray:
        """(n,) fraction of the pixel that shows what is beyond the face."""
        return np.zeros(len(self.pixels))

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
        return self._minimize(errors, REWEIGHTED_ITERATIONS, finish=True)

    def _weight_inside(self, errors: PixelErrors) -> None:
        """Give pixels less weight the more of what is beyond the face they show."""
        of_levels = errors.jacobian[NUM_SHARED:].reshape(-1, NUM_LEVELS, len(self.pixels))
        self.beyond = of_levels[:, 2:].sum(axis=(0, 1))
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
            index = tile_indices(self.pixels[part], HIDDEN_TILE)
            count = np.bincount(index)
            # also of the pixels without weight, which may be visible after all
            square = np.bincount(index, (errors.residual[part] * self.weights[part]) ** 2)
            rms = np.sqrt(square / np.maximum(count, 1))
            limit = max(
                HIDDEN_FACTOR * np.median(rms[index]), HIDDEN_CONTRAST * abs(white - black)
            )
            hidden[part] = (rms > limit)[index]
        if hidden.mean() > MAX_HIDDEN:
            return False
        self.visible = ~hidden
        return bool((self.visible != before).any())

    def _minimize(
        self, current: PixelErrors, max_iterations: int, finish: bool = False
    ) -> PixelErrors:
        """Return the errors after some Levenberg-Marquardt steps (Marquardt 1963).

        Args:
            current: errors of the initial model.
            max_iterations: maximum number of steps.
            finish: whether to take also a last step so small that the errors change linearly.
        """
        damping, error = 1e-3, self.squared_error(current)
        free = max(self.visible.sum() - self.num_parameters, 1)
        for _ in range(max_iterations):
            H, g = self.normal_equations(current)
            H[np.diag_indices_from(H)] *= 1 + damping
            step = _bounded_step(H, g, current.model)
            gain = step @ g
            if gain < max(STEP_TOLERANCE**2 * error / free, self._linear_gain(current)):
                if finish:
                    residual = current.residual - step @ current.jacobian
                    model = current.model.moved(step)
                    return current._replace(residual=residual, model=model)
                break
            new = self.evaluate(current.model.moved(step))
            new_error = self.squared_error(new)
            if new_error < error:
                current, error, damping = new, new_error, damping / 10
            else:
                damping *= 10
            if damping > MAX_DAMPING:
                break
        return current

    def _linear_gain(self, errors: PixelErrors) -> float:
        """Return the squared change of the weighted grey levels by a step that is linear."""
        levels, weights = errors.model.levels, self.weights * self.visible
        assert levels is not None
        change = LINEAR_CHANGE * np.abs(levels[:, 0] - levels[:, 1])[self.face_indices] * weights
        return float(change @ change)

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


def tile_indices(pixels: np.ndarray, side: float) -> np.ndarray:
    """Return the index (n,) of the square tile with a side [px] in which each pixel (n, 2) is."""
    tiles = (pixels // side).astype(int)
    tiles -= tiles.min(axis=0)
    columns = int(tiles[:, 0].max()) + 1
    return np.asarray(tiles[:, 1] * columns + tiles[:, 0])
