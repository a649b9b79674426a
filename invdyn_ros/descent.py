"""Gradient descent on a loss: a fresh model enters, the best one leaves; may stop and go on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from invdyn_ros.models.checkpoint import write_whole
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.windows import Windows

STATE = "last.safetensors"
SAVE_EVERY = 5.0  # [s] between states on disk: what a power cut costs


@dataclass(frozen=True)
class DescentConfig:
    """How a family without a closed form is fitted."""

    epochs: int = 300
    """Passes over the training data, at most."""
    batch: int = 512
    """Windows per step."""
    learning_rate: float = 2e-3
    """Adam's step size at the start; it falls to zero along a cosine."""
    patience: int = 60
    """Epochs without a better validation loss before stopping."""

    def __post_init__(self) -> None:
        """Check that all are positive."""
        for name in ("epochs", "batch", "learning_rate", "patience"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")


@dataclass
class Progress:
    """Where a run stands; with the tensors of model and optimiser, all there is to go on from."""

    epoch: int = 0
    best: float = math.inf
    best_epoch: int = 0
    losses: list[tuple[float, float]] = field(
        default_factory=list
    )  # (training, validation) per epoch


@dataclass(frozen=True)
class Saved:
    """A run on disk."""

    directory: Path
    """Checkpoint folder."""
    settings: dict[str, Any]
    """All that shapes the run; a state with other settings is refused."""

    @property
    def path(self) -> Path:
        """The one file with all a run needs to go on."""
        return self.directory / STATE


def descend(
    model: InverseDynamics,
    train: Windows,
    valid: Windows,
    config: DescentConfig,
    seed: int,
    state: Saved,
    resume: bool = False,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Fit a model in place and leave it at its best validation loss.

    The order of the batches depends on `seed` only, so a resumed run ends like one that never
    stopped.

    Args:
        model: on the device of the data.
        train: windows to learn from.
        valid: windows that decide when to stop and which weights to keep.
        config: epochs, batch size and step size.
        seed: of the batch order.
        state: where the run is kept on disk, and what makes it this run.
        resume: go on from `state`.
        on_epoch: called after each epoch, for a progress bar.

    Raises:
        ValueError: nothing to resume, a state of another run, or a loss that is no longer finite.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    order = torch.Generator().manual_seed(seed)
    progress, best = Progress(), _copy(model)
    if resume:
        progress, best = _restore(state, model, optimiser, order)
    saved = -math.inf
    while (
        progress.epoch < config.epochs and progress.epoch - progress.best_epoch < config.patience
    ):
        for group in optimiser.param_groups:
            cosine = math.cos(math.pi * progress.epoch / config.epochs)
            group["lr"] = config.learning_rate * 0.5 * (1 + cosine)
        losses = (_epoch(model, optimiser, train, config.batch, order), _validate(model, valid))
        progress.epoch += 1
        if not all(map(math.isfinite, losses)):
            raise ValueError(f"loss is {losses[0]} in epoch {progress.epoch}; lower learning_rate")
        progress.losses.append(losses)
        if losses[1] < progress.best:
            progress.best, progress.best_epoch, best = losses[1], progress.epoch, _copy(model)
        if time.monotonic() - saved > SAVE_EVERY:
            _save(state, model, best, optimiser, order, progress)
            saved = time.monotonic()
        on_epoch(progress)
    _save(state, model, best, optimiser, order, progress)
    model.load_state_dict(best)
    return progress


def _epoch(
    model: InverseDynamics,
    optimiser: torch.optim.Adam,
    train: Windows,
    batch: int,
    order: torch.Generator,
) -> float:
    """Take one pass and return the mean loss."""
    model.train()
    total = torch.zeros((), device=train.motion.device)
    for index in torch.randperm(train.size, generator=order).to(train.motion.device).split(batch):
        optimiser.zero_grad(set_to_none=True)
        loss = model.loss(*train.rows(index))
        loss.backward()
        optimiser.step()
        total += loss.detach() * len(index)
    return float(total) / train.size


@torch.no_grad()
def _validate(model: InverseDynamics, valid: Windows) -> float:
    model.eval()
    return float(model.loss(*valid))


def _copy(model: InverseDynamics) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _save(
    state: Saved,
    model: InverseDynamics,
    best: dict[str, Tensor],
    optimiser: torch.optim.Adam,
    order: torch.Generator,
    progress: Progress,
) -> None:
    """Write all a run needs to go on, in one file."""
    moments = optimiser.state_dict()["state"]
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    tensors |= {
        f"adam.{i}.{key}": value for i, moment in moments.items() for key, value in moment.items()
    }
    tensors |= {"rng.order": order.get_state(), "rng.torch": torch.get_rng_state()}
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = {"progress": json.dumps(vars(progress)), "settings": json.dumps(state.settings)}
    write_whole(state.path, save(plain, metadata))


def _restore(
    state: Saved,
    model: InverseDynamics,
    optimiser: torch.optim.Adam,
    order: torch.Generator,
) -> tuple[Progress, dict[str, Tensor]]:
    """Put model, optimiser and random numbers back to where a run stood."""
    path = state.path
    if not path.is_file():
        raise ValueError(
            f"nothing to resume: {path} is missing; leave out --resume to start afresh"
        )
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
            metadata = file.metadata()
        old, progress = (
            json.loads(metadata["settings"]),
            Progress(**json.loads(metadata["progress"])),
        )
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); leave out --resume to start afresh"
        ) from error
    new = json.loads(json.dumps(state.settings))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            raise ValueError(
                f"{path} is of a run with {name} {old.get(name)}, "
                f"now {new.get(name)}; keep it the same"
            )
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "adam": {}}
    for name, value in tensors.items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, {})[rest] = value
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in groups["adam"].items():
        index, _, key = name.partition(".")
        moments.setdefault(int(index), {})[key] = value
    model.load_state_dict(groups["model"])
    optimiser.load_state_dict(
        {"state": moments, "param_groups": optimiser.state_dict()["param_groups"]}
    )
    order.set_state(groups["rng"]["order"])
    torch.set_rng_state(groups["rng"]["torch"])
    return progress, {
        name: value.to(model.motion_mean.device) for name, value in groups["best"].items()
    }
