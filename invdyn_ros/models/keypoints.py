"""What moved between two pictures, by where things are in each: pictures in, the action out."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Annotated

import torch
from torch import Tensor, nn

from invdyn_ros.config import Checked, Count, Sizes, at_least
from invdyn_ros.models.inverse_dynamics import Meta
from invdyn_ros.models.video import Video

GROUPS = 8  # of channels that are normalised together, at most


@dataclass(frozen=True)
class KeypointsConfig(Checked):
    """Shape of the network."""

    channels: Sizes = (24, 48, 64)
    """At a half, a quarter and an eighth of the picture's side."""
    keypoints: Count = 32
    """Things that are looked for."""
    width: Count = 256
    """Units of each hidden layer."""
    stretch: Annotated[int, at_least(2)] = 6
    """Pictures in a row that training looks at, each once: what moved between any two counts."""


class Keypoints(Video):
    """An action is how far the things in a picture moved, in a manner that where they are decides.

    Of each picture a softmax over the places gives the expected place of some things (a spatial
    soft-argmax; Levine et al. 2016, arXiv 1504.00702), to fractions of a pixel, and what is there.
    With these k of the one picture and of the other the action is

        W (k_b - k_a) * f((k_a + k_b) / 2) + g(k_b) - g(k_a).

    Pictures that swap negate it, and pictures that are the same give none, whatever was learned.
    """

    Config = KeypointsConfig
    config: KeypointsConfig
    grid: Tensor  # (cells, 2) places, -1 to 1

    def __init__(self, meta: Meta) -> None:
        """Build the network with fresh weights.

        Raises:
            ValueError: channels of more or fewer than three sizes.
        """
        super().__init__(meta)
        config = self.config
        if len(config.channels) != 3:
            raise ValueError(f"channels are {list(config.channels)}; give three numbers")
        half, fine, coarse = config.channels
        self.near = nn.Sequential(
            _layer(3, half, 5, 2), _layer(half, fine, 3, 2), _layer(fine, fine, 3, 1)
        )
        self.far = nn.Sequential(_layer(fine, coarse, 3, 2), _layer(coarse, coarse, 3, 1))
        self.back = nn.Conv2d(coarse, fine, 1)
        self.find = nn.Sequential(_layer(fine, fine, 3, 1), nn.Conv2d(fine, config.keypoints, 1))
        self.say = nn.Conv2d(fine, config.keypoints, 1)
        self.cells = tuple(-(-side // 4) for side in meta.frame)
        axes = [torch.linspace(-1, 1, side) for side in self.cells]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 1)
        self.register_buffer("grid", grid, persistent=False)
        told, width = 3 * config.keypoints, config.width
        self.pose = nn.Sequential(*_hidden(told, width))
        self.motion = nn.Linear(told, width, bias=False)
        self.head = nn.Linear(width, self.n, bias=False)
        self.place = nn.Sequential(*_hidden(told, width), nn.Linear(width, self.n, bias=False))

    @property
    def window(self) -> int:
        """Pictures of a training window."""
        return self.config.stretch

    def forward(self, films: Tensor, verb: Tensor, pairs: Tensor) -> Tensor:
        """Return the standardised displacement (N, P, n) of `pairs`; a picture is seen once."""
        seen = self.look(films.flatten(0, 1)).unflatten(0, (-1, films.shape[1]))  # (N, T, told)
        place = self.place(seen)
        (a, b), (here, there) = ((x[:, pairs[:, 0]], x[:, pairs[:, 1]]) for x in (seen, place))
        return self.head(self.motion(b - a) * self.pose((a + b) / 2)) + there - here

    def between(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised displacement (N, n) between pictures (N, 3, H, W)."""
        pair = torch.tensor([[0, 1]], device=before.device)
        return self(torch.stack([before, after], 1), verb, pair).squeeze(1)

    def look(self, pictures: Tensor) -> Tensor:
        """Return where and what the things in pictures (N, 3, H, W) are, (N, 3 keypoints)."""
        near = self.near(pictures)
        far = nn.functional.interpolate(
            self.back(self.far(near)), size=self.cells, mode="bilinear", align_corners=False
        )
        seen = near + far
        share = self.find(seen).flatten(2).softmax(2)  # (N, K, cells)
        what = (self.say(seen).flatten(2) * share).sum(2)
        return torch.cat([(share @ self.grid.to(share)).flatten(1), what], 1)


def _layer(inputs: int, outputs: int, size: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(gcd(GROUPS, outputs), outputs), nn.SiLU())


def _hidden(inputs: int, width: int) -> list[nn.Module]:
    return [nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
