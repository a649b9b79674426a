"""Where a block may be after a grip has missed it: grips enter, where to try next leaves.

A camera whose calibration errs by a centimetre shows the block in the wrong place, every time the
same. What gives it away is the gripper: it closes on nothing, or stands on the block. So the error
of the camera has a distribution, a grid of weights, that every such touch cuts a piece out of, and
the next try goes where the most weight lies between the fingers (Bayesian search; Koopman 1956).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from invdyn_ros.typing import Array

INITIAL_STD = 0.012  # [m] of the error before the first grip, each axis
MAX_OFFSET, CELL_SIZE = 0.044, 0.004  # [m] greatest error, side of a cell of the grid
MIN_LIKELIHOOD = 0.05  # weight that is left where a grip should have succeeded
DIFFUSION_STD = 1.0  # cells: the gripper may have pushed the block


class GraspOffsetFilter:
    """Keeps the distribution of the camera's error on the table.

    Attributes:
        offset: (2,) from where the camera shows the block to where to grip next [m].
    """

    def __init__(
        self, closing_tolerance: float, lateral_tolerance: float, min_step: float
    ) -> None:
        """Begin with no grip.

        Args:
            between: greatest error along the closing direction with which a grip succeeds [m].
            along: the same across it.
            step: least way from a grip to the next [m].
        """
        self.min_step = min_step
        self.tolerances = np.array([closing_tolerance, lateral_tolerance])
        side = np.arange(-MAX_OFFSET, MAX_OFFSET + CELL_SIZE / 2, CELL_SIZE)
        self.grid = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1)  # (k, k, 2)
        self.reset()

    def reset(self) -> None:
        """Forget all grips."""
        probability = np.exp(-0.5 * (self.grid**2).sum(axis=2) / INITIAL_STD**2)
        self.weight = probability / probability.sum()
        self.offset = np.zeros(2)

    def update_missed(self, grasp_offset: Array, closing_axis: Array) -> None:
        """Take it that a grip missed the block.

        Args:
            at: (2,) where it was, less where the camera shows the block [m].
            axis: (2,) direction in which the fingers close, of length one.
        """
        self.weight = self.weight * np.where(
            self._within(grasp_offset, closing_axis), MIN_LIKELIHOOD, 1.0
        )
        self.weight = gaussian_filter(self.weight, DIFFUSION_STD, mode="constant")
        self.weight /= self.weight.sum()
        self._choose(grasp_offset, closing_axis)

    def update_grasped(self, grasp_offset: Array, closing_axis: Array) -> None:
        """Take it that a grip holds the block; see `missed`."""
        self.weight = self.weight * np.where(
            self._within(grasp_offset, closing_axis), 1.0, MIN_LIKELIHOOD
        )
        self.weight /= self.weight.sum()

    def _within(self, at: Array, axis: Array) -> Array:
        """Return which errors (..., k, k) put the block between fingers at places (..., 2)."""
        away = self.grid - at[..., None, None, :]
        across = np.array([-axis[1], axis[0]])
        between, along = self.tolerances
        return np.asarray((np.abs(away @ axis) <= between) & (np.abs(away @ across) <= along))

    def _choose(self, at: Array, axis: Array) -> None:
        """Go where the most weight lies between the fingers, but not next to the last grip."""
        away = np.linalg.norm(self.grid - at, axis=2)
        places = self.grid[(away >= self.min_step) & (self.weight > self.weight.max() / 20)]
        if not len(places):
            return
        sums = [self.weight[inside].sum() for inside in self._within(places, axis)]
        self.offset = np.array(places[int(np.argmax(sums))])
