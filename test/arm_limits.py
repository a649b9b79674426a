"""The limits of an arm as its guard knows them, and the check that a motion keeps them."""

from __future__ import annotations

import numpy as np
from oracle import robot

from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig, State

CONFIG = SafetyLimitsConfig()


def limits_of(arm: str) -> Limits:
    return Limits.from_robot(robot(arm), CONFIG)


def assert_safe(states: list[State], limits: Limits, slack: float = 2e-6) -> None:
    """Check that states keep to the limits of position, velocity and acceleration."""
    q, qd, qdd = (np.stack(part) for part in zip(*states, strict=True))
    assert (q >= limits.lower - slack).all() and (q <= limits.upper + slack).all()
    assert (np.abs(qd) <= limits.velocity * (1 + 1e-5)).all()
    assert (np.abs(qdd) <= limits.acceleration * (1 + 1e-5)).all()
