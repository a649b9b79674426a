"""What changed between two pictures, read by what they show: pictures enter, the action leaves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from invdyn_ros.config import Checked, Count, Sizes
from invdyn_ros.models.inverse_dynamics import Meta
from invdyn_ros.models.video import Video


@dataclass(frozen=True)
class GatedConfig(Checked):
    """Shape of the network."""

    channels: Sizes = (16, 32, 64)
    """Of each pair of convolutions, 3x3 with stride 2."""
    width: Count = 256
    """Units of the hidden layer."""


class Gated(Video):
    """An action that is linear in the change of the picture, with factors that the scene decides.

    Of small motion the change of a picture is its gradient times the motion of what it shows
    (Lucas and Kanade, IJCAI 1981), and that is linear in the velocity of the joints. So one path
    carries the change b - a through convolutions without bias, and at each of them is multiplied
    by what the other path sees in the mean (a + b) / 2. Pictures that swap negate the action,
    and pictures that are the same give none, whatever was learned.
    """

    Config = GatedConfig
    config: GatedConfig

    def __init__(self, meta: Meta) -> None:
        """Build the network with fresh weights."""
        super().__init__(meta)
        sizes = [3, *self.config.channels]
        self.scene = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(sizes)
        )
        self.gates = nn.ModuleList(nn.Conv2d(b, b, 1) for b in sizes[1:])
        self.change = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False) for a, b in pairwise(sizes)
        )
        height, width = meta.frame
        for _ in self.config.channels:
            height, width = -(-height // 2), -(-width // 2)
        seen = sizes[-1] * height * width
        self.pose = nn.Linear(seen, self.config.width)
        self.motion = nn.Linear(seen, self.config.width, bias=False)
        self.head = nn.Linear(self.config.width, self.n, bias=False)

    def between(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised action (N, n) between pictures (N, 3, H, W)."""
        scene, change = (before + after) / 2, after - before
        for see, gate, carry in zip(self.scene, self.gates, self.change, strict=True):
            scene = nn.functional.silu(see(scene))
            change = carry(change) * gate(scene)
        pose = nn.functional.silu(self.pose(scene.flatten(1)))
        return self.head(self.motion(change.flatten(1)) * pose)
