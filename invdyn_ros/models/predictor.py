"""Interface of models at run time: predictions of actions with NumPy, without PyTorch."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.typing import Array


class PredictedAction(NamedTuple):
    """Actions (B, T, n) in the action unit, and their standard deviation if the model has one."""

    mean: Array
    std: Array | None


class Predictor(Protocol):
    """A model that predicts actions from windows of motion."""

    @property
    def n_obs_steps(self) -> int:
        """Number of frames that a prediction depends on, including its own."""

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the actions (B, T, n) of motion (B, T, 3n) at times (B, T) [s]."""


class Runtime(Predictor, Protocol):
    """A trained model that predicts actions, with its metadata."""

    meta: ModelMetadata
