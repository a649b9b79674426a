"""Predictions of the residual family in MuJoCo and NumPy, without PyTorch.

The formulas are those of `residual_network` and `rigid_body`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from invdyn_ros.config import from_mapping
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.mujoco_rigid_body import RIGID_BODY_PARAMETERS, MujocoRigidBody
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.models.rigid_body_config import ResidualNetworkConfig, residual_network_sizes
from invdyn_ros.typing import Array


class ResidualPredictor:
    """Predictions of a `ResidualNetwork` for single frames or small batches."""

    n_obs_steps = 1

    def __init__(self, meta: ModelMetadata, tensors: Mapping[str, Array]) -> None:
        """Create the model from the tensors of a checkpoint."""
        config = from_mapping(ResidualNetworkConfig, meta.config, meta.family)
        self.meta, self.n = meta, len(meta.joint_names)
        parameters = {name: tensors[name] for name in RIGID_BODY_PARAMETERS}
        filter_time = np.array(config.friction_filter_time, float)
        velocity = config.coulomb_velocity
        self._rigid_body = MujocoRigidBody(meta, parameters, velocity, filter_time)
        # velocity and direction in one product
        std = tensors["motion_std"][self.n : 2 * self.n]
        self._inverse_velocities = 1 / np.stack([std, np.full(self.n, velocity)])
        *hidden, last = (
            (np.ascontiguousarray(tensors[weight].T), tensors[bias])
            for weight, bias in _names(config)
        )
        self._hidden = hidden
        scale = tensors["residual_std"]
        self._last = last[0] * scale, last[1] * scale

    @classmethod
    def from_tensors(cls, meta: ModelMetadata, tensors: Mapping[str, Array]) -> ResidualPredictor:
        """Create the model from the tensors of a checkpoint of the family `residual`."""
        return cls(meta, tensors)

    @staticmethod
    def tensor_shapes(meta: ModelMetadata) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors of a checkpoint of the family `residual`."""
        n = len(meta.joint_names)
        config = from_mapping(ResidualNetworkConfig, meta.config, meta.family)
        shapes = MujocoRigidBody.tensor_shapes(meta) | {"residual_std": (n,)}
        sizes = pairwise(residual_network_sizes(n, config))
        for (weight, bias), (width_in, width_out) in zip(_names(config), sizes, strict=True):
            shapes |= {weight: (width_out, width_in), bias: (width_out,)}
        return shapes

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the actions (B, T, n) of motion (B, T, 3n) in SI units."""
        mean = self._rigid_body.predict(motion, time).mean
        mean += self._residual(motion.reshape(-1, 3 * self.n)).reshape(mean.shape)
        return PredictedAction(mean, None)

    def rounding_error(self, motion: Array, time: Array) -> Array:
        """Return the size of the rounding errors (n,) of the rigid body, as its own."""
        return self._rigid_body.rounding_error(motion, time)

    def _residual(self, frames: Array) -> Array:
        """Return what the network adds to the actions (N, n) of frames (N, 3n)."""
        n = self.n
        q, qd = frames[:, :n], frames[:, n : 2 * n]
        x = np.empty((len(frames), 4 * n))
        np.sin(q, out=x[:, :n])
        np.cos(q, out=x[:, n : 2 * n])
        np.multiply(qd, self._inverse_velocities[0], out=x[:, 2 * n : 3 * n])
        np.tanh(qd * self._inverse_velocities[1], out=x[:, 3 * n :])
        for weight, bias in self._hidden:
            x = np.tanh(x @ weight + bias)
        weight, bias = self._last
        action: Array = x @ weight + bias
        return action


def _names(config: ResidualNetworkConfig) -> list[tuple[str, str]]:
    """Return the names of weight and bias of each layer."""
    return [(f"net.{2 * k}.weight", f"net.{2 * k}.bias") for k in range(config.depth + 1)]
