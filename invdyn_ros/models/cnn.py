"""Two pictures on top of each other, convolved: the plain networks of video inverse dynamics."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import PositiveInts, Validated
from invdyn_ros.data.trajectory import NO_VERB
from invdyn_ros.models.inverse_dynamics import ModelMetadata
from invdyn_ros.models.video import VideoModel


@dataclass(frozen=True)
class CNNConfig(Validated):
    """Shape of the network."""

    channels: PositiveInts = (16, 32, 64)
    """Of each convolution, 3x3 with stride 2."""
    width: PositiveInt = 128
    """Units of the hidden layer."""


@dataclass(frozen=True)
class VerbCNNConfig(CNNConfig):
    """Shape of the network."""

    embedding_dim: PositiveInt = 16
    """Numbers that a verb class becomes."""


class CNN(VideoModel):
    """Convolutions over the six channels of two pictures, then one hidden layer."""

    Config = CNNConfig
    config: CNNConfig

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with fresh weights."""
        super().__init__(meta)
        layers: list[nn.Module] = []
        (height, width), inputs = meta.image_size, 6
        for channels in self.config.channels:
            layers += [nn.Conv2d(inputs, channels, 3, stride=2, padding=1), nn.ReLU()]
            height, width, inputs = -(-height // 2), -(-width // 2), channels
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        features = inputs * height * width + self.condition_dim
        self.head = nn.Sequential(
            nn.Linear(features, self.config.width), nn.ReLU(), nn.Linear(self.config.width, self.n)
        )

    @property
    def condition_dim(self) -> int:
        """Numbers that the hidden layer gets beside the pictures."""
        return 0

    def pair_displacement(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised action (N, n) between pictures (N, 3, H, W)."""
        return self.head(self.encoder(torch.cat([before, after], dim=1)))


class VerbCNN(CNN):
    """The same, told what the person said they do: an embedding of the narrated verb."""

    Config = VerbCNNConfig
    config: VerbCNNConfig

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with fresh weights."""
        super().__init__(meta)
        self.verb_embedding = nn.Embedding(NO_VERB + 1, self.config.embedding_dim)

    @property
    def condition_dim(self) -> int:
        """Size of the embedding."""
        return self.config.embedding_dim

    def pair_displacement(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised action (N, n) between pictures (N, 3, H, W)."""
        features = self.encoder(torch.cat([before, after], dim=1))
        return self.head(torch.cat([features, self.verb_embedding(verb)], dim=1))
