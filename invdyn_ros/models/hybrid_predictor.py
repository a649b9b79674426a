"""Predictions of the hybrid family in MuJoCo and NumPy, without PyTorch.

The formulas are those of `hybrid`, `gaussian_process` and `least_squares_identification`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from invdyn_ros.config import from_mapping
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.mujoco_rigid_body import RIGID_BODY_PARAMETERS, MujocoRigidBody
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.models.rigid_body_config import (
    NUM_JOINT_FEATURES,
    HybridConfig,
    gaussian_process_shapes,
)
from invdyn_ros.typing import Array


class HybridPredictor:
    """Predictions of a `Hybrid` for single frames or small batches."""

    n_obs_steps = 1

    def __init__(self, meta: ModelMetadata, tensors: Mapping[str, Array]) -> None:
        """Create the model from the tensors of a checkpoint."""
        config = from_mapping(HybridConfig, meta.config, meta.family)
        self.meta, self.n = meta, len(meta.joint_names)
        parameters = {name: tensors[name] for name in RIGID_BODY_PARAMETERS}
        filter_time = tensors["friction_filter_time"]
        self._rigid_body = MujocoRigidBody(meta, parameters, config.coulomb_velocity, filter_time)
        self._motion_mean, self._motion_std = tensors["motion_mean"], tensors["motion_std"]
        self._inverse_length_scale = tensors["inverse_length_scale"][:, None]  # (n, 1, d)
        points = tensors["inducing_points"]  # (n, M, d)
        self._points = np.ascontiguousarray(points.swapaxes(1, 2))  # (n, d, M)
        self._square_points = (points**2).sum(-1)[:, None]  # (n, 1, M)
        # (n, M, M + 1): one product gives the explained variance and the mean
        self._weights = np.concatenate(
            [tensors["variance_reduction"], tensors["mean_weights"][..., None]], axis=-1
        )
        self._output_scale = tensors["output_scale"]
        self._variance_weights = tensors["variance_weights"].T[:, None]  # (4, 1, n)
        self._in_distribution_variance = tensors["in_distribution_variance"]

    @classmethod
    def from_tensors(cls, meta: ModelMetadata, tensors: Mapping[str, Array]) -> HybridPredictor:
        """Create the model from the tensors of a checkpoint of the family `hybrid`."""
        return cls(meta, tensors)

    @staticmethod
    def tensor_shapes(meta: ModelMetadata) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors of a checkpoint of the family `hybrid`."""
        num_inducing = from_mapping(HybridConfig, meta.config, meta.family).num_inducing
        processes = gaussian_process_shapes(len(meta.joint_names), num_inducing)
        return MujocoRigidBody.tensor_shapes(meta) | processes

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the actions (B, T, n) of motion (B, T, 3n) in SI units."""
        rigid = self._rigid_body.predict(motion, time).mean
        correction, std = self._correction(motion.reshape(-1, 3 * self.n))
        return PredictedAction(rigid + correction.reshape(rigid.shape), std.reshape(rigid.shape))

    def rounding_error(self, motion: Array, time: Array) -> Array:
        """Return the size of the rounding errors (n,) of the rigid body, as its own."""
        return self._rigid_body.rounding_error(motion, time)

    def _correction(self, frames: Array) -> tuple[Array, Array]:
        """Return the correction of the rigid body and the standard deviation, each (N, n).

        Args:
            frames: (N, 3n).
        """
        _, qd, qdd = frames.reshape(-1, 3, self.n).swapaxes(0, 1)
        direction = self._rigid_body.velocity_sign(qd, qdd)  # (N, n)
        mean, variance = self._posterior(self._features(frames, direction))
        within = self._in_distribution_variance
        terms = np.empty((4, *mean.shape))
        terms[0] = 1.0
        terms[1] = 1 - direction**2
        terms[2] = variance
        terms[3] = np.maximum((variance - within) / (1 - within), 0.0)
        total = (terms * self._variance_weights).sum(0)
        return self._output_scale * mean, np.sqrt(np.maximum(total, 0.0))

    def _features(self, frames: Array, direction: Array) -> Array:
        """Return the scaled features (n, N, d) of frames (N, 3n).

        Args:
            frames: (N, 3n).
            direction: smooth sign of the velocities (N, n).
        """
        n, k = self.n, NUM_JOINT_FEATURES
        features = np.empty((n, len(frames), k + 3 * n))
        features[..., 0] = 2 * direction.T
        features[..., 1] = (frames[:, n : 2 * n] / self._motion_std[n : 2 * n]).T
        features[..., 2] = (frames[:, 2 * n :] / self._motion_std[2 * n :]).T
        features[..., k:] = (frames - self._motion_mean) / self._motion_std
        features *= self._inverse_length_scale
        return features

    def _posterior(self, x: Array) -> tuple[Array, Array]:
        """Return mean and variance (N, n) of the Gaussian processes at features (n, N, d)."""
        square = (x * x).sum(-1, keepdims=True) + self._square_points - 2 * (x @ self._points)
        kernel = np.exp(-0.5 * np.maximum(square, 0.0))  # (n, N, M)
        products = kernel @ self._weights  # (n, N, M + 1)
        explained = (products[..., :-1] ** 2).sum(-1)
        return products[..., -1].T, np.clip(1 - explained, 0.0, 1.0).T
