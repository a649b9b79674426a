"""Noise of an image around a block, and what it means for the covariance of an aligned pose."""

from __future__ import annotations

import cv2
import numpy as np

from invdyn_ros.perception.face_pattern import NUM_LEVELS
from invdyn_ros.perception.face_pixels import NUM_SHARED, PixelErrors
from invdyn_ros.perception.pixel_alignment import PixelAlignment, tile_indices

USUAL_BLUR_STD = 0.7  # [px]
ROUNDING_STD = 12**-0.5  # [grey levels] of the error of rounding
NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
MIN_TILE, TILE_BLURS = 8.0, 1.5  # side of a tile [px], and in standard deviations of the blur
BLUR_MODEL_ERROR = 0.7  # increase of the model error with the blur [1/px]
MAX_NOISE_RATIO, EXCESS_FACTOR = 2.0, 0.5  # of the variance to that of the noise
NOISE_FACTOR = 1.1  # on the variance, for what a linearized model leaves out
MAX_FIT_FACTOR = 6.0  # of sums of errors in tiles that are too few for all parameters
MODEL_ERROR = 0.003  # of the predicted grey levels, correlated in a tile, over the contrast


def noise_std_around(gray: np.ndarray, pixels: np.ndarray) -> float:
    """Return the standard deviation of the noise around pixels (n, 2), Immerkaer (1996).

    Rounding to grey levels makes it at least ROUNDING_STD, also in a picture without noise.
    """
    (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0) + 1
    crop = gray[top:bottom, left:right].astype(np.float32)
    response = cv2.filter2D(crop, -1, NOISE_KERNEL)[::2, ::2]
    noise_std = np.median(np.abs(response)) * 1.4826 / np.linalg.norm(NOISE_KERNEL)
    return max(float(noise_std), ROUNDING_STD)


def inflation_factor(
    alignment: PixelAlignment,
    errors: PixelErrors,
    inverse: np.ndarray,
    variance: float,
    noise_std: float,
) -> float:
    """Return the factor on the covariance for errors that neighbouring pixels have in common.

    The sums of the errors in tiles of the image show it: those of independent errors grow with
    the root of the number of pixels (White 1980; clusters as in Liang and Zeger 1986). The fit
    makes these sums smaller, the more the fewer tiles there are: a small single face has hardly
    more than a face has parameters (MacKinnon and White 1985). To this are added errors of the
    model that every edge of the pattern has.

    Args:
        alignment: the compared pixels.
        errors: of the aligned model.
        inverse: (p, 6) columns of the pose of the inverse of the normal matrix.
        variance: of a weighted pixel.
        noise_std: standard deviation of the noise of a pixel [grey levels]. Larger errors are
            those of edges, jagged ones for example, and correlated along them.
    """
    side = max(MIN_TILE, TILE_BLURS * MIN_TILE * errors.model.blur_std / 2)
    index = tile_indices(alignment.pixels, side)
    index += (index.max() + 1) * alignment.face_indices
    num_tiles = np.count_nonzero(np.bincount(index))
    num_visible = np.count_nonzero(np.bincount(index, alignment.visible))
    free = max(num_visible - NUM_SHARED - NUM_LEVELS, num_visible / MAX_FIT_FACTOR)
    weights = alignment.weights * alignment.visible
    scores = (inverse.T @ errors.jacobian) * (errors.residual * weights**2)
    sums = np.stack([np.bincount(index, row) for row in scores])
    root = np.linalg.cholesky(inverse[:6] * variance)
    common = float(np.sum(np.linalg.solve(root, sums) ** 2)) / 6 * num_visible / free
    levels = errors.model.levels
    assert levels is not None
    contrast = max((levels[:, 0] - levels[:, 1]).min(), 0.0) * alignment.weights.max()
    blurred = 1 + BLUR_MODEL_ERROR * max(errors.model.blur_std - USUAL_BLUR_STD, 0.0)
    plain = np.maximum(alignment.weights.max(), 1e-9)
    excess = variance / (noise_std * plain) ** 2 - MAX_NOISE_RATIO
    common = max(common, 1.0) + EXCESS_FACTOR * max(excess, 0.0)
    model_error = len(index) / num_tiles * (MODEL_ERROR * blurred * contrast) ** 2
    return NOISE_FACTOR * common + model_error
