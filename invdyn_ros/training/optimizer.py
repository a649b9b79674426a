"""One step of gradient descent: a batch of windows enters, moved weights leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from invdyn_ros.config import FractionBelowOne, Validated
from invdyn_ros.training.distributed import ProcessGroup
from invdyn_ros.training.training_state import prefixed, under

WARM_UP = 10  # steps until an average reaches far enough back to smooth

SCALER = ("scale", "_growth_tracker")  # what a GradScaler changes

AMP_TYPES = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class OptimizerConfig(Validated):
    """How a family without a closed form is fitted."""

    epochs: PositiveInt = 300
    """Passes over the training data, at most."""
    batch_size: PositiveInt = 512
    """Windows per step, over all processes."""
    learning_rate: PositiveFloat = 2e-3
    """Adam's step size at the start; it falls to zero along a cosine."""
    patience: PositiveInt = 60
    """Epochs without a better validation loss before stopping."""
    weight_decay: NonNegativeFloat = 0.0
    """Share of the weights taken off per step, times the learning rate (AdamW); 0: none."""
    max_grad_norm: NonNegativeFloat = 1.0
    """Longest gradient that is followed as it is; longer ones are shortened to it; 0: none are."""
    ema: FractionBelowOne = 0.0
    """Decay per step of the averaged weights, which are the ones validated and kept; 0: none."""
    amp: Literal["none", "bf16", "fp16"] = "none"
    """Matrix products in 16 bits, less exact: faster for wide networks on a GPU, with bf16 also on
    a CPU that has such numbers; fp16 changes nothing on a CPU."""


class Rows(Protocol):
    """Columns of what is learned from, row by row: windows of motion, or moments of a plan."""

    @property
    def size(self) -> int:
        """Number of rows."""

    def rows(self, index: Any) -> Rows:
        """Return some of them."""

    def __iter__(self) -> Iterator[Tensor]:
        """Return the columns."""


class Learner(Protocol):
    """A network that is fitted: its `loss` takes the columns of its data."""

    @property
    def loss(self) -> Callable[..., Tensor]:
        """Return what training makes small, a scalar."""

    @property
    def state_dict(self) -> Callable[[], dict[str, Tensor]]:
        """Return all tensors of the network."""

    @property
    def load_state_dict(self) -> Callable[[Mapping[str, Tensor]], object]:
        """Take all tensors of the network."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return what is fitted."""

    def train(self) -> object:
        """Compute as in training."""

    def eval(self) -> object:
        """Compute as after it."""


class Optimizer:
    """AdamW with clipping, averaged weights and 16-bit products, over one process or several."""

    def __init__(self, model: Learner, config: OptimizerConfig, ranks: ProcessGroup) -> None:
        """Start from the model's weights."""
        self.model, self.config, self.ranks = model, config, ranks
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self.adam = torch.optim.AdamW(
            self.parameters, config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.device = self.parameters[0].device
        able = ("cuda",) if config.amp == "fp16" else ("cuda", "cpu")
        self.half = config.amp != "none" and self.device.type in able
        # bf16 has the range of float32; only fp16 needs its gradients scaled
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.half and config.amp == "fp16"
        )

    def step(self, batch: Rows, share: float, number: int) -> tuple[Tensor, Tensor]:
        """Follow the gradient once.

        Args:
            batch: this process's part of the batch, perhaps empty.
            share: size of that part over that of the batch.
            number: steps taken before this one.

        Returns:
            This process's part of the batch's mean loss, and the length of the batch's gradient.
        """
        self.adam.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.device)
        if batch.size:
            with torch.autocast(self.device.type, AMP_TYPES[self.config.amp], self.half):
                loss = self.model.loss(*batch)
            loss = loss if share == 1 else loss * share
        scaled = self.scaler.scale(loss)
        if batch.size:
            scaled.backward()
        self.ranks.add_gradients(self.parameters)
        self.scaler.unscale_(self.adam)
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        if self.config.max_grad_norm:
            clip_grads_with_norm_(self.parameters, self.config.max_grad_norm, norm)
        self.scaler.step(self.adam)
        self.scaler.update()
        if self.config.ema:
            decay = min(self.config.ema, (1 + number) / (WARM_UP + number))
            _blend(self.average, self.parameters, 1 - decay)
        return loss.detach(), norm

    def set_rate(self, rate: float) -> None:
        """Set the learning rate."""
        for group in self.adam.param_groups:
            group["lr"] = rate

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Lend the model the averaged weights."""
        if not self.config.ema:
            yield
            return
        own = [p.detach().clone() for p in self.parameters]
        _blend(self.parameters, self.average, 1.0)
        try:
            yield
        finally:
            _blend(self.parameters, own, 1.0)

    def tensors(self) -> dict[str, Tensor]:
        """Return all that steps change beside the model."""
        values = {f"average.{i}": value for i, value in enumerate(self.average)}
        for i, moments in self.adam.state_dict()["state"].items():
            values |= prefixed(f"adam.{i}", moments)
        scaler = self.scaler.state_dict()
        numbers = {name: torch.tensor(scaler[name]) for name in SCALER if scaler}
        return values | prefixed("scaler", numbers)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to what `tensors` returned."""
        _blend(self.average, [tensors[f"average.{i}"] for i in range(len(self.average))], 1.0)
        moments = [under(f"adam.{i}", tensors) for i in range(len(self.parameters))]
        groups = self.adam.state_dict()["param_groups"]
        state = {i: values for i, values in enumerate(moments) if values}
        self.adam.load_state_dict({"state": state, "param_groups": groups})
        scaler = {name: value.item() for name, value in under("scaler", tensors).items()}
        if scaler:
            self.scaler.load_state_dict(self.scaler.state_dict() | scaler)


@torch.no_grad()
def _blend(values: Sequence[Tensor], others: Sequence[Tensor], weight: float) -> None:
    """Move values towards others in place; a weight of 1 copies them to the bit."""
    for value, other in zip(values, others, strict=True):
        if weight == 1.0:
            value.copy_(other)
        else:
            value.lerp_(other, weight)
