"""Tracking of one wrist in RGB images (MediaPipe Hands)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from invdyn_ros.config import Fraction, Probability, Validated
from invdyn_ros.data.mediapipe_models import HAND_TASK, find_task_file
from invdyn_ros.data.mediapipe_task import ImageTask
from invdyn_ros.native_output import suppress_native_output

MAX_HANDS = 2  # one more than tracked, because the other hand may have the higher score


@dataclass(frozen=True)
class WristTrackerConfig(Validated):
    """Settings of the wrist tracker."""

    min_detection_confidence: Probability = 0.5
    """Minimum score of a hand in its first image, 0..1."""
    min_tracking_confidence: Probability = 0.5
    """Minimum score to track the hand in the next image, 0..1."""
    max_jump: Fraction = 0.15
    """Largest movement of the wrist between two images, as a fraction of the image."""


class WristTracker(AbstractContextManager["WristTracker"]):
    """Track the wrist of one hand through the images of a video.

    If there are several hands, the one nearest to the previous position is tracked. If none is
    near enough, tracking fails and restarts in the next image with the first detected hand.
    """

    def __init__(self, config: WristTrackerConfig | None = None) -> None:
        """Load the hand network of MediaPipe.

        Raises:
            FileNotFoundError: it is not installed.
        """
        self.config = config or WristTrackerConfig()
        self._task = ImageTask(
            "HandLandmarker",
            find_task_file(HAND_TASK),
            num_hands=MAX_HANDS,
            min_hand_detection_confidence=self.config.min_detection_confidence,
            min_tracking_confidence=self.config.min_tracking_confidence,
        )
        self._previous: np.ndarray | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray | None:
        """Return the position of the wrist (2,), or None if it is not detected.

        The position is x to the right and y down, as fractions of the image size.

        Args:
            image: (H, W, 3) uint8 RGB, the image that follows that of the previous call.
        """
        with suppress_native_output():
            hands = self._task.detect(image).hand_landmarks
        wrists = np.array([[hand[0].x, hand[0].y] for hand in hands]).reshape(-1, 2)
        self._previous = nearest_wrist(wrists, self._previous, self.config.max_jump)
        return self._previous

    def close(self) -> None:
        """Free the network."""
        self._task.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def nearest_wrist(
    wrists: np.ndarray, previous: np.ndarray | None, max_jump: float
) -> np.ndarray | None:
    """Return the wrist nearest to the previous position, or the first if there is none.

    Args:
        wrists: (k, 2) positions of all wrists.
        previous: (2,) position in the previous image, or None.
        max_jump: largest distance from the previous position.

    Returns:
        (2,), or None if no wrist is near enough.
    """
    if len(wrists) == 0:
        return None
    if previous is None:
        return np.asarray(wrists[0])
    distance = np.linalg.norm(wrists - previous, axis=1)
    return np.asarray(wrists[distance.argmin()]) if distance.min() <= max_jump else None
