"""Seeing a block without markers: a picture and the arm's posture enter, a sighting leaves.

The camera's pose is unknown to the network: what lies on the table, and the arm, show it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import Validated
from invdyn_ros.models.checkpoint import (
    CheckpointType,
    load_weights,
    read_metadata,
    write_checkpoint,
)

BLOCK_POSE = CheckpointType(
    "block pose network", "invdyn_ros block pose network 1", "train_block_pose"
)
POSITION_SCALE = 0.1  # [m] unit of positions
ROBOT_STATE_DIM = 10  # entries of a posture
STEM_KERNEL, HEATMAP_STRIDE, MAX_STRIDE = (
    5,
    4,
    8,
)  # [px] of the first filter, a cell of heat, the coarsest features
HEAD_SIZE = 8  # place, turn, three deviations, resting
MIN_LOG_STD, MAX_LOG_STD = (
    -6.0,
    2.0,
)  # natural logarithms of standard deviations, in the network's units
MAX_PIXEL_VALUE = 255.0
RIDGE = 1e-5  # keeps landmarks that are seen nowhere from a division by zero
MIN_HOMOGENEOUS = 0.1  # a point whose homogeneous coordinate is smaller lies at the horizon
MAX_INITIAL_POSITION = 3.0  # [REACH] guesses further away are cut off


@dataclass(frozen=True)
class BlockPoseNetConfig(Validated):
    """Size of a network that sees.

    Attributes:
        pixels: side of its square pictures [px].
        channels: features at a half, a quarter and an eighth of that.
        keypoints: places in the picture that it looks for.
        hidden: units of the layers that turn places into an answer.
    """

    pixels: Annotated[int, Field(ge=16)] = 128
    channels: tuple[int, int, int] = (16, 32, 64)
    num_keypoints: PositiveInt = 16
    hidden_size: PositiveInt = 128

    def __post_init__(self) -> None:
        """Refuse pictures that cannot be halved three times."""
        super().__post_init__()
        if self.pixels % MAX_STRIDE:
            raise ValueError(f"pixels is {self.pixels}; it must be a multiple of {MAX_STRIDE}")


@dataclass(frozen=True)
class BlockPoseMetadata(Validated):
    """What a network that sees is of.

    Attributes:
        arm: name of the arm in its pictures.
        block_size: side of the block [m].
        centre: middle of the area where blocks lie [m].
        landmarks: where on the table the things are that are always there [m].
        network: its size.
        spread: standard deviations of place and yaw are these times what the network says, found
            on pictures apart from those it learned from.
        data: how it was trained and how well it sees, for people.
    """

    arm: str
    block_size: PositiveFloat
    area_centre: tuple[float, float]
    landmarks: tuple[tuple[float, float], ...]
    network: BlockPoseNetConfig = field(default_factory=BlockPoseNetConfig)
    std_scale: tuple[float, float] = (1.0, 1.0)
    data: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a network that cannot look for every landmark, and the block."""
        super().__post_init__()
        if self.network.num_keypoints <= len(self.landmarks):
            raise ValueError(
                f"network.keypoints is {self.network.num_keypoints}; it must be above the number of "
                f"landmarks, {len(self.landmarks)}"
            )


class BlockPoseOutput(NamedTuple):
    """What a network says of B pictures.

    Attributes:
        position: (B, 2) of the block in the base frame [m].
        turn: (B, 2) cosine and sine of four times its yaw, of any length.
        log_std: (B, 3) natural logarithm of standard deviations: x, y [REACH], both of turn [-].
        resting: (B,) logit of that it is seen to lie on the table.
        keypoints: (B, K, 2) places in the picture, -1 to 1 from left to right, from top to bottom:
            the block's foot, the landmarks, and what the network found useful.
        log_heat: (B, K, cells) natural logarithm of the chance that each is in a cell.
    """

    position: Tensor
    yaw_cos_sin: Tensor
    log_std: Tensor
    on_table_logit: Tensor
    keypoints: Tensor
    log_heatmaps: Tensor


