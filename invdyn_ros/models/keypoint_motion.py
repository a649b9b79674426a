"""What moved between two pictures, by where things are in each: pictures in, the action out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import PositiveInts, Validated
from invdyn_ros.models.inverse_dynamics import ModelMetadata
from invdyn_ros.models.video import Video

GROUPS = 8  # of channels that are normalised together, at most
TAUGHT = 5.0  # weight of a place that is off by half a picture, in variances of the action
TINY = 1e-6  # under a root, whose slope is then finite


@dataclass(frozen=True)
class KeypointMotionConfig(Validated):
    """Shape of the network."""

    channels: PositiveInts = (24, 48, 64)
    """Of a look, at a half, a quarter and an eighth of its side."""
    keypoints: PositiveInt = 32
    """Things that each look searches for."""
    width: PositiveInt = 256
    """Units of each hidden layer."""
    clip_length: Annotated[int, Field(ge=2)] = 6
    """Pictures in a row that training looks at, each once: what moved between any two counts."""
    downsampled_size: Annotated[int, Field(ge=16)] = 112
    """Side that the first look scales larger pictures down to, at most, by a whole factor [px]."""
    crop_size: NonNegativeInt = 64
    """Side of the part that a second look sees in all its pixels [px]; 0: there is none."""


class KeypointMotion(Video):
    """An action is how far the things in a picture moved, in a manner that where they are decides.

    A look at a picture gives the expected place of some things (a spatial soft-argmax; Levine et
    al. 2016, arXiv 1504.00702), to fractions of a pixel, and what is there. The first one sees all
    of the picture, scaled down; the second one sees in all its pixels what is around the last
    thing of the first. With what both say, k, of the one picture and of the other the action is

        W (k_b - k_a) * f((k_a + k_b) / 2) + g(k_b) - g(k_a).

    Pictures that swap negate it, and pictures that are the same give none, whatever was learned.
    Where data tell the places of things, such as joints, fingers and hand of a rendered arm, the
    last things of each look are taught to be these; the second look is then around the hand.
    """

    Config = KeypointMotionConfig
    config: KeypointMotionConfig
    around: Tensor  # (closer, closer, 2) from the middle of the second look, in halves of a side

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with fresh weights.

        Raises:
            ValueError: channels of more or fewer than three sizes.
        """
        super().__init__(meta)
        config, side = self.config, self.config.crop_size
        if len(config.channels) != 3:
            raise ValueError(f"channels are {list(config.channels)}; give three numbers")
        self.shrink = -(-max(meta.frame) // config.downsampled_size)
        self.first = Look(config, [size // self.shrink for size in meta.frame])
        if side:
            self.second = Look(config, [side, side])
            spread = _grid([side, side]) * (side - 1) / torch.tensor([*reversed(meta.frame)])
            self.register_buffer("around", spread, persistent=False)
        told, width = 3 * config.keypoints * (1 + bool(side)), config.width
        self.pose = nn.Sequential(*_hidden(told, width))
        self.motion = nn.Linear(told, width, bias=False)
        self.head = nn.Linear(width, self.n, bias=False)
        self.place = nn.Sequential(*_hidden(told, width), nn.Linear(width, self.n, bias=False))

    @property
    def window(self) -> int:
        """Pictures of a training window."""
        return self.config.clip_length

    def displacement(self, films: Tensor, verb: Tensor, pairs: Tensor) -> Tensor:
        """Return the standardised displacement (N, P, n) of `pairs`; a picture is seen once."""
        return self.moved(self.look(films)[0], pairs)

    def between(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised displacement (N, n) between pictures (N, 3, H, W)."""
        pair = torch.tensor([[0, 1]], device=before.device)
        return self.displacement(torch.stack([before, after], 1), verb, pair).squeeze(1)

    def compute_loss(
        self, films: Tensor, verb: Tensor, pairs: Tensor, wanted: Tensor, points: Tensor
    ) -> Tensor:
        """Return the mean squared error, in training plus how far off known places are."""
        seen, first, second = self.look(films)
        with torch.autocast(seen.device.type, enabled=False):  # differences ask for all digits
            error = (self.moved(seen, pairs) - wanted).square().mean()
        if not self.training or not points.shape[2]:
            return error
        known = 2 * points - 1
        error = error + TAUGHT * _astray(first, known)
        if self.config.crop_size:
            known = (known - first[:, :, -1:].detach()) / self.around[-1, -1]
            error = error + TAUGHT * _astray(second, known)
        return error

    def look(self, films: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is known of the pictures of films (N, T, 3, H, W).

        Returns:
            (N, T, told) where and what things are, and (N, T, K, 2) where those of the first and
            of the second look are, -1 to 1 in what it sees.
        """
        pictures = films.flatten(0, 1)
        small = nn.functional.avg_pool2d(pictures, self.shrink) if self.shrink > 1 else pictures
        where, what = self.first(small)
        first, told = where, [where.flatten(1), what]
        if self.config.crop_size:
            where, what = self.second(self.nearby(pictures, where[:, -1].detach()))
            told += [where.flatten(1), what]
        size = (-1, films.shape[1])  # how many films an export leaves open
        seen = torch.cat(told, 1).unflatten(0, size)
        return seen, first.unflatten(0, size), where.unflatten(0, size)

    def nearby(self, pictures: Tensor, place: Tensor) -> Tensor:
        """Return the parts (N, 3, closer, closer) of pictures around places (N, 2), -1 to 1."""
        points = place[:, None, None] + self.around
        return nn.functional.grid_sample(
            pictures, points, padding_mode="border", align_corners=False
        )

    def moved(self, seen: Tensor, pairs: Tensor) -> Tensor:
        """Return the standardised displacement (N, P, n) of `pairs` of what was seen."""
        place = self.place(seen)
        (a, b), (here, there) = ((x[:, pairs[:, 0]], x[:, pairs[:, 1]]) for x in (seen, place))
        return self.head(self.motion(b - a) * self.pose((a + b) / 2)) + there - here


class Look(nn.Module):
    """Where some things are in a picture, and what is there."""

    grid: Tensor  # (cells, 2) places right and down, -1 to 1

    def __init__(self, config: KeypointMotionConfig, sides: Sequence[int]) -> None:
        """Build the network for pictures of `sides` [px]."""
        super().__init__()
        half, fine, coarse = config.channels
        self.near = nn.Sequential(
            _layer(3, half, 5, 2), _layer(half, fine, 3, 2), _layer(fine, fine, 3, 1)
        )
        self.far = nn.Sequential(_layer(fine, coarse, 3, 2), _layer(coarse, coarse, 3, 1))
        self.back = nn.Conv2d(coarse, fine, 1)
        self.both = _layer(fine, fine, 3, 1)
        self.find = nn.Conv2d(fine, config.keypoints, 1)
        self.say = nn.Conv2d(fine, config.keypoints, 1)
        self.cells = tuple(-(-side // 4) for side in sides)
        self.register_buffer("grid", _grid(self.cells).flatten(0, 1), persistent=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return of pictures (N, 3, H, W) places (N, K, 2), -1 to 1, and what is there (N, K)."""
        near = self.near(pictures)
        far = nn.functional.interpolate(
            self.back(self.far(near)), size=self.cells, mode="bilinear", align_corners=False
        )
        seen = self.both(near + far)
        share = self.find(seen).flatten(2).float().softmax(2)  # (N, K, cells)
        where = (share[..., None] * self.grid).sum(2)  # a product of matrices may have 16 bits
        return where, (self.say(seen).flatten(2) * share).sum(2)


def _grid(sides: Sequence[int]) -> Tensor:
    """Return the places (*sides, 2) right and down of the cells of a picture, -1 to 1."""
    down, right = (torch.linspace(-1, 1, side) for side in sides)
    return torch.stack(torch.meshgrid(right, down, indexing="xy"), -1)


def _astray(where: Tensor, known: Tensor) -> Tensor:
    """Return how far the last places (N, T, K, 2) are from known ones (N, T, L, 2), on average.

    Places out of sight, beyond -1 to 1, do not count.
    """
    count = min(where.shape[2], known.shape[2])
    where, known = where[:, :, -count:], known[:, :, -count:]
    away = (where - known).square().sum(-1).add(TINY).sqrt()
    seen = (known.abs() <= 1).all(-1)
    return (away * seen).sum() / seen.sum().clamp(min=1)


def _layer(inputs: int, outputs: int, size: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(gcd(GROUPS, outputs), outputs), nn.SiLU())


def _hidden(inputs: int, width: int) -> list[nn.Module]:
    return [nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
