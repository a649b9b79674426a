"""A recurrent network over the last few frames: a window of motion enters, actions leave."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import Validated
from invdyn_ros.models.inverse_dynamics import ModelMetadata
from invdyn_ros.models.neural_network import NeuralNetwork


@dataclass(frozen=True)
class GRUConfig(Validated):
    """Shape of the network."""

    n_obs_steps: PositiveInt = 5
    """Frames that a prediction looks at, its own among them."""
    width: PositiveInt = 128
    """Units per layer."""
    depth: PositiveInt = 2
    """Recurrent layers."""
    angles: bool = True
    """Also give the network sin q and cos q, in which gravity is almost linear."""


class GRU(NeuralNetwork):
    """Gated recurrent units (Cho et al. 2014, arXiv 1406.1078), started anew `history` frames ago.

    Forgetting what is older makes a long sequence the same as the windows of training; the first
    frames of a sequence, in training too, have only those before them. Causal.
    """

    Config = GRUConfig
    config: GRUConfig

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with fresh weights."""
        super().__init__(meta)
        config, inputs = self.config, self.feature_dim + 1
        self.net = nn.GRU(inputs, config.width, config.depth, batch_first=True)
        # stays zero where the data's stamps are regular, so irregular ones later do no harm
        nn.init.zeros_(self.net.get_parameter("weight_ih_l0")[:, -1])
        self.head = nn.Sequential(
            nn.Linear(config.width + inputs - 1, config.width),
            nn.SiLU(),
            nn.Linear(config.width, self.n),
        )

    @property
    def n_obs_steps(self) -> int:
        """Frames of motion that a prediction looks at."""
        return self.config.n_obs_steps

    def predict_standardised(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the standardised target (B, T, n) of a motion (B, T, 3n) at times (B, T) [s]."""
        features, n_obs_steps = self.features(motion), self.n_obs_steps
        if motion.shape[1] <= n_obs_steps:
            return self.run_windows(features, time)
        frames = features.unfold(1, n_obs_steps, 1).transpose(-1, -2)  # (B, T - history + 1, ...)
        stamps = time.unfold(1, n_obs_steps, 1)
        flat = self.run_windows(frames.flatten(0, 1), stamps.flatten(0, 1))
        out = flat.unflatten(0, stamps.shape[:2])
        return torch.cat([out[:, 0, :-1], out[:, :, -1]], dim=1)

    def run_windows(self, features: Tensor, time: Tensor) -> Tensor:
        """Run over windows of at most `history` frames, (N, H, F) at (N, H) [s] to (N, H, n)."""
        hidden, _ = self.net(
            torch.cat([features, self.interval_deviation(time)[..., None]], dim=-1)
        )
        return self.head(torch.cat([hidden, features], dim=-1))
