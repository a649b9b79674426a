"""Landmarks of a hand that opens, pinches and makes a fist, as MediaPipe reports them."""

from __future__ import annotations

import numpy as np

from invdyn_ros.teleop.hand_grip import INDEX_TIP, NUM_HAND_LANDMARKS, THUMB_TIP

KNUCKLES = np.array(
    [[0.03, 0.088, 0.0], [0.008, 0.09, 0.0], [-0.014, 0.085, 0.0], [-0.034, 0.078, 0.0]]
)
"""Knuckles (4, 3) of index, middle, ring and little finger from the wrist [m]: x to the thumb, y
along the fingers, z out of the palm."""
PARTS = np.array(
    [[0.04, 0.024, 0.02], [0.044, 0.027, 0.021], [0.041, 0.026, 0.02], [0.032, 0.019, 0.018]]
)
"""Lengths (4, 3) of the three parts of each finger [m]."""
THUMB = np.array([[0.03, 0.025, 0.01], [0.055, 0.045, 0.02], [0.075, 0.065, 0.022],
                  [0.09, 0.085, 0.022]])  # fmt: skip
"""Joints and tip (4, 3) of the thumb of an open hand [m]."""
FIST_ANGLE = np.radians(85)  # of each joint of a finger
PINCH_ANGLE = np.radians(28)  # of each joint of the index finger


def scripted_hand(fist: float = 0.0, pinch: float = 0.0) -> np.ndarray:
    """Return the landmarks (21, 3) [m] of a hand.

    Args:
        fist: 0 for straight fingers, 1 for a fist.
        pinch: 0 for an open hand, 1 where thumb and index finger touch.
    """
    hand = np.zeros((NUM_HAND_LANDMARKS, 3))
    hand[1:5] = THUMB
    for finger in range(4):
        bending = fist * FIST_ANGLE
        if finger == 0:
            bending = max(bending, pinch * PINCH_ANGLE)
        angles = bending * np.arange(1, 4)
        steps = PARTS[finger][:, None] * np.column_stack(
            [np.zeros(3), np.cos(angles), np.sin(angles)]
        )
        first = 5 + 4 * finger
        hand[first : first + 4] = KNUCKLES[finger] + np.vstack([np.zeros(3), steps.cumsum(axis=0)])
    middle = hand[10]  # of the middle finger, on which the thumb of a fist lies
    hand[THUMB_TIP] += fist * (middle - hand[THUMB_TIP])
    hand[THUMB_TIP] += pinch * (hand[INDEX_TIP] - hand[THUMB_TIP])
    return hand
