"""Recurrent network over the last frames of a motion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.neural_network import FeatureConfig, NeuralNetwork


@dataclass(frozen=True)
class GRUConfig(FeatureConfig):
    """Size of the network."""

    n_obs_steps: PositiveInt = 5
    """Number of frames that a prediction depends on, including its own."""
    width: PositiveInt = 128
    """Units per layer."""
    depth: PositiveInt = 2
    """Number of recurrent layers."""


class GRU(NeuralNetwork):
    """Gated recurrent units (Cho et al. 2014, arXiv 1406.1078) over the last `n_obs_steps` frames.

    Causal. The hidden state is reset for each prediction, so a long sequence gives the same
    predictions as training windows. At the start of a sequence fewer frames are available, also in
    training.
    """

    Config = GRUConfig
    config: GRUConfig

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with random weights."""
        super().__init__(meta)
        config, inputs = self.config, self.feature_dim + 1
        self.net = nn.GRU(inputs, config.width, config.depth, batch_first=True)
        # with regularly sampled training data these weights stay zero, so that irregular
        # sampling at inference has no effect
        nn.init.zeros_(self.net.get_parameter("weight_ih_l0")[:, -1])
        self.head = nn.Sequential(
            nn.Linear(config.width + inputs - 1, config.width),
            nn.SiLU(),
            nn.Linear(config.width, self.n),
        )

    @property
    def n_obs_steps(self) -> int:
        """Number of frames that a prediction depends on."""
        return self.config.n_obs_steps

    def predict_standardised(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the standardised target (B, T, n) of a motion (B, T, 3n) at times (B, T) [s]."""
        features, n_obs_steps = self.features(motion), self.n_obs_steps
        if motion.shape[1] <= n_obs_steps:
            return self.run_windows(features, time)
        # (B, T - n_obs_steps + 1, n_obs_steps, F)
        frames = features.unfold(1, n_obs_steps, 1).transpose(-1, -2)
        stamps = time.unfold(1, n_obs_steps, 1)
        flat = self.run_windows(frames.flatten(0, 1), stamps.flatten(0, 1))
        out = flat.unflatten(0, stamps.shape[:2])
        return torch.cat([out[:, 0, :-1], out[:, :, -1]], dim=1)

    def run_windows(self, features: Tensor, time: Tensor) -> Tensor:
        """Return the standardised targets (N, H, n) of windows (N, H, F) at times (N, H) [s].

        H is at most `n_obs_steps`.
        """
        hidden, _ = self.net(
            torch.cat([features, self.interval_deviation(time)[..., None]], dim=-1)
        )
        return self.head(torch.cat([hidden, features], dim=-1))
