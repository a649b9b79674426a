"""Result of the retargeting of one image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class RetargetResult(NamedTuple):
    """Desired state of the arm and its targets, which are NaN while the arm holds."""

    q: np.ndarray
    """(n,) desired joint positions [rad]."""
    qd: np.ndarray
    """(n,) desired joint velocities [rad/s]."""
    hand_target: np.ndarray
    """(3,) target of the wrist of a human-like arm, else of the tip, in the base frame [m]."""
    upper_arm_direction: np.ndarray
    """(3,) unit vector from shoulder to elbow in the base frame."""
    forearm_direction: np.ndarray
    """(3,) unit vector from elbow to wrist in the base frame."""
    target_distance: float
    """Largest distance of wrist and elbow from their targets at the desired state [m]."""
    unreachable_reason: str | None
    """Why no configuration within limits reaches the target, one of UNREACHABLE_REASONS; None
    if one does."""
    hold_reason: str | None
    """Why the arm holds, one of HOLD_REASONS; None if it moves."""
    horizon: float
    """Time from the image to the desired state [s]."""

    @property
    def reachable(self) -> bool:
        """Whether there is a target and a configuration within limits that reaches it."""
        return self.hold_reason is None and self.unreachable_reason is None
