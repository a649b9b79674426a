"""Video inverse dynamics from the keypoints of two images (registered as `keypoints`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import PositiveInts, Validated
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.video import VideoModel

MAX_GROUPS = 8  # groups of a GroupNorm, at most
KEYPOINT_LOSS_WEIGHT = 5.0  # of a keypoint error of half an image, in action variances
EPSILON = 1e-6  # under a square root, to keep its gradient finite


@dataclass(frozen=True)
class KeypointMotionConfig(Validated):
    """Size of the network."""

    channels: PositiveInts = (24, 48, 64)
    """Channels of a keypoint detector at 1/2, 1/4 and 1/8 of its input size."""
    num_keypoints: PositiveInt = 32
    """Keypoints of each detector."""
    width: PositiveInt = 256
    """Units of each hidden layer."""
    clip_length: Annotated[int, Field(ge=2)] = 6
    """Consecutive images of a training clip; the loss covers every pair of them."""
    downsampled_size: Annotated[int, Field(ge=16)] = 112
    """[px] Larger images are downsampled by an integer factor to at most this side, for the
    first detector."""
    crop_size: NonNegativeInt = 64
    """[px] Side of the full-resolution crop for the second detector; 0: no second detector."""


class KeypointMotion(VideoModel):
    """Displacement between two images as a function of the keypoints in each.

    A keypoint detector predicts the expected position of each keypoint to subpixel precision (a
    spatial soft-argmax; Levine et al. 2016, arXiv 1504.00702) and a descriptor value there. The
    coarse detector reads the whole downsampled image. The crop detector reads, at full
    resolution, the neighbourhood of the coarse detector's last keypoint. With the features k_a
    and k_b of both detectors for the two images, the action is

        W (k_b - k_a) * f((k_a + k_b) / 2) + g(k_b) - g(k_a).

    For any weights, swapping the images negates it and identical images give zero. If the data
    have keypoint labels, such as the joints, fingers and hand of a rendered arm, they supervise
    the last keypoints of each detector; then the crop is around the hand.
    """

    Config = KeypointMotionConfig
    config: KeypointMotionConfig
    crop_grid: Tensor  # (crop_size, crop_size, 2) offsets from the crop's centre, in half images

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with random weights.

        Raises:
            ValueError: `channels` does not have three entries.
        """
        super().__init__(meta)
        config, side = self.config, self.config.crop_size
        if len(config.channels) != 3:
            raise ValueError(f"channels are {list(config.channels)}; give three numbers")
        self.downsampling = -(-max(meta.image_size) // config.downsampled_size)
        self.coarse_detector = KeypointDetector(
            config, [size // self.downsampling for size in meta.image_size]
        )
        if side:
            self.crop_detector = KeypointDetector(config, [side, side])
            grid = (
                _pixel_grid([side, side]) * (side - 1) / torch.tensor([*reversed(meta.image_size)])
            )
            self.register_buffer("crop_grid", grid, persistent=False)
        feature_dim, width = 3 * config.num_keypoints * (1 + bool(side)), config.width
        self.pose_encoder = nn.Sequential(*_hidden_layers(feature_dim, width))
        self.motion_layer = nn.Linear(feature_dim, width, bias=False)
        self.head = nn.Linear(width, self.n, bias=False)
        self.position_head = nn.Sequential(
            *_hidden_layers(feature_dim, width), nn.Linear(width, self.n, bias=False)
        )

    @property
    def window_size(self) -> int:
        """Images of a training window."""
        return self.config.clip_length

    def clip_displacement(self, clips: Tensor, verb: Tensor, pairs: Tensor) -> Tensor:
        """Return the standardised displacement (N, P, n) of `pairs`; each image is encoded once.

        Args:
            clips: (N, T, 3, H, W), standardised.
            verb: (N,), not used.
            pairs: (P, 2) indices of the first and the second image.
        """
        return self.displacement_from_features(self.detect_keypoints(clips)[0], pairs)

    def pair_displacement(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised displacement (N, n) between images (N, 3, H, W).

        Args:
            before: (N, 3, H, W).
            after: (N, 3, H, W).
            verb: (N,), not used.
        """
        pair = torch.tensor([[0, 1]], device=before.device)
        return self.clip_displacement(torch.stack([before, after], 1), verb, pair).squeeze(1)

    def displacement_loss(
        self, clips: Tensor, verb: Tensor, pairs: Tensor, target: Tensor, keypoints: Tensor
    ) -> Tensor:
        """Return the mean squared error, in training plus the error of labelled keypoints.

        Args:
            clips: (N, T, 3, H, W), standardised.
            verb: (N,), not used.
            pairs: (P, 2) indices of the first and the second image.
            target: (N, P, n) displacements, standardised.
            keypoints: (N, T, L, 2) labels in fractions of the image size; L may be 0.
        """
        features, coarse_keypoints, crop_keypoints = self.detect_keypoints(clips)
        with torch.autocast(features.device.type, enabled=False):  # differences need float32
            displacement = self.displacement_from_features(features, pairs)
            error = (displacement - target).square().mean()
        if not self.training or not keypoints.shape[2]:
            return error
        labels = 2 * keypoints - 1
        error = error + KEYPOINT_LOSS_WEIGHT * _keypoint_error(coarse_keypoints, labels)
        if self.config.crop_size:
            labels = (labels - coarse_keypoints[:, :, -1:].detach()) / self.crop_grid[-1, -1]
            error = error + KEYPOINT_LOSS_WEIGHT * _keypoint_error(crop_keypoints, labels)
        return error

    def detect_keypoints(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features and keypoints of clips (N, T, 3, H, W).

        Returns:
            Features (N, T, feature_dim) and the keypoints (N, T, K, 2) of the coarse and of the
            crop detector, from -1 to 1 in the detector's input.
        """
        images = clips.flatten(0, 1)
        downsampled = (
            nn.functional.avg_pool2d(images, self.downsampling)
            if self.downsampling > 1
            else images
        )
        keypoints, descriptors = self.coarse_detector(downsampled)
        coarse, parts = keypoints, [keypoints.flatten(1), descriptors]
        if self.config.crop_size:
            crop = self.crop(images, keypoints[:, -1].detach())
            keypoints, descriptors = self.crop_detector(crop)
            parts += [keypoints.flatten(1), descriptors]
        size = (-1, clips.shape[1])  # -1: an export leaves the number of clips open
        features = torch.cat(parts, 1).unflatten(0, size)
        return features, coarse.unflatten(0, size), keypoints.unflatten(0, size)

    def crop(self, images: Tensor, centre: Tensor) -> Tensor:
        """Return crops (N, 3, crop_size, crop_size) around centres (N, 2), -1 to 1."""
        return nn.functional.grid_sample(
            images,
            centre[:, None, None] + self.crop_grid,
            padding_mode="border",
            align_corners=False,
        )

    def displacement_from_features(self, features: Tensor, pairs: Tensor) -> Tensor:
        """Return the standardised displacement (N, P, n) from the features (N, T, feature_dim)."""
        position = self.position_head(features)
        (a, b), (position_a, position_b) = (
            (x[:, pairs[:, 0]], x[:, pairs[:, 1]]) for x in (features, position)
        )
        moved = self.head(self.motion_layer(b - a) * self.pose_encoder((a + b) / 2))
        return moved + position_b - position_a


class KeypointDetector(nn.Module):
    """Convolutional network that predicts keypoints in an image and a descriptor of each."""

    grid: Tensor  # (cells, 2) positions right and down, -1 to 1

    def __init__(self, config: KeypointMotionConfig, image_size: Sequence[int]) -> None:
        """Build the network for images of `image_size` (height, width) [px]."""
        super().__init__()
        half, quarter, eighth = config.channels
        self.high_resolution = nn.Sequential(
            _conv_block(3, half, 5, 2),
            _conv_block(half, quarter, 3, 2),
            _conv_block(quarter, quarter, 3, 1),
        )
        self.low_resolution = nn.Sequential(
            _conv_block(quarter, eighth, 3, 2), _conv_block(eighth, eighth, 3, 1)
        )
        self.lateral = nn.Conv2d(eighth, quarter, 1)
        self.fusion = _conv_block(quarter, quarter, 3, 1)
        self.heatmap = nn.Conv2d(quarter, config.num_keypoints, 1)
        self.descriptor = nn.Conv2d(quarter, config.num_keypoints, 1)
        self.heatmap_size = tuple(-(-side // 4) for side in image_size)
        grid = _pixel_grid(self.heatmap_size).flatten(0, 1)
        self.register_buffer("grid", grid, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return keypoints (N, K, 2), -1 to 1, and descriptors (N, K) of images (N, 3, H, W)."""
        high = self.high_resolution(images)
        low = nn.functional.interpolate(
            self.lateral(self.low_resolution(high)),
            size=self.heatmap_size,
            mode="bilinear",
            align_corners=False,
        )
        features = self.fusion(high + low)
        weights = self.heatmap(features).flatten(2).float().softmax(2)  # (N, K, cells)
        # not a matrix product: autocast would compute one in 16 bits
        keypoints = (weights[..., None] * self.grid).sum(2)
        return keypoints, (self.descriptor(features).flatten(2) * weights).sum(2)


def _pixel_grid(size: Sequence[int]) -> Tensor:
    """Return the positions (*size, 2) right and down of the cells of an image, -1 to 1."""
    down, right = (torch.linspace(-1, 1, side) for side in size)
    return torch.stack(torch.meshgrid(right, down, indexing="xy"), -1)


def _keypoint_error(keypoints: Tensor, labels: Tensor) -> Tensor:
    """Return the mean distance of the last keypoints (N, T, K, 2) to their labels (N, T, L, 2).

    Labels outside the image, beyond -1 to 1, are masked.
    """
    count = min(keypoints.shape[2], labels.shape[2])
    keypoints, labels = keypoints[:, :, -count:], labels[:, :, -count:]
    distance = (keypoints - labels).square().sum(-1).add(EPSILON).sqrt()
    visible = (labels.abs() <= 1).all(-1)
    return (distance * visible).sum() / visible.sum().clamp(min=1)


def _conv_block(in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False
    )
    groups = gcd(MAX_GROUPS, out_channels)
    return nn.Sequential(convolution, nn.GroupNorm(groups, out_channels), nn.SiLU())


def _hidden_layers(in_features: int, width: int) -> list[nn.Module]:
    return [nn.Linear(in_features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
