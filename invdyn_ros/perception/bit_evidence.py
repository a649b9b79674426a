"""Evidence of the pixels for each bit of the markers of a block, to confirm a predicted pose.

A block that was seen a moment ago may be blurred or half hidden now, or it may be gone, with
another block or the table in its place. All blocks have the same margins and borders, so only the
bits tell. For each bit the pixels are compared with the image of the face with this bit flipped:
a least-squares fit of all flips is 0 where a bit is as expected and 1 where it is the opposite.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.perception.face_pixels import PixelErrors
from invdyn_ros.perception.pixel_alignment import PixelAlignment

CORRELATED_PIXELS = 4.0  # with correlated errors
NUM_STDS = 2.0  # between the flip of a bit and one half
MIN_BITS, MIN_BITS_OF_COLOUR = 10, 2  # as expected, in the visible part of a block
MAX_LEVEL_STD = 0.25  # of something uniform in front of the others, over the contrast
DIRECTIONS = np.linspace(0, 2 * np.pi, 16, endpoint=False)  # from which it may come [rad]
MIN_CONTRAST, MIN_CONTRAST_STDS = 5.0, 3.0  # [grey levels], [standard deviations of the noise]
RIDGE = 1e-3  # relative, for bits without pixels


class BitEvidence(NamedTuple):
    """Evidence of the pixels of one face for its bits (b, b)."""

    flips: np.ndarray
    """(b, b) 0 where a bit is as expected, 1 where it is the opposite."""
    std: np.ndarray
    """(b, b) standard deviations of the flips; infinite where there are no pixels
    or no contrast."""
    white: np.ndarray
    """(b, b) expected bits."""

    @property
    def is_expected(self) -> np.ndarray:
        """(b, b) whether the pixels show each bit as expected."""
        return np.abs(self.flips) + NUM_STDS * self.std < 0.5

    @property
    def is_opposite(self) -> np.ndarray:
        """(b, b) whether the pixels show anything else."""
        return np.abs(self.flips) - NUM_STDS * self.std > 0.5


def bit_evidence(
    alignment: PixelAlignment, errors: PixelErrors, noise_std: float
) -> list[BitEvidence]:
    """Return the evidence for the bits of each face.

    Args:
        alignment: the compared pixels.
        errors: of the aligned model.
        noise_std: standard deviation of the noise of a pixel [grey levels].
    """
    profiles, levels = alignment.profiles(errors.model)[0], errors.model.levels
    assert levels is not None
    evidence = []
    for pattern, part, (white, black, *_) in zip(
        alignment.patterns, alignment.parts, levels, strict=True
    ):
        inner = slice(2, len(pattern.white) - 2)  # within margin and border
        bits = pattern.white[inner, inner]
        # fraction of each column and row of cells that a pixel shows, (2, k, n)
        covered = (profiles[:, 1:-1, part] - profiles[:, 2:, part])[:, inner].astype(float)
        cells = (covered[0][:, None] * covered[1][None]).reshape(bits.size, -1)
        contrast = max(white - black, 1.0)
        has_contrast = white - black > max(MIN_CONTRAST, MIN_CONTRAST_STDS * noise_std)
        flips = np.where(bits.ravel(), -contrast, contrast)[:, None] * cells  # (b b, n)
        residual = errors.residual[part]
        H = flips @ flips.T
        size = np.sqrt(np.maximum(H.diagonal(), 1e-12))
        H[np.diag_indices_from(H)] += RIDGE * contrast**2
        inverse = np.linalg.inv(H)
        estimate = inverse @ (flips @ residual)
        rest = residual - estimate @ flips
        variance = max(noise_std, float(np.median(np.abs(rest))) * 1.4826) ** 2
        std = np.sqrt(CORRELATED_PIXELS * variance * inverse.diagonal())
        std[(size < contrast) | (not has_contrast)] = np.inf  # less than a pixel
        shape = bits.shape
        evidence.append(BitEvidence(estimate.reshape(shape), std.reshape(shape), bits))
    return evidence


def count_confirmed(evidence: BitEvidence) -> int:
    """Return the number of bits that are as expected in the visible part of a face.

    The part beyond a line may be hidden by something uniform; 0 if another pattern is there.
    """
    expected, opposite = evidence.is_expected, evidence.is_opposite
    if not opposite.any():
        return int(expected.sum())
    b = len(expected)
    x, y = np.indices((b, b))
    levels = np.where(evidence.white, 1 - evidence.flips, evidence.flips)
    best = 0
    for angle in DIRECTIONS:
        along = x * np.cos(angle) + y * np.sin(angle)
        visible = along < along[opposite].min() - 1e-9
        hidden = ~visible & np.isfinite(evidence.std)
        if np.std(levels[hidden]) < MAX_LEVEL_STD:
            best = max(best, int(expected[visible].sum()))
    return best
