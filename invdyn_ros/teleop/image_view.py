"""How images are turned and mirrored so that the person in them is upright and not mirrored."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TORSO_LANDMARKS = [11, 12, 23, 24]  # left and right shoulder, left and right hip
MIN_VISIBILITY = 0.5  # of the torso
MIN_ROLL = np.radians(60)  # of a torso that counts as turned; half-way is 45 deg
TURNED_IMAGES = 5  # in a row with a turned person, before the images are turned
EMPTY_IMAGES = 20  # in a row without a person, before another rotation is tried


class ImageView(NamedTuple):
    """Mirroring, then a rotation by right angles.

    Attributes:
        is_mirrored: whether the images are mirrored left to right.
        turns: number of counter-clockwise turns by 90 deg, 0 to 3.
    """

    is_mirrored: bool = False
    turns: int = 0

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return an image (H, W, 3) as it is to be looked at."""
        image = image[:, ::-1] if self.is_mirrored else image
        return np.ascontiguousarray(np.rot90(image, self.turns))

    def to_source(self, pixels: np.ndarray, width: int, height: int) -> np.ndarray:
        """Return where pixels of the view are in the source image.

        Args:
            pixels: (k, 2) x to the right and y down in the view [px].
            width: of the source image [px].
            height: of the source image [px].
        """
        x, y = np.asarray(pixels, dtype=float).T
        x, y = ((x, y), (width - y, x), (width - x, height - y), (y, height - x))[self.turns]
        return np.column_stack([width - x if self.is_mirrored else x, y])


class UprightSearch:
    """Finds the rotation of the images in which the person is upright.

    A person who lies sideways in the image for some images turns it; without a person the
    rotations are tried in turn.
    """

    def __init__(self) -> None:
        """Start without a rotation."""
        self.turns = 0
        self._num_empty = self._num_turned = 0

    def update(self, world: np.ndarray | None) -> bool:
        """Return whether the rotation changes after an image.

        Args:
            world: (33, 4) landmarks in the hip frame of the view, None without a person.
        """
        if world is None:
            self._num_turned, self._num_empty = 0, self._num_empty + 1
            return self._num_empty >= EMPTY_IMAGES and self._turn(1)
        roll, self._num_empty = torso_roll(world), 0
        self._num_turned = self._num_turned + 1 if abs(roll) > MIN_ROLL else 0
        return self._num_turned >= TURNED_IMAGES and self._turn(round(roll / (np.pi / 2)))

    def _turn(self, turns: int) -> bool:
        self.turns = (self.turns + turns) % 4
        self._num_empty = self._num_turned = 0
        return True


def torso_roll(world: np.ndarray) -> float:
    """Return the angle of a torso from upright to the right in the image [rad]; 0 if not visible.

    Args:
        world: (33, 4) landmarks in the hip frame.
    """
    torso = world[TORSO_LANDMARKS]
    if not np.isfinite(torso).all() or torso[:, 3].min() < MIN_VISIBILITY:
        return 0.0
    spine = torso[:2, :3].mean(axis=0) - torso[2:, :3].mean(axis=0)
    return float(np.arctan2(spine[1], spine[2]))
