"""Safety limits of an arm, and an assertion that a motion stays within them."""

from __future__ import annotations

import numpy as np
from oracle import robot

from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.typing import Array

CONFIG = SafetyLimitsConfig()


def limits_of(arm: str) -> Limits:
    return Limits.from_robot(robot(arm), CONFIG)


def assert_within(q: Array, step: float, limits: Limits) -> None:
    """Assert that positions (T, n), `step` [s] apart, and all their differences keep the limits.

    Differences are means of the derivatives, so they are within the same limits.
    """
    assert (q >= limits.lower - 1.1e-7).all() and (q <= limits.upper + 1.1e-7).all()
    for order, limit in enumerate((limits.velocity, limits.acceleration, limits.jerk), 1):
        q = np.diff(q, axis=0) / step
        rounding = 1e-14 * (2 / step) ** order
        assert (np.abs(q) <= limit * (1 + 1e-6) + rounding).all()
