"""Gains of the feedback beside a model of an arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from invdyn_ros.typing import Array

ROTOR_GUESS = 0.003  # [s2/rad] rotor inertia of a typical geared joint, per effort limit
LARGEST_EFFORT = 400.0  # [N m] of an arm's joint; more in a URDF is a placeholder
MAX_VELOCITY_TO_PLAN = 0.05  # [rad/s], enough for dry friction to have its sign
FeedbackSpace = Literal["acceleration", "torque"]


@dataclass(frozen=True)
class FeedbackConfig:
    """Feedback beside a model, as an acceleration for the errors of position and velocity.

    Attributes:
        stiffness: acceleration per position error [1/s2].
        damping: acceleration per velocity error [1/s].
        integral: acceleration per integrated position error [1/s3].
        integral_limit: largest integrated error [rad s].
        error_feedthrough: fraction of the current position error that is subtracted from the
            planned position in the model's input [-].
        space: acceleration: the feedback is added to the desired acceleration before the model;
            torque: the model gets the plan only, and the feedback goes through the nominal
            inertia of the arm, so that a model with wrong derivatives cannot turn its sign.
    """

    stiffness: float = 225.0
    damping: float = 30.0
    integral: float = 600.0
    integral_limit: float = 0.05
    error_feedthrough: float = 1.0
    space: FeedbackSpace = "acceleration"

    @property
    def convergence_rate(self) -> float:
        """Rate at which the feedback wants the position error to vanish [1/s]."""
        return self.stiffness / self.damping if self.damping else 0.0


# A position servo closes its own loop, so its setpoint starts from the plan, not from the error.
FEEDBACK = {
    "N m": FeedbackConfig(),
    "rad": FeedbackConfig(stiffness=0.0, damping=0.0, integral=0.0, error_feedthrough=0.0),
}


def nominal_rotor_inertia(effort: Array) -> Array:
    """Return a plausible rotor inertia (n,) [kg m2] by effort limits (n,) [N m]."""
    return ROTOR_GUESS * np.minimum(effort, LARGEST_EFFORT)
