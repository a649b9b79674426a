"""Plausibility checks on block detections before a grasp acts on them.

A rejection holds until detections have been plausible for a while, so it neither flickers nor
expires when the camera stops.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

CLEAR_DELAY = 0.5  # [s] without a rejection, after which the last one is cleared
SIZE_TOLERANCE = 0.15  # relative; for errors of the hand-eye calibration and of the block size
NUM_STDS = 3.0  # allowed standard deviations of a detection
TRAINING_AREA_MARGIN = 2.0  # [block sides] around the block positions in training
NO_VALUES = np.empty(0)


class Area(NamedTuple):
    """Axis-aligned rectangle on the table: lowest and highest x, y, (2,) each [m]."""

    low: Array
    high: Array

    def contains(self, position: Array) -> bool:
        """Return whether a position (2,) [m] lies inside."""
        return bool(np.all(self.low <= position) and np.all(position <= self.high))

    def __str__(self) -> str:
        (x_low, y_low), (x_high, y_high) = self.low, self.high
        return f"x {x_low:.2f} to {x_high:.2f}, y {y_low:.2f} to {y_high:.2f} m"


def block_area(scene: Scene) -> Area:
    """Return the area in which blocks lie at the start of an episode."""
    return Area(*np.transpose([scene.area_x, scene.area_y]))


def training_area(scene: Scene) -> Area:
    """Return the area of the block in training: from the start area to the goal, and a margin."""
    start, margin = block_area(scene), TRAINING_AREA_MARGIN * scene.block_size
    goal = np.array(scene.goal[:2])
    return Area(np.minimum(start.low, goal) - margin, np.maximum(start.high, goal) + margin)


class Rejection(NamedTuple):
    """Why a detection is rejected.

    Attributes:
        kind: name of the check that failed.
        message: explanation and remedy for the user.
        values: numbers in the message.
        tolerance: largest change of the values for which the message is not updated.
    """

    kind: str
    message: str
    values: Array
    tolerance: float

    def is_similar_to(self, other: Rejection | None) -> bool:
        """Return whether another rejection has nearly the same message."""
        if other is None or other.kind != self.kind:
            return False
        return bool(np.all(np.abs(self.values - other.values) <= self.tolerance))


class DetectionGate:
    """Accept or reject each detection of the block."""

    def __init__(self, scene: Scene, area: Area | None = None) -> None:
        """Create a gate.

        Args:
            scene: nominal scene, with the block's size and the camera.
            area: area in which the block must lie; None: anywhere.
        """
        self.scene, self.area = scene, area
        self.camera_height = float(scene.camera.T_base_camera[2, 3])  # [m]
        self.reset()

    def reset(self) -> None:
        """Clear any rejection."""
        self._rejection: Rejection | None = None
        self._last_time = -np.inf  # [s] of the last rejection

    @property
    def reason(self) -> str | None:
        """Why the arm must hold its position; None if it may move."""
        return None if self._rejection is None else self._rejection.message

    def accept(self, detection: BlockDetection) -> bool:
        """Check a detection; return whether a grasp may act on it."""
        rejection = (
            self._check_finite(detection)
            or self._check_size(detection)
            or self._check_position(detection)
        )
        if rejection is None:
            self.clear(detection.time)
            return True
        self._set(detection.time, rejection)
        return False

    def reject(self, time: float, reason: str) -> None:
        """Reject the image of a time [s] as a whole."""
        self._set(time, Rejection(reason, reason, NO_VALUES, 0.0))

    def clear(self, time: float) -> None:
        """Clear the rejection if the accepted image of a time [s] is late enough after it."""
        if time - self._last_time >= CLEAR_DELAY:
            self._rejection = None

    def _set(self, time: float, rejection: Rejection) -> None:
        self._last_time = time
        if not rejection.is_similar_to(self._rejection):  # no new message for each millimetre
            self._rejection = rejection

    def _check_finite(self, detection: BlockDetection) -> Rejection | None:
        """Reject poses that are not finite."""
        if np.isfinite([*detection.position, detection.yaw, *detection.variance]).all():
            return None
        text = "the detected pose of the block is not finite; fix the detector"
        return Rejection("finite", text, NO_VALUES, 0.0)

    def _check_size(self, detection: BlockDetection) -> Rejection | None:
        """Reject blocks that do not have the nominal size or do not lie on the table."""
        side, size = self.scene.block_size, detection.apparent_size
        depth_std = float(np.sqrt(detection.variance[2])) / self.camera_height
        tolerance = SIZE_TOLERANCE + NUM_STDS * depth_std
        if np.isnan(size) or abs(size - side) <= tolerance * side:
            return None
        looks = f"looks {1e3 * size:.0f} mm wide" if size < np.inf else "is not below the camera"
        text = (
            f"the block {looks}; use blocks and markers for {1e3 * side:.0f} mm, lay the block "
            "flat on the table, or calibrate the camera"
        )
        return Rejection("size", text, np.array([min(size, 1.0)]), SIZE_TOLERANCE * side)

    def _check_position(self, detection: BlockDetection) -> Rejection | None:
        """Reject blocks outside of the area."""
        position = detection.position[:2]
        if self.area is None or self.area.contains(position):
            return None
        x, y = position
        text = (
            f"the block lies at x {x:.2f}, y {y:.2f} m, outside of {self.area}, the area in which "
            "the policy was trained; move it there"
        )
        return Rejection("position", text, np.array(position), self.scene.block_size)
