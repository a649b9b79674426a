"""What speaks against acting on what the camera tells: sightings enter, a reason to hold leaves.

A doubt lasts until the camera has told nothing doubtful for a while, so that it neither flickers
nor is forgotten when the camera falls silent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

CLEAR_DELAY = 0.5  # [s] of pictures without a doubt end it
SIZE_TOLERANCE = 0.15  # of an apparent size: hand-eye calibrations err, blocks are cut roughly
NUM_STDS = 3.0  # standard deviations of a detection that it is allowed
TRAINING_AREA_MARGIN = 2.0  # sides of a block around the places that were learned
NO_VALUES = np.empty(0)


class Area(NamedTuple):
    """Least and greatest x, y, (2,) each [m]."""

    low: Array
    high: Array

    def contains(self, position: Array) -> bool:
        """Say whether a place (2,) [m] lies inside."""
        return bool(np.all(self.low <= position) and np.all(position <= self.high))

    def __str__(self) -> str:
        """Say it as people do."""
        (x, y), (right, left) = self.low, self.high
        return f"x {x:.2f} to {right:.2f}, y {y:.2f} to {left:.2f} m"


def block_area(scene: Scene) -> Area:
    """Return where blocks lie when an episode begins."""
    return Area(*np.transpose([scene.area_x, scene.area_y]))


def training_area(scene: Scene) -> Area:
    """Return where a learned grasp has met blocks: from where they lay to the goal, and around."""
    start, room = block_area(scene), TRAINING_AREA_MARGIN * scene.block_size
    goal = np.array(scene.goal[:2])
    return Area(np.minimum(start.low, goal) - room, np.maximum(start.high, goal) + room)


class Rejection(NamedTuple):
    """A reason in words, the numbers in it, and how far those may drift before it is said anew."""

    kind: str
    message: str
    values: Array
    tolerance: float

    def is_similar_to(self, other: Rejection | None) -> bool:
        """Say whether an earlier doubt said nearly the same."""
        if other is None or other.kind != self.kind:
            return False
        return bool(np.all(np.abs(self.values - other.values) <= self.tolerance))


class DetectionGate:
    """Judges each sighting of the block before a grasp may act on it."""

    def __init__(self, scene: Scene, area: Area | None = None) -> None:
        """Doubt what lies outside of an area; None: the area is not limited."""
        self.scene, self.area = scene, area
        self.camera_height = float(scene.camera.T_base_camera[2, 3])  # its height [m]
        self.reset()

    def reset(self) -> None:
        """Doubt nothing."""
        self._doubt: Rejection | None = None
        self._last = -np.inf

    @property
    def reason(self) -> str | None:
        """Why the arm shall hold, None if it need not."""
        return None if self._doubt is None else self._doubt.message

    def accept(self, detection: BlockDetection) -> bool:
        """Say whether a sighting may be acted on."""
        doubt = self._shape(detection) or self._size(detection) or self._place(detection)
        if doubt is None:
            self.clear(detection.time)
            return True
        self._note(detection.time, doubt)
        return False

    def reject(self, time: float, reason: str) -> None:
        """Take a picture of a time [s] that is itself doubtful."""
        self._note(time, Rejection(reason, reason, NO_VALUES, 0.0))

    def clear(self, time: float) -> None:
        """Take a picture of a time [s] that nothing speaks against."""
        if time - self._last >= CLEAR_DELAY:
            self._doubt = None

    def _note(self, time: float, doubt: Rejection) -> None:
        self._last = time
        if not doubt.is_similar_to(self._doubt):  # else it would be said anew for every millimetre
            self._doubt = doubt

    def _shape(self, sighting: BlockDetection) -> Rejection | None:
        """Doubt what is no pose."""
        if np.isfinite([*sighting.position, sighting.yaw, *sighting.variance]).all():
            return None
        text = "the detected pose of the block is not finite; mend the detector"
        return Rejection("shape", text, NO_VALUES, 0.0)

    def _size(self, sighting: BlockDetection) -> Rejection | None:
        """Doubt a block that cannot both be of its size and lie on the table."""
        side, seen = self.scene.block_size, sighting.apparent_size
        error = (
            SIZE_TOLERANCE + NUM_STDS * float(np.sqrt(sighting.variance[2])) / self.camera_height
        )
        if np.isnan(seen) or abs(seen - side) <= error * side:
            return None
        looks = f"looks {1e3 * seen:.0f} mm wide" if seen < np.inf else "is not below the camera"
        text = (
            f"the block {looks}; use blocks and markers for {1e3 * side:.0f} mm, lay the block "
            "flat on the table, or calibrate the camera"
        )
        return Rejection("size", text, np.array([min(seen, 1.0)]), SIZE_TOLERANCE * side)

    def _place(self, sighting: BlockDetection) -> Rejection | None:
        """Doubt a block far from where grasping was learned."""
        place = sighting.position[:2]
        if self.area is None or self.area.contains(place):
            return None
        x, y = place
        text = (
            f"the block lies at x {x:.2f}, y {y:.2f} m, outside of {self.area}, where the policy "
            "learned to grasp; put it there"
        )
        return Rejection("place", text, np.array(place), self.scene.block_size)
