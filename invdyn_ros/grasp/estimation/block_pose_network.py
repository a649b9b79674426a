"""Convolutional network for block pose estimation from RGB images without markers.

The network gets no camera pose: it infers the view from landmarks on the table and from the arm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import Validated
from invdyn_ros.models.checkpoint import load_weights, write_checkpoint
from invdyn_ros.models.checkpoint_files import CheckpointType, read_metadata

BLOCK_POSE = CheckpointType(
    "block pose network", "invdyn_ros block pose network 1", "train_block_pose"
)
POSITION_SCALE = 0.1  # [m] unit of positions inside the network
ROBOT_STATE_DIM = 10  # size of the robot state input
STEM_KERNEL, HEATMAP_STRIDE, MAX_STRIDE = 5, 4, 8  # [px]
HEAD_SIZE = 8  # x, y, cos, sin, three log standard deviations, on-table logit
MIN_LOG_STD, MAX_LOG_STD = -6.0, 2.0
MAX_PIXEL_VALUE = 255.0
RIDGE = 1e-5  # regularises the homography when landmarks are not visible
MIN_HOMOGENEOUS = 0.1  # a smaller homogeneous coordinate is a point at the horizon
MAX_INITIAL_POSITION = 3.0  # [POSITION_SCALE] bound on the position from the homography


@dataclass(frozen=True)
class BlockPoseNetConfig(Validated):
    """Architecture of a block pose network.

    Attributes:
        pixels: side of the square input images [px].
        channels: features at strides 2, 4 and 8.
        num_keypoints: number of predicted keypoints: block, landmarks and latent ones.
        hidden_size: units of each hidden layer of the head.
    """

    pixels: Annotated[int, Field(ge=16)] = 128
    channels: tuple[int, int, int] = (16, 32, 64)
    num_keypoints: PositiveInt = 16
    hidden_size: PositiveInt = 128

    def __post_init__(self) -> None:
        """Check that the image can be halved three times."""
        super().__post_init__()
        if self.pixels % MAX_STRIDE:
            raise ValueError(f"pixels is {self.pixels}; it must be a multiple of {MAX_STRIDE}")


@dataclass(frozen=True)
class BlockPoseMetadata(Validated):
    """Metadata of a block pose network.

    Attributes:
        arm: name of the arm in the images.
        block_size: side of the block [m].
        area_centre: x and y of the centre of the area in which blocks lie [m].
        landmarks: x and y of fixed points on the table [m].
        network: architecture of the network.
        std_scale: calibration factors on the predicted standard deviations of position and yaw,
            fitted on validation images.
        data: training settings and accuracy, for information.
    """

    arm: str
    block_size: PositiveFloat
    area_centre: tuple[float, float]
    landmarks: tuple[tuple[float, float], ...]
    network: BlockPoseNetConfig = field(default_factory=BlockPoseNetConfig)
    std_scale: tuple[float, float] = (1.0, 1.0)
    data: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that there is a keypoint for the block and for each landmark."""
        super().__post_init__()
        if self.network.num_keypoints <= len(self.landmarks):
            raise ValueError(
                f"network.num_keypoints is {self.network.num_keypoints}; it must be above the "
                f"number of landmarks, {len(self.landmarks)}"
            )


class BlockPoseOutput(NamedTuple):
    """Raw network output for B images.

    Attributes:
        position: (B, 2) x and y of the block in the base frame [m].
        yaw_cos_sin: (B, 2) cosine and sine of four times its yaw, not normalised.
        log_std: (B, 3) log standard deviations of x and y [POSITION_SCALE], and one for both
            entries of `yaw_cos_sin` [-].
        on_table_logit: (B,) logit of the probability that the block is visible and lies on the
            table.
        keypoints: (B, K, 2) image coordinates, -1 to 1, x right and y down: the centre of the
            block's bottom face, the landmarks, then latent keypoints.
        log_heatmaps: (B, K, cells) log probability that a keypoint is in a cell.
    """

    position: Tensor
    yaw_cos_sin: Tensor
    log_std: Tensor
    on_table_logit: Tensor
    keypoints: Tensor
    log_heatmaps: Tensor


