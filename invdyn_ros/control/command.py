"""Output of one control step, and the reasons in it."""

from __future__ import annotations

from typing import NamedTuple

from invdyn_ros.control.motion_profile import State
from invdyn_ros.typing import Array

USING_FALLBACK = "model uncertain: rigid-body fallback"
SETTLING = "waiting for the first torque to arrive"
IGNORED = "joint state ignored"
SOFT_STOP = "soft stop"  # of a floating arm
MODEL_DRIFT = "model drift"  # the arm differs from its model


class Command(NamedTuple):
    """Output of one control step.

    Attributes:
        action: (n,) in the model's unit, or None: send nothing.
        desired: planned state at the time of the measurement, None while disengaged.
        reason: why the arm holds or the action was changed, None otherwise.
        target_stamp: stamp of the target [s] if this command is the first to act on it.
        fault: the latched fault, in one line; None without one.
    """

    action: Array | None
    desired: State | None
    reason: str | None
    target_stamp: float | None
    fault: str | None = None
