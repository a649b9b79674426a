"""Safety limits of an arm, and an assertion that a motion stays within them."""

from __future__ import annotations

import numpy as np
from oracle import robot

from invdyn_ros.control.motion_profile import State
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig

CONFIG = SafetyLimitsConfig()


def limits_of(arm: str) -> Limits:
    return Limits.from_robot(robot(arm), CONFIG)


def assert_safe(states: list[State], limits: Limits, tolerance: float = 2e-6) -> None:
    """Assert that states are within the limits of position, velocity and acceleration."""
    q, qd, qdd = (np.stack(part) for part in zip(*states, strict=True))
    assert (q >= limits.lower - tolerance).all() and (q <= limits.upper + tolerance).all()
    assert (np.abs(qd) <= limits.velocity * (1 + 1e-5)).all()
    assert (np.abs(qdd) <= limits.acceleration * (1 + 1e-5)).all()