class BlockPoseNet(nn.Module):
    """Keypoint network followed by a pose head.

    A spatial soft-argmax gives one keypoint per heatmap (Levine et al. 2016, arXiv:1504.00702;
    Finn et al. 2016, arXiv:1509.06113). Image features pooled with the block's heatmap carry its
    yaw. The landmark keypoints define a homography from image to table, which gives an initial
    position of the block; the head refines it.
    """

    cell_centres: Tensor
    area_centre: Tensor
    landmarks: Tensor

    def __init__(self, meta: BlockPoseMetadata) -> None:
        """Create a network with random weights."""
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
        cells = config.pixels // HEATMAP_STRIDE
        axis = (torch.arange(cells) + 0.5) * 2 * HEATMAP_STRIDE / config.pixels - 1
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)
        self.register_buffer("cell_centres", grid, persistent=False)
        self.register_buffer("area_centre", torch.tensor(meta.area_centre), persistent=False)
        landmarks = (torch.tensor(meta.landmarks) - self.area_centre) / POSITION_SCALE
        self.register_buffer("landmarks", landmarks, persistent=False)

    def forward(self, images: Tensor, robot_state: Tensor) -> BlockPoseOutput:
        """Predict block poses and keypoints.

        Args:
            images: (B, H, W, 3) uint8 RGB.
            robot_state: (B, ROBOT_STATE_DIM) features that `robot_state_features` returns.
        """
        x = images.permute(0, 3, 1, 2).float() / MAX_PIXEL_VALUE - 0.5  # channels last in memory
        fine = self.stage1(self.stem(x))
        coarse = nn.functional.interpolate(
            self.lateral(self.stage2(fine)), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        features = self.fuse(fine + coarse)
        logits = self.keypoint_heatmaps(features).flatten(2).float()
        log_heatmaps = logits.log_softmax(2)  # (B, K, cells)
        heatmaps = log_heatmaps.exp()
        keypoints, peak = heatmaps @ self.cell_centres, heatmaps.amax(2)
        block = (features.flatten(2).float() @ heatmaps[:, 0, :, None])[..., 0]  # (B, C)
        position = self._position_from_homography(keypoints.detach(), peak.detach())
        features = torch.cat([keypoints.flatten(1), peak, block, position, robot_state], 1)
        output = self.head(features).float()
        return BlockPoseOutput(
            self.area_centre + POSITION_SCALE * output[:, :2],
            output[:, 2:4],
            output[:, 4:7].clamp(MIN_LOG_STD, MAX_LOG_STD),
            output[:, 7],
            keypoints,
            log_heatmaps,
        )

    def _position_from_homography(self, keypoints: Tensor, peak: Tensor) -> Tensor:
        """Map the block's keypoint to the table, (B, 2) [POSITION_SCALE], relative to its centre.

        The image-to-table homography is a weighted least-squares fit to the landmarks.

        Args:
            keypoints: (B, K, 2) image coordinates, -1 to 1.
            peak: (B, K) highest probability of each heatmap, the weight of a landmark.
        """
        u, v = keypoints[:, 1 : len(self.landmarks) + 1].unbind(2)  # (B, L)
        x, y = self.landmarks.T.expand(len(u), 2, -1).unbind(1)
        one, zero = torch.ones_like(u), torch.zeros_like(u)
        rows_x = torch.stack([u, v, one, zero, zero, zero, -x * u, -x * v], 2)
        rows_y = torch.stack([zero, zero, zero, u, v, one, -y * u, -y * v], 2)
        rows, right = torch.cat([rows_x, rows_y], 1), torch.cat([x, y], 1)
        weight = torch.cat([peak[:, 1 : len(self.landmarks) + 1]] * 2, 1)[..., None]
        normal = rows.mT @ (weight * rows) + RIDGE * torch.eye(8)
        h = torch.linalg.solve(normal, rows.mT @ (weight * right[..., None]))[..., 0]
        bottom = torch.cat([keypoints[:, 0], one[:, :1]], 1)  # (B, 3)
        numerator = (h[:, :6].reshape(-1, 2, 3) * bottom[:, None]).sum(2)
        denominator = 1 + (h[:, 6:] * bottom[:, :2]).sum(1, keepdim=True)
        position = numerator / denominator.clamp(min=MIN_HOMOGENEOUS)
        return position.clamp(-MAX_INITIAL_POSITION, MAX_INITIAL_POSITION)

    def with_metadata(self, meta: BlockPoseMetadata) -> BlockPoseNet:
        """Return a copy in evaluation mode with the same weights and other metadata."""
        network = BlockPoseNet(meta)
        network.load_state_dict(self.state_dict())
        return network.eval()


def _conv_block(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def save_block_pose_net(network: BlockPoseNet, directory: str | Path) -> None:
    """Write a network atomically: after a crash, the old or the new one is complete."""
    write_checkpoint(network.state_dict(), network.meta, directory, BLOCK_POSE)


def load_block_pose_net(directory: str | Path, arm: str | None = None) -> BlockPoseNet:
    """Read a network and set it to evaluation mode.

    Args:
        directory: a folder that `save_block_pose_net` wrote.
        arm: name of the arm that the network must have been trained for; None: any.

    Raises:
        ValueError: no network, a damaged one, or one trained for another arm.
    """
    meta, sha256 = read_metadata(BlockPoseMetadata, directory, BLOCK_POSE)
    if arm is not None and meta.arm != arm:
        raise ValueError(
            f"the block pose network in {directory} was trained for '{meta.arm}', not for '{arm}'"
        )
    network = load_weights(partial(BlockPoseNet, meta), directory, sha256, BLOCK_POSE).eval()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
