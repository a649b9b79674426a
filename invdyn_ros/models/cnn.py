"""Convolutional networks for video inverse dynamics, on two stacked images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import PositiveInts, Validated
from invdyn_ros.data.trajectory import NO_VERB
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.video import VideoModel


@dataclass(frozen=True)
class CNNConfig(Validated):
    """Size of the network."""

    channels: PositiveInts = (16, 32, 64)
    """Channels of each convolution, 3x3 with stride 2."""
    width: PositiveInt = 128
    """Units of the hidden layer."""


@dataclass(frozen=True)
class VerbCNNConfig(CNNConfig):
    """Size of the network and of the verb embedding."""

    embedding_dim: PositiveInt = 16
    """Size of the embedding of a verb class."""


class CNN(VideoModel):
    """Convolutions over the six channels of two images, then one hidden layer."""

    Config = CNNConfig
    config: CNNConfig

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with random weights."""
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
        """Number of inputs of the hidden layer besides the image features."""
        return 0

    def pair_displacement(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised displacement (N, n) between images (N, 3, H, W).

        Args:
            before: (N, 3, H, W).
            after: (N, 3, H, W).
            verb: (N,), not used.
        """
        return self.head(self.encoder(torch.cat([before, after], dim=1)))


class VerbCNN(CNN):
    """A CNN that is conditioned on an embedding of the narrated verb."""

    Config = VerbCNNConfig
    config: VerbCNNConfig

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with random weights."""
        super().__init__(meta)
        self.verb_embedding = nn.Embedding(NO_VERB + 1, self.config.embedding_dim)

    @property
    def condition_dim(self) -> int:
        """Size of the embedding."""
        return self.config.embedding_dim

    def pair_displacement(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised displacement (N, n) between images (N, 3, H, W).

        Args:
            before: (N, 3, H, W).
            after: (N, 3, H, W).
            verb: (N,) class of the narrated verb, or NO_VERB.
        """
        features = self.encoder(torch.cat([before, after], dim=1))
        return self.head(torch.cat([features, self.verb_embedding(verb)], dim=1))
