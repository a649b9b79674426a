"""Hands: RGB pictures enter, the place of one wrist in each of them leaves."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from invdyn_ros.config import Fraction, Probability, Validated
from invdyn_ros.native_output import suppress_native_output

MAX_HANDS = 2  # looked for, so that the followed one does not vanish behind the other's score


@dataclass(frozen=True)
class WristTrackerConfig(Validated):
    """When a wrist counts as seen."""

    min_detection_confidence: Probability = 0.5
    """Score from which a hand is one, on its first picture."""
    min_tracking_confidence: Probability = 0.5
    """Score from which it still is that hand, on the next."""
    max_jump: Fraction = 0.15
    """Farthest that a wrist moves between two pictures, in shares of the picture."""


class WristTracker(AbstractContextManager["WristTracker"]):
    """Follow the wrist of one hand through the pictures of a video.

    Of several hands it is the one nearest to where the wrist was. A hand elsewhere is another
    one: the wrist is lost, and the next picture begins with whichever hand is seen first.
    """

    def __init__(self, config: WristTrackerConfig | None = None) -> None:
        """Load the network that MediaPipe brings."""
        self.config = config or WristTrackerConfig()
        with suppress_native_output():
            import mediapipe as mp  # half a second: only who looks for hands pays

            self._hands = mp.solutions.hands.Hands(
                max_num_hands=MAX_HANDS,
                min_detection_confidence=self.config.min_detection_confidence,
                min_tracking_confidence=self.config.min_tracking_confidence,
            )
            self._hands.process(np.zeros((256, 256, 3), np.uint8))
        self._last: np.ndarray | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray | None:
        """Return where the wrist is, (2,), right and down in shares of the picture, or None.

        Args:
            image: RGB picture (H, W, 3), uint8, the one after that of the last call.
        """
        with suppress_native_output():
            found = self._hands.process(np.ascontiguousarray(image)).multi_hand_landmarks or []
        wrists = np.array([[h.landmark[0].x, h.landmark[0].y] for h in found]).reshape(-1, 2)
        self._last = nearest_wrist(wrists, self._last, self.config.max_jump)
        return self._last

    def close(self) -> None:
        """Free the network."""
        self._hands.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def nearest_wrist(
    wrists: np.ndarray, previous: np.ndarray | None, max_jump: float
) -> np.ndarray | None:
    """Return which of the wrists (k, 2) is the one that was at `last` (2,), or the first of all.

    None where there is none, or none within `jump` of where it was.
    """
    if len(wrists) == 0:
        return None
    if previous is None:
        return np.asarray(wrists[0])
    away = np.linalg.norm(wrists - previous, axis=1)
    return np.asarray(wrists[away.argmin()]) if away.min() <= max_jump else None
