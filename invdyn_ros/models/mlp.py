"""Multilayer perceptron on single frames of a motion."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.neural_network import ACTIVATIONS, FeatureConfig, NeuralNetwork


@dataclass(frozen=True)
class MLPConfig(FeatureConfig):
    """Size of the network."""

    width: PositiveInt = 256
    """Units per hidden layer."""
    depth: PositiveInt = 2
    """Number of hidden layers."""
    activation: Literal["tanh", "relu", "silu", "gelu"] = "silu"
    """Activation function."""


class MLP(NeuralNetwork):
    """Multilayer perceptron from [q, qd, qdd] to the action of the same frame, so causal."""

    Config = MLPConfig
    config: MLPConfig

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with random weights."""
        super().__init__(meta)
        sizes = [self.feature_dim, *[self.config.width] * self.config.depth]
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(sizes):
            layers += [nn.Linear(width_in, width_out), ACTIVATIONS[self.config.activation]()]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], self.n))

    def predict_standardised(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the standardised target (..., n) of a motion (..., 3n); the time is not used."""
        return self.net(self.features(motion))
