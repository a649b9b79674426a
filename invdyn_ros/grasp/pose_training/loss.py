"""Loss function and optimization of the block pose network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from invdyn_ros.config import Validated
from invdyn_ros.grasp.estimation.block_pose_estimator import SYMMETRY_ORDER
from invdyn_ros.grasp.estimation.block_pose_network import (
    POSITION_SCALE,
    BlockPoseNet,
    BlockPoseOutput,
)
from invdyn_ros.grasp.pose_training.rendered_dataset import RenderedImages
from invdyn_ros.training.optimizer import Optimizer, OptimizerConfig

WARMUP_FRACTION = 0.05  # fraction of the steps in which the learning rate rises
NLL_BETA = 0.5  # exponent of the variance in the weight of the log likelihood
MAX_GRAD_NORM = 5.0
SMOOTH_L1_BETA = 0.05  # [half an image] keypoint error at which the loss becomes linear
HEATMAP_STD = 0.8  # [cells] standard deviation of a target heatmap
INFERENCE_BATCH_SIZE = 128


@dataclass(frozen=True)
class BlockPoseFitConfig(Validated):
    """Settings of the optimization in each round.

    Attributes:
        epochs: passes over the images of all rounds, in each round.
        batch_size: images per gradient step.
        learning_rate: peak learning rate of AdamW's one-cycle schedule.
        weight_decay: weight decay of AdamW.
        landmark_weight: weight of the keypoint loss relative to the pose loss.
        amp: mixed precision; bf16 is twice as fast on CPUs with bfloat16 instructions, and slower
            on others.
    """

    epochs: PositiveInt = 5
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 1e-4
    landmark_weight: NonNegativeFloat = 1.0
    amp: Literal["none", "bf16"] = "none"


def fit(
    network: BlockPoseNet,
    datasets: Sequence[RenderedImages],
    config: BlockPoseFitConfig,
    seed: int,
    callback: Callable[[float], None] = lambda loss: None,
) -> None:
    """Train a network and set it to evaluation mode.

    Args:
        network: network to train in place.
        datasets: images of each round.
        config: settings of the optimization.
        seed: seed of the order of the images.
        callback: called with the loss of each step.
    """
    rng, steps = np.random.default_rng(seed), total_steps(datasets, config)
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer_config = OptimizerConfig(
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_grad_norm=MAX_GRAD_NORM,
        amp=config.amp,
    )
    optimizer = Optimizer(network.parameters(), optimizer_config, fused=False)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer.adamw, config.learning_rate, total_steps=steps, pct_start=WARMUP_FRACTION
    )

    def loss(images: Tensor, labels: dict[str, Tensor]) -> Tensor:
        output = network(images, labels["robot_state"])
        with torch.autocast("cpu", enabled=False):
            return block_pose_loss(output, labels, config.landmark_weight)

    for _ in range(config.epochs):
        batches = _batches(datasets, config.batch_size, rng)
        optimizer.minimize(loss, batches, scheduler, callback)
    network.eval()


def total_steps(datasets: Sequence[RenderedImages], config: BlockPoseFitConfig) -> int:
    """Return the number of gradient steps of `fit`."""
    return config.epochs * (sum(len(part.labels) for part in datasets) // config.batch_size)


def _batches(
    datasets: Sequence[RenderedImages], batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Yield batches of images in random order with their labels; drop an incomplete batch."""
    dataset_index = np.concatenate([np.full(len(d.labels), k) for k, d in enumerate(datasets)])
    row_index = np.concatenate([np.arange(len(d.labels)) for d in datasets])
    order = rng.permutation(len(dataset_index))
    for start in range(0, len(order) - batch_size + 1, batch_size):
        batch = order[start : start + batch_size]
        images = np.stack([datasets[dataset_index[k]].images[row_index[k]] for k in batch])
        labels = np.array([datasets[dataset_index[k]].labels[row_index[k]] for k in batch])
        yield torch.as_tensor(images), label_tensors(labels)


