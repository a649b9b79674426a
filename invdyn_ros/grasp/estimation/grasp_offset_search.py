"""Bayesian search for a block that a grasp has missed (Koopman 1956).

A camera whose calibration is wrong by a centimetre detects the block with the same offset every
time. Failed grasps reveal the offset: the gripper closes on nothing, or stops on top of the block.
This filter keeps a grid of probabilities of the offset, updates it after every grasp, and aims the
next grasp where the most probability lies between the fingers.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from invdyn_ros.typing import Array

INITIAL_STD = 0.012  # [m] standard deviation of the offset per axis, before the first grasp
MAX_OFFSET, CELL_SIZE = 0.044, 0.004  # [m] half width and resolution of the grid
MIN_LIKELIHOOD = 0.05  # likelihood of an outcome that contradicts the offset
DIFFUSION_STD = 1.0  # [cells] after a miss: the gripper may have pushed the block


class GraspOffsetFilter:
    """Grid filter over the offset from the detected to the true block position.

    Attributes:
        offset: (2,) offset from the detected block to the next grasp position [m].
        grid: (k, k, 2) offsets of the cells [m].
        probability: (k, k) probabilities of the cells.
    """

    def __init__(
        self, closing_tolerance: float, lateral_tolerance: float, min_step: float
    ) -> None:
        """Create the filter.

        Args:
            closing_tolerance: maximum error of a successful grasp along the closing direction [m].
            lateral_tolerance: maximum error perpendicular to the closing direction [m].
            min_step: minimum distance from one grasp to the next [m].
        """
        self.min_step = min_step
        self.tolerances = np.array([closing_tolerance, lateral_tolerance])
        axis = np.arange(-MAX_OFFSET, MAX_OFFSET + CELL_SIZE / 2, CELL_SIZE)
        self.grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)  # (k, k, 2)
        self.reset()

    def reset(self) -> None:
        """Restore the distribution before the first grasp."""
        weight = np.exp(-0.5 * (self.grid**2).sum(axis=2) / INITIAL_STD**2)
        self.probability = weight / weight.sum()
        self.offset = np.zeros(2)

    def update_missed(self, grasp_offset: Array, closing_axis: Array) -> None:
        """Update after a grasp that missed the block, and choose the next offset.

        Args:
            grasp_offset: (2,) grasp position minus detected block position [m].
            closing_axis: (2,) unit vector along which the fingers close.
        """
        inside = self._between_fingers(grasp_offset, closing_axis)
        self.probability = self.probability * np.where(inside, MIN_LIKELIHOOD, 1.0)
        self.probability = gaussian_filter(self.probability, DIFFUSION_STD, mode="constant")
        self.probability /= self.probability.sum()
        self._choose_offset(grasp_offset, closing_axis)

    def update_grasped(self, grasp_offset: Array, closing_axis: Array) -> None:
        """Update after a grasp that holds the block; see `update_missed`."""
        inside = self._between_fingers(grasp_offset, closing_axis)
        self.probability = self.probability * np.where(inside, 1.0, MIN_LIKELIHOOD)
        self.probability /= self.probability.sum()

    def _between_fingers(self, grasp_offsets: Array, closing_axis: Array) -> Array:
        """Return which cells (..., k, k) put the block between fingers at offsets (..., 2)."""
        error = self.grid - grasp_offsets[..., None, None, :]
        lateral_axis = np.array([-closing_axis[1], closing_axis[0]])
        closing, lateral = self.tolerances
        return np.asarray(
            (np.abs(error @ closing_axis) <= closing) & (np.abs(error @ lateral_axis) <= lateral)
        )

    def _choose_offset(self, grasp_offset: Array, closing_axis: Array) -> None:
        """Choose the offset with the most probability between the fingers.

        Args:
            grasp_offset: (2,) offset of the last grasp, which is not repeated [m].
            closing_axis: (2,) unit vector along which the fingers close.
        """
        distance = np.linalg.norm(self.grid - grasp_offset, axis=2)
        probable = self.probability > self.probability.max() / 20
        candidates = self.grid[(distance >= self.min_step) & probable]
        if not len(candidates):
            return
        inside = self._between_fingers(candidates, closing_axis)
        sums = [self.probability[mask].sum() for mask in inside]
        self.offset = np.array(candidates[int(np.argmax(sums))])
