"""Which part of a picture went where in the next: matched features enter, the action leaves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from invdyn_ros.config import Checked, Count
from invdyn_ros.models.inverse_dynamics import Meta
from invdyn_ros.models.video import Video

GROUPS = 4  # of channels that are normalised together


@dataclass(frozen=True)
class CorrelationConfig(Checked):
    """Shape of the network."""

    channels: Count = 32
    """Features of each place of a picture; a multiple of 4."""
    reach: Count = 3
    """Places, of 4 pixels each, that a feature may have moved by and still be matched."""
    width: Count = 256
    """Units of the hidden layer."""

    def __post_init__(self) -> None:
        """Check that the channels form groups."""
        super().__post_init__()
        if self.channels % GROUPS:
            raise ValueError(f"channels is {self.channels}; it must be a multiple of {GROUPS}")


class Correlation(Video):
    """A correlation layer between two pictures, as in FlowNetC (arXiv 1504.06852, eq. 1).

    One encoder sees each picture at a quarter of its size. The products of each feature vector
    with those around its place in the other picture tell where it went; with the features and
    their change, and with where in the picture each place is, convolutions read the action.
    """

    Config = CorrelationConfig
    config: CorrelationConfig

    def __init__(self, meta: Meta) -> None:
        """Build the network with fresh weights."""
        super().__init__(meta)
        c, reach = self.config.channels, self.config.reach
        self.eye = nn.Sequential(
            nn.Conv2d(3, c, 7, stride=4, padding=3),
            nn.GroupNorm(GROUPS, c),
            nn.SiLU(),
            nn.Conv2d(c, c, 3, padding=1),
        )
        height, width = (-(-side // 4) for side in meta.frame)
        y, x = torch.meshgrid(
            torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
        )
        self.register_buffer("place", torch.stack([x, y])[None], persistent=False)
        seen = 2 * c + (2 * reach + 1) ** 2 + 2
        self.reader = nn.Sequential(
            *_halved(seen, 2 * c), *_halved(2 * c, 2 * c), *_halved(2 * c, 2 * c), nn.Flatten()
        )
        for _ in range(3):
            height, width = -(-height // 2), -(-width // 2)
        self.head = nn.Sequential(
            nn.Linear(2 * c * height * width, self.config.width),
            nn.SiLU(),
            nn.Linear(self.config.width, self.n),
        )

    def between(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised action (N, n) between pictures (N, 3, H, W)."""
        first, second = self.eye(before), self.eye(after)
        place = self.get_buffer("place").expand(len(first), -1, -1, -1)
        seen = [second, second - first, self.matches(first, second), place]
        return self.head(self.reader(torch.cat(seen, dim=1)))

    def matches(self, first: Tensor, second: Tensor) -> Tensor:
        """Return how well each place fits those around it in the other picture.

        Args:
            first: (N, C, h, w) features.
            second: (N, C, h, w).

        Returns:
            (N, (2 reach + 1)^2, h, w), mean products of normalised features.
        """
        reach, (height, width) = self.config.reach, first.shape[-2:]
        first, second = (nn.functional.normalize(x, dim=1) for x in (first, second))
        padded = nn.functional.pad(second, [reach] * 4)
        shifts = [(i, j) for i in range(2 * reach + 1) for j in range(2 * reach + 1)]
        products = [(first * padded[..., i : i + height, j : j + width]).sum(1) for i, j in shifts]
        return torch.stack(products, dim=1)


def _halved(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """Return a convolution that halves the size."""
    return (
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
        nn.GroupNorm(GROUPS, outputs),
        nn.SiLU(),
    )