def label_tensors(labels: NDArray[Any]) -> dict[str, Tensor]:
    """Return the fields of a structured array as tensors by name."""
    return {name: torch.as_tensor(labels[name].copy()) for name in labels.dtype.names or ()}


def block_pose_loss(
    output: BlockPoseOutput, labels: dict[str, Tensor], landmark_weight: float
) -> Tensor:
    """Return the training loss.

    The errors of position and yaw are Gaussian with predicted standard deviations. Their negative
    log likelihood is weighted by the variance to the power of NLL_BETA (Seitzer et al. 2022,
    arXiv:2203.09168), because images with a large predicted error would hardly contribute
    otherwise.

    Args:
        output: network output for B images.
        labels: (B, ...) tensors by name, see `labels_dtype`.
        landmark_weight: weight of the keypoint loss.
    """
    on_table, angle = labels["on_table"], SYMMETRY_ORDER * labels["yaw"]
    position_error = (output.position - labels["position"]) / POSITION_SCALE
    yaw_error = output.yaw_cos_sin - torch.stack([angle.cos(), angle.sin()], 1)
    log_std = output.log_std
    nll = torch.cat(
        [_beta_nll(position_error, log_std[:, :2]), _beta_nll(yaw_error, log_std[:, 2:])], 1
    )
    pose_loss = (on_table * nll.sum(1)).sum() / on_table.sum().clamp(min=1.0)
    keypoints = labels["keypoints"]  # (B, L, 2)
    visible = (keypoints.abs() < 1).all(2)
    predicted = output.keypoints[:, : keypoints.shape[1]]
    errors = smooth_l1_loss(predicted, keypoints, beta=SMOOTH_L1_BETA, reduction="none")
    errors = errors.sum(2) / SMOOTH_L1_BETA
    log_heatmaps = output.log_heatmaps[:, : keypoints.shape[1]]
    errors = errors - (_target_heatmaps(keypoints, output) * log_heatmaps).sum(2)
    keypoint_loss = (errors * visible).sum() / visible.sum().clamp(min=1)
    on_table_loss = binary_cross_entropy_with_logits(output.on_table_logit, on_table)
    return pose_loss + on_table_loss + landmark_weight * keypoint_loss


def _target_heatmaps(keypoints: Tensor, output: BlockPoseOutput) -> Tensor:
    """Return Gaussian heatmaps (B, L, cells) around keypoints (B, L, 2)."""
    side = math.isqrt(output.log_heatmaps.shape[2])
    centres = (torch.arange(side) + 0.5) * 2 / side - 1
    offset = (centres - keypoints[..., None]) * side / 2 / HEATMAP_STD  # (B, L, 2, side)
    columns, rows = (-0.5 * offset**2).softmax(3).unbind(2)
    return (rows[..., :, None] * columns[..., None, :]).flatten(2)


def _beta_nll(error: Tensor, log_std: Tensor) -> Tensor:
    """Return the weighted negative log likelihood (B, k) of errors (B, k).

    Args:
        error: (B, k) errors.
        log_std: (B, k) or (B, 1) predicted log standard deviations.
    """
    weight = (2 * NLL_BETA * log_std).exp().detach()
    return weight * (0.5 * (error * (-log_std).exp()) ** 2 + log_std)


@torch.inference_mode()
def predict_all(network: BlockPoseNet, dataset: RenderedImages) -> BlockPoseOutput:
    """Return the output of a network for all images of a dataset."""
    network.eval()
    parts = []
    for start in range(0, len(dataset.labels), INFERENCE_BATCH_SIZE):
        rows = slice(start, start + INFERENCE_BATCH_SIZE)
        images = torch.as_tensor(np.array(dataset.images[rows]))
        robot_state = torch.as_tensor(dataset.labels["robot_state"][rows].copy())
        parts.append(network(images, robot_state))
    return BlockPoseOutput(*(torch.cat(part) for part in zip(*parts, strict=True)))
