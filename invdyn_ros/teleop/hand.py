"""Hand estimation: the 21 landmarks of one hand of a person in an RGB image (MediaPipe)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.config import Probability, Validated
from invdyn_ros.data.mediapipe_models import HAND_TASK, find_task_file
from invdyn_ros.data.mediapipe_task import ImageTask
from invdyn_ros.native_output import suppress_native_output
from invdyn_ros.teleop.hand_grip import WRIST
from invdyn_ros.teleop.pose import Landmarks

HAND_LANDMARKS = {"left": (15, 17, 19), "right": (16, 18, 20)}
"""Landmark indices of wrist, little and index finger of the person's left and right hand."""
TORSO = [11, 12, 23, 24]  # landmark indices of the shoulders and hips
MIN_VISIBILITY = 0.3  # of the wrist
HALF_SIZE = 0.16
"""Half the side of the square around a hand in which it is searched [m]."""
CENTRE = 1.2
"""Centre of the square on the line from the wrist to the knuckles, as a fraction of it."""
REGION_PIXELS = 224  # side of the square that the network gets; it needs no more
COLOR = (120, 255, 120)  # RGB
MAX_WRIST_DISTANCE = 0.6
"""Largest distance of the hand's wrist from that of the pose, as a fraction of `HALF_SIZE`; a
farther one belongs to another hand."""


class HandRegion(NamedTuple):
    """Square of an image in which one hand is searched [px]."""

    centre: np.ndarray  # (2,) x to the right and y down
    half_size: float
    wrist: np.ndarray  # (2,) of the pose


class HandLandmarks(NamedTuple):
    """Landmarks of one hand in one image."""

    world: np.ndarray
    """(21, 3): x, y, z [m] from the middle of the hand, x right in the image, y down, z forward
    from the camera."""
    image: np.ndarray
    """(21, 2): x to the right and y down in the image [px]."""


@dataclass(frozen=True)
class HandEstimatorConfig(Validated):
    """Settings of the hand estimator."""

    min_hand_detection_confidence: Probability = 0.5
    """Minimum score to detect a hand, 0..1."""
    min_hand_tracking_confidence: Probability = 0.5
    """Minimum score to track the hand instead of detecting again, 0..1."""


def hand_region(landmarks: Landmarks, side: str) -> HandRegion | None:
    """Return where a hand of a person is, None if its wrist is not visible.

    Args:
        landmarks: the person.
        side: hand of the person, "left" or "right".
    """
    wrist_index, *knuckles = HAND_LANDMARKS[side]
    torso, points = landmarks.world[TORSO, 1:3], landmarks.image  # y and z lie in the image
    extent = float(np.linalg.norm(torso - torso.mean(axis=0)))
    image_extent = float(np.linalg.norm(points[TORSO] - points[TORSO].mean(axis=0)))
    half_size = HALF_SIZE * image_extent / max(extent, 1e-6)
    wrist = points[wrist_index]
    centre = wrist + CENTRE * (points[knuckles].mean(axis=0) - wrist)
    is_finite = np.isfinite(centre).all() and np.isfinite(half_size)
    if not is_finite or landmarks.world[wrist_index, 3] < MIN_VISIBILITY or half_size < 4:
        return None
    return HandRegion(centre, half_size, wrist)


class HandEstimator(AbstractContextManager["HandEstimator"]):
    """Estimate the landmarks of one hand in successive images."""

    def __init__(self, config: HandEstimatorConfig | None = None) -> None:
        """Load the networks and run them once, because their first call is slow.

        Raises:
            FileNotFoundError: they are not installed.
        """
        config = config or HandEstimatorConfig()
        with suppress_native_output():
            self._task = ImageTask(
                "HandLandmarker",
                find_task_file(HAND_TASK),
                num_hands=1,
                min_hand_detection_confidence=config.min_hand_detection_confidence,
                min_tracking_confidence=config.min_hand_tracking_confidence,
            )
            self._task.detect(np.zeros((REGION_PIXELS, REGION_PIXELS, 3), np.uint8))
        self._first_detection = True  # until the first one, at which TFLite prints a warning

    def __call__(
        self, image: np.ndarray, region: HandRegion | None = None
    ) -> HandLandmarks | None:
        """Return the landmarks of the hand, None if none is detected.

        Args:
            image: (height, width, 3) uint8 RGB.
            region: where the hand is; None: a hand anywhere in the image.
        """
        corner, size, part = np.zeros(2), np.array(image.shape[1::-1], float), image
        if region is not None:
            if not _is_inside(image, region.centre):
                return None
            corner, size = region.centre - region.half_size, np.full(2, 2 * region.half_size)
            part = _cut(image, region)
        with suppress_native_output() if self._first_detection else nullcontext():
            result = self._task.detect(part)
        if not result.hand_landmarks:
            return None
        self._first_detection = False
        pixels = corner + size * np.array([(p.x, p.y) for p in result.hand_landmarks[0]])
        if region is not None:
            distance = float(np.linalg.norm(pixels[WRIST] - region.wrist))
            if distance > MAX_WRIST_DISTANCE * region.half_size:
                return None
        world = np.array([(p.x, p.y, p.z) for p in result.hand_world_landmarks[0]])
        return HandLandmarks(world, pixels)

    def close(self) -> None:
        """Free the networks; the estimator cannot be called afterwards."""
        self._task.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def draw_hand(image: np.ndarray, hand: HandLandmarks | None) -> None:
    """Draw the landmarks of a hand on an image (height, width, 3) uint8 RGB, in place."""
    radius = max(1, round(max(image.shape[:2]) / 320))
    for x, y in np.empty((0, 2)) if hand is None else np.clip(hand.image, -10_000, 10_000):
        cv2.circle(image, (round(x), round(y)), radius, COLOR, -1, cv2.LINE_AA)


def _is_inside(image: np.ndarray, pixel: np.ndarray) -> bool:
    """Return whether a pixel (2,) lies in an image."""
    height, width = image.shape[:2]
    return bool(0 <= pixel[0] < width and 0 <= pixel[1] < height)


def _cut(image: np.ndarray, region: HandRegion) -> np.ndarray:
    """Return a region (REGION_PIXELS, REGION_PIXELS, 3), black outside of the image."""
    x, y = region.centre - region.half_size
    scale = REGION_PIXELS / (2 * region.half_size)
    transform = np.array([[scale, 0.0, -scale * x], [0.0, scale, -scale * y]])
    return np.asarray(cv2.warpAffine(image, transform, (REGION_PIXELS, REGION_PIXELS)))
