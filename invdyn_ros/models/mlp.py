"""A plain network, frame by frame: standardised motion enters, standardised actions leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from invdyn_ros.models.inverse_dynamics import InverseDynamics, Meta, Prediction

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


@dataclass(frozen=True)
class MlpConfig:
    """Shape of the network."""

    width: int = 256
    """Units per hidden layer."""
    depth: int = 2
    """Hidden layers."""
    activation: Literal["tanh", "relu", "silu", "gelu"] = "silu"
    """What bends between layers."""
    angles: bool = True
    """Also give the network sin q and cos q, in which gravity is almost linear."""

    def __post_init__(self) -> None:
        """Check that there is a network at all."""
        if self.width < 1 or self.depth < 1:
            raise ValueError(f"width {self.width} and depth {self.depth}; both must be at least 1")


class Mlp(InverseDynamics):
    """Multilayer perceptron from [q, qd, qdd] to the action, each frame alone, so causal."""

    Config = MlpConfig
    config: MlpConfig

    def __init__(self, meta: Meta) -> None:
        """Build the network with fresh weights."""
        super().__init__(meta)
        sizes = [
            (5 if self.config.angles else 3) * self.n,
            *[self.config.width] * self.config.depth,
        ]
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(sizes):
            layers += [nn.Linear(width_in, width_out), ACTIVATIONS[self.config.activation]()]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], self.n))

    def forward(self, motion: Tensor) -> Tensor:
        """Return the standardised target (..., n) of a motion (..., 3n)."""
        inputs = (motion - self.motion_mean) / self.motion_std
        if self.config.angles:
            q = motion[..., : self.n]
            inputs = torch.cat([inputs, torch.sin(q), torch.cos(q)], dim=-1)
        return self.net(inputs)

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error in units of the target's variance."""
        target = (self.target(motion, action) - self.target_mean) / self.target_std
        return nn.functional.mse_loss(self(motion), target)

    @torch.inference_mode()
    def predict(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions; the network has no spread of its own."""
        motion = motion.to(self.dtype)
        target = torch.addcmul(self.target_mean, self(motion), self.target_std)
        return Prediction(self.action(motion, target), None)
