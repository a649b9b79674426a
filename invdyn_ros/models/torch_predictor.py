"""Predictions of PyTorch models from NumPy arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.typing import Array


class TorchPredictor:
    """A model in eager PyTorch, on its device."""

    def __init__(self, model: InverseDynamics) -> None:
        """Wrap a model."""
        self.model, self.meta = model, model.meta

    @property
    def n_obs_steps(self) -> int:
        """Number of frames that a prediction depends on."""
        return self.model.n_obs_steps

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the actions (B, T, n) of motion (B, T, 3n) at times (B, T) [s]."""
        device = self.model.motion_mean.device
        inputs = (torch.from_numpy(np.ascontiguousarray(x)).to(device) for x in (motion, time))
        mean, std = self.model.predict(*inputs)
        return PredictedAction(_to_array(mean), None if std is None else _to_array(std))


def _to_array(values: Tensor) -> Array:
    array: Array = values.double().cpu().numpy()
    return array
