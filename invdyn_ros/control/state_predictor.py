"""Interface of the prediction of an arm's state while its joint states are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pydantic import NonNegativeFloat

from invdyn_ros.config import Validated
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.motion_profile import Plan, State


class StatePredictor(Protocol):
    """Interface of state predictors."""

    def update(self, measured: MeasuredState, desired: State | None) -> None:
        """Add a joint state, and the desired state at its time."""

    def predict(self, time: float, plan: Plan | None) -> MeasuredState | None:
        """Return the state at a time [s], None if it cannot be predicted."""


@dataclass(frozen=True)
class StatePredictorConfig(Validated):
    """Limits of prediction.

    Attributes:
        max_dropout: longest time after the last joint state for which states are predicted [s].
    """

    max_dropout: NonNegativeFloat = 0.1
