"""AdamW with gradient clipping, weight averaging and mixed precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.lr_scheduler import LRScheduler

from invdyn_ros.config import FractionBelowOne, Validated
from invdyn_ros.training.distributed import ProcessGroup
from invdyn_ros.training.training_state import add_prefix, strip_prefix

EMA_WARMUP_STEPS = 10  # time constant of the rise of the decay to its configured value
SCALER_STATE = ("scale", "_growth_tracker")  # the entries of a GradScaler's state that change
AMP_TYPES = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class OptimizerConfig(Validated):
    """Settings of AdamW."""

    learning_rate: PositiveFloat = 2e-3
    """Initial learning rate."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay of AdamW; 0: none."""
    max_grad_norm: NonNegativeFloat = 1.0
    """Gradients are clipped to this norm; 0: no clipping."""
    ema_decay: FractionBelowOne = 0.0
    """Decay per step of the exponential moving average of the weights; the averaged weights are
    validated and saved. 0: no average."""
    amp: Literal["none", "bf16", "fp16"] = "none"
    """Automatic mixed precision: less exact, but faster for wide networks on a GPU, and with bf16
    on a CPU that supports it; fp16 has no effect on a CPU."""


class Optimizer:
    """AdamW with clipping, averaged weights and mixed precision, in one process or several."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        config: OptimizerConfig,
        process_group: ProcessGroup | None = None,
        fused: bool = True,
    ) -> None:
        """Create the optimizer of some parameters.

        Args:
            parameters: those of the model; parameters without gradient are skipped.
            config: learning rate, weight decay, clipping, averaging and precision.
            process_group: the processes that train together; None: only this one.
            fused: use torch's fused implementation, which rounds differently from the default.
        """
        self.config, self.process_group = config, process_group or ProcessGroup()
        self.parameters = [p for p in parameters if p.requires_grad]
        self.ema_parameters = (
            [p.detach().clone() for p in self.parameters] if config.ema_decay else []
        )
        self.adamw = torch.optim.AdamW(
            self.parameters,
            config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True if fused else None,
        )
        self.device = self.parameters[0].device
        autocast_devices = ("cuda",) if config.amp == "fp16" else ("cuda", "cpu")
        self.autocast = config.amp != "none" and self.device.type in autocast_devices
        # bf16 has the range of float32; only fp16 gradients need scaling
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.autocast and config.amp == "fp16"
        )

    def step(
        self, loss: Callable[[], Tensor] | None, weight: float = 1.0, global_step: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Take one step down the gradient of a loss.

        Args:
            loss: computes the mean loss of this process's part of the batch; None if that part
                is empty.
            weight: size of that part divided by the size of the batch.
            global_step: number of steps before this one, for the average of the weights.

        Returns:
            This process's contribution to the mean loss, and the gradient's norm before clipping.
        """
        self.adamw.zero_grad(set_to_none=True)
        value = torch.zeros((), device=self.device)
        if loss is not None:
            with torch.autocast(self.device.type, AMP_TYPES[self.config.amp], self.autocast):
                value = loss()
            value = value if weight == 1 else value * weight
        scaled = self.scaler.scale(value)
        if loss is not None:
            scaled.backward()
        self.process_group.all_reduce_gradients(self.parameters)
        self.scaler.unscale_(self.adamw)
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        if self.config.max_grad_norm:
            clip_grads_with_norm_(self.parameters, self.config.max_grad_norm, norm)
        self.scaler.step(self.adamw)
        self.scaler.update()
        if self.config.ema_decay:
            decay = min(
                self.config.ema_decay, (1 + global_step) / (EMA_WARMUP_STEPS + global_step)
            )
            _lerp(self.ema_parameters, self.parameters, 1 - decay)
        return value.detach(), norm

    def minimize(
        self,
        loss: Callable[..., Tensor],
        batches: Iterable[Sequence[Any]],
        scheduler: LRScheduler | None = None,
        on_step: Callable[[float], None] = lambda loss: None,
    ) -> None:
        """Take one step per batch.

        Args:
            loss: returns the mean loss of a batch, given its columns.
            batches: the batches, each a sequence of columns.
            scheduler: advanced after each step.
            on_step: called with the loss after each step.
        """
        for batch in batches:
            value, _ = self.step(partial(loss, *batch))
            if scheduler is not None:
                scheduler.step()
            on_step(float(value))

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate."""
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """Use the averaged weights, if there are any, in the model inside a `with` block."""
        if not self.config.ema_decay:
            yield
            return
        trained = [p.detach().clone() for p in self.parameters]
        _lerp(self.parameters, self.ema_parameters, 1.0)
        try:
            yield
        finally:
            _lerp(self.parameters, trained, 1.0)

    def state_dict(self) -> dict[str, Tensor]:
        """Return all tensors that a step changes, except the parameters themselves."""
        values = {f"ema.{i}": value for i, value in enumerate(self.ema_parameters)}
        for i, moments in self.adamw.state_dict()["state"].items():
            values |= add_prefix(f"adamw.{i}", moments)
        scaler = self.scaler.state_dict()
        numbers = {name: torch.tensor(scaler[name]) for name in SCALER_STATE if scaler}
        return values | add_prefix("scaler", numbers)

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        ema_parameters = [tensors[f"ema.{i}"] for i in range(len(self.ema_parameters))]
        _lerp(self.ema_parameters, ema_parameters, 1.0)
        moments = [strip_prefix(f"adamw.{i}", tensors) for i in range(len(self.parameters))]
        groups = self.adamw.state_dict()["param_groups"]
        state = {i: values for i, values in enumerate(moments) if values}
        self.adamw.load_state_dict({"state": state, "param_groups": groups})
        scaler = {name: value.item() for name, value in strip_prefix("scaler", tensors).items()}
        if scaler:
            self.scaler.load_state_dict(self.scaler.state_dict() | scaler)


@torch.no_grad()
def _lerp(values: Sequence[Tensor], targets: Sequence[Tensor], weight: float) -> None:
    """Interpolate values towards targets in place; a weight of 1 copies them bit for bit."""
    for value, target in zip(values, targets, strict=True):
        if weight == 1.0:
            value.copy_(target)
        else:
            value.lerp_(target, weight)