class BlockPoseNet(nn.Module):
    """Convolutions say where in the picture things are, linear layers what that means.

    The expected place of a softmax over the picture, once for each thing: a spatial soft-argmax
    (Levine et al. 2016, arXiv:1504.00702; Finn et al. 2016, arXiv:1509.06113). Where the first
    thing, the block, is, features are gathered too: they tell its yaw. The landmarks give the
    homography from picture to table, hence a first guess of the block's place.
    """

    grid: Tensor
    centre: Tensor
    table: Tensor

    def __init__(self, meta: BlockPoseMetadata) -> None:
        """Make a network whose weights are still to be learned."""
        super().__init__()
        self.meta, config = meta, meta.network
        fine, middle, coarse = config.channels
        self.stem = nn.Sequential(
            _conv_block(3, fine, STEM_KERNEL, 2), _conv_block(fine, middle, 3, 2)
        )
        self.stage1 = _conv_block(middle, middle, 3, 1)
        self.stage2 = nn.Sequential(
            _conv_block(middle, coarse, 3, 2), _conv_block(coarse, coarse, 3, 1)
        )
        self.lateral = nn.Conv2d(coarse, middle, 1)
        self.fuse = _conv_block(middle, middle, 3, 1)
        self.keypoint_heatmaps = nn.Conv2d(middle, config.num_keypoints, 1)
        size = 3 * config.num_keypoints + middle + 2 + ROBOT_STATE_DIM
        self.head = nn.Sequential(
            nn.Linear(size, config.hidden_size),
            nn.ReLU(),
            nn.Linear(config.hidden_size, config.hidden_size),
            nn.ReLU(),
            nn.Linear(config.hidden_size, HEAD_SIZE),
        )
        steps = (
            torch.arange(config.pixels // HEATMAP_STRIDE) + 0.5
        ) * 2 * HEATMAP_STRIDE / config.pixels - 1
        grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(-1, 2)
        self.register_buffer("grid", grid, persistent=False)
        self.register_buffer("centre", torch.tensor(meta.area_centre), persistent=False)
        table = (torch.tensor(meta.landmarks) - self.centre) / POSITION_SCALE
        self.register_buffer("table", table, persistent=False)

    def forward(self, images: Tensor, robot_state: Tensor) -> BlockPoseOutput:
        """Return what is seen.

        Args:
            pictures: (B, H, W, 3) uint8, red, green, blue.
            postures: (B, POSTURE) as `posture` returns them.
        """
        x = images.permute(0, 3, 1, 2).float() / MAX_PIXEL_VALUE - 0.5  # channels last in memory
        fine = self.stage1(self.stem(x))
        coarse = nn.functional.interpolate(
            self.lateral(self.stage2(fine)), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        features = self.fuse(fine + coarse)
        log_heat = (
            self.keypoint_heatmaps(features).flatten(2).float().log_softmax(2)
        )  # (B, K, cells)
        share = log_heat.exp()
        keypoints, peak = share @ self.grid, share.amax(2)
        block = (features.flatten(2).float() @ share[:, 0, :, None])[..., 0]  # (B, C)
        guess = self._position_from_homography(keypoints.detach(), peak.detach())
        features = torch.cat([keypoints.flatten(1), peak, block, guess, robot_state], 1)
        output = self.head(features).float()
        return BlockPoseOutput(
            self.centre + POSITION_SCALE * output[:, :2],
            output[:, 2:4],
            output[:, 4:7].clamp(MIN_LOG_STD, MAX_LOG_STD),
            output[:, 7],
            keypoints,
            log_heat,
        )

    def _position_from_homography(self, keypoints: Tensor, peak: Tensor) -> Tensor:
        """Return where (B, 2) [REACH] the block's foot lies if the landmarks are where they seem.

        The homography is the least-squares one, each landmark weighted by how sharply it is seen.
        """
        u, v = keypoints[:, 1 : len(self.table) + 1].unbind(2)  # (B, L)
        x, y = self.table.T.expand(len(u), 2, -1).unbind(1)
        one, zero = torch.ones_like(u), torch.zeros_like(u)
        rows_x = torch.stack([u, v, one, zero, zero, zero, -x * u, -x * v], 2)
        rows_y = torch.stack([zero, zero, zero, u, v, one, -y * u, -y * v], 2)
        rows, right = torch.cat([rows_x, rows_y], 1), torch.cat([x, y], 1)
        weight = torch.cat([peak[:, 1 : len(self.table) + 1]] * 2, 1)[..., None]
        normal = rows.mT @ (weight * rows) + RIDGE * torch.eye(8)
        h = torch.linalg.solve(normal, rows.mT @ (weight * right[..., None]))[..., 0]
        foot = torch.cat([keypoints[:, 0], one[:, :1]], 1)  # (B, 3)
        above = (h[:, :6].reshape(-1, 2, 3) * foot[:, None]).sum(2)
        below = 1 + (h[:, 6:] * foot[:, :2]).sum(1, keepdim=True)
        return (above / below.clamp(min=MIN_HOMOGENEOUS)).clamp(
            -MAX_INITIAL_POSITION, MAX_INITIAL_POSITION
        )

    def with_metadata(self, meta: BlockPoseMetadata) -> BlockPoseNet:
        """Return a network with the same weights and another description, ready to see."""
        twin = BlockPoseNet(meta)
        twin.load_state_dict(self.state_dict())
        return twin.eval()


def _conv_block(inputs: int, outputs: int, size: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def save_block_pose_net(network: BlockPoseNet, directory: str | Path) -> None:
    """Write a network; a crash leaves the old one or the new one."""
    write_checkpoint(network.state_dict(), network.meta, directory, BLOCK_POSE)


def load_block_pose_net(directory: str | Path, arm: str | None = None) -> BlockPoseNet:
    """Read a network, ready to see.

    Args:
        directory: a folder that `save_sight` wrote.
        arm: refuse a network for the pictures of any other.

    Raises:
        ValueError: no network, a damaged one, or one for another arm.
    """
    meta, sha256 = read_metadata(BlockPoseMetadata, directory, BLOCK_POSE)
    if arm is not None and meta.arm != arm:
        raise ValueError(f"{directory} sees for '{meta.arm}', not for '{arm}'")
    sight = load_weights(BlockPoseNet(meta), directory, sha256, BLOCK_POSE).eval()
    return sight.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
