"""Gradient descent of a network that sees: pictures and the truth enter, moved weights leave."""

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

WARM_UP = 0.05  # share of the steps in which the step size grows
BETA = 0.5  # power of the variance by which its gradient is weighted
CLIP = 5.0  # longest gradient that is followed as it is
EDGE = 0.05  # [share of half a picture] landmarks err by less: squared, by more: straight
BLUR = 0.8  # [cells] width of the heat around a landmark
TOGETHER = 128  # pictures seen at a time


@dataclass(frozen=True)
class BlockPoseFitConfig(Validated):
    """How the weights are moved.

    Attributes:
        epochs: passes over the pictures of all rounds, in each round.
        batch: pictures per step.
        learning_rate: greatest step size of Adam; it falls to zero along a cosine.
        weight_decay: share of the weights taken off per step, times the step size.
        landmarks: weight of places in the picture, beside places on the table.
        amp: bf16 halves the time on a processor that has such numbers, else costs some.
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
    """Move the weights of a network to what its pictures show.

    Args:
        sight: the network; it is left ready to see.
        sets: pictures of each round.
        config: how.
        seed: of their order.
        show: called with the loss of each step.
    """
    random, steps = np.random.default_rng(seed), total_steps(datasets, config)
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    adam = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        adam, config.learning_rate, total_steps=steps, pct_start=WARM_UP
    )
    for _ in range(config.epochs):
        for pictures, facts in _batches(datasets, config.batch_size, random):
            with torch.autocast("cpu", torch.bfloat16, enabled=config.amp == "bf16"):
                seen = network(pictures, facts["robot_state"])
            loss = block_pose_loss(seen, facts, config.landmark_weight)
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            adam.step()
            schedule.step()
            callback(loss.item())
    network.eval()


def total_steps(sets: Sequence[RenderedImages], config: BlockPoseFitConfig) -> int:
    """Return how many steps `fit` takes."""
    return config.epochs * (sum(len(part.labels) for part in sets) // config.batch_size)


def _batches(
    sets: Sequence[RenderedImages], size: int, random: np.random.Generator
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Yield all pictures once, in batches of one size, and what is true of each."""
    which = np.concatenate([np.full(len(part.labels), k) for k, part in enumerate(sets)])
    where = np.concatenate([np.arange(len(part.labels)) for part in sets])
    order = random.permutation(len(which))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        pictures = np.stack([sets[which[k]].images[where[k]] for k in chosen])
        facts = np.array([sets[which[k]].labels[where[k]] for k in chosen])
        yield torch.as_tensor(pictures), label_tensors(facts)


def label_tensors(facts: NDArray[Any]) -> dict[str, Tensor]:
    """Return what is true of pictures, by name."""
    return {name: torch.as_tensor(facts[name].copy()) for name in facts.dtype.names or ()}


def block_pose_loss(seen: BlockPoseOutput, facts: dict[str, Tensor], landmarks: float) -> Tensor:
    """Return how badly what is seen fits what is true.

    Place and yaw have Gaussian errors of predicted width, weighted by the variance to the power
    of BETA (Seitzer et al. 2022, arXiv:2203.09168): else what errs widely would hardly be learned.
    """
    rest, angle = facts["on_table"], SYMMETRY_ORDER * facts["yaw"]
    place = (seen.position - facts["position"]) / POSITION_SCALE
    turn = seen.yaw_cos_sin - torch.stack([angle.cos(), angle.sin()], 1)
    width = seen.log_std
    unlikely = torch.cat([_unlikely(place, width[:, :2]), _unlikely(turn, width[:, 2:])], 1)
    lies = (rest * unlikely.sum(1)).sum() / rest.sum().clamp(min=1.0)
    marks = facts["keypoints"]
    shown = (marks.abs() < 1).all(2)
    found = seen.keypoints[:, : marks.shape[1]]
    errors = smooth_l1_loss(found, marks, beta=EDGE, reduction="none").sum(2) / EDGE
    errors = errors - (_around(marks, seen) * seen.log_heatmaps[:, : marks.shape[1]]).sum(2)
    places = (errors * shown).sum() / shown.sum().clamp(min=1)
    return lies + binary_cross_entropy_with_logits(seen.on_table_logit, rest) + landmarks * places


def _around(marks: Tensor, seen: BlockPoseOutput) -> Tensor:
    """Return how the heat (B, L, cells) should be spread around places (B, L, 2)."""
    side = math.isqrt(seen.log_heatmaps.shape[2])
    steps = (torch.arange(side) + 0.5) * 2 / side - 1
    off = (steps - marks[..., None]) * side / 2 / BLUR  # (B, L, 2, side)
    across, down = (-0.5 * off**2).softmax(3).unbind(2)
    return (down[..., :, None] * across[..., None, :]).flatten(2)


def _unlikely(error: Tensor, log_std: Tensor) -> Tensor:
    """Return the weighted negative log likelihood of errors (B, k) of a width (B, k or 1)."""
    weight = (2 * BETA * log_std).exp().detach()
    return weight * (0.5 * (error * (-log_std).exp()) ** 2 + log_std)


@torch.inference_mode()
def predict_all(sight: BlockPoseNet, pictures: RenderedImages) -> BlockPoseOutput:
    """Return what a network says of all pictures."""
    sight.eval()
    parts = []
    for start in range(0, len(pictures.labels), TOGETHER):
        chosen = slice(start, start + TOGETHER)
        shown = torch.as_tensor(np.array(pictures.images[chosen]))
        parts.append(sight(shown, torch.as_tensor(pictures.labels["robot_state"][chosen].copy())))
    return BlockPoseOutput(*(torch.cat(part) for part in zip(*parts, strict=True)))
