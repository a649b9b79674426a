"""Files of a training run, to resume it after an interruption."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from invdyn_ros.config import parse_json
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.data.files import reading
from invdyn_ros.models.checkpoint import write_checkpoint
from invdyn_ros.models.checkpoint_files import INVERSE_DYNAMICS, CheckpointType

STATE_FILE = "last.safetensors"
HEADER_LENGTH_BYTES = 8  # a safetensors file starts with the length of its header


@dataclass
class Progress:
    """Progress of a run; its state consists of this and the tensors of model and optimizer."""

    epoch: int = 0
    """Number of finished epochs."""
    global_step: int = 0
    """Number of optimizer steps."""
    best_val_loss: float = math.inf
    """Lowest validation loss, or lowest error of another kind if that chooses the weights."""
    best_epoch: int = 0
    losses: list[tuple[float, float]] = field(default_factory=list)
    """Training and validation loss of each epoch."""
    scalars: dict[str, float] = field(default_factory=dict)
    """Other values of the last epoch, for the log."""


@dataclass(frozen=True)
class RunState:
    """Files of a run; after a crash at any time each of them is complete."""

    directory: Path
    """Checkpoint folder."""
    settings: dict[str, Any]
    """All settings that affect the result; a state with other settings is not resumed."""
    meta: Any
    """Metadata of the model, a dataclass with a mapping `data`."""
    checkpoint_type: CheckpointType = INVERSE_DYNAMICS
    """Type of the checkpoint."""

    @property
    def path(self) -> Path:
        """The file with the state of the run."""
        return self.directory / STATE_FILE

    def write(self, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
        """Write the state of the run."""
        metadata = {"progress": json.dumps(vars(progress)), "settings": json.dumps(self.settings)}
        contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        write_atomically(self.path, save(contiguous, metadata))

    def save_best(self, progress: Progress, weights: Mapping[str, Tensor]) -> None:
        """Write the best weights so far as a checkpoint."""
        data = self.meta.data | {"epochs": progress.epoch}
        meta = replace(self.meta, data=data)
        write_checkpoint(weights, meta, self.directory, self.checkpoint_type)

    def read_bytes(self) -> bytes:
        """Return the content of the state file, and delete partial files of a killed run.

        Raises:
            ValueError: there is no such file.
        """
        if not self.path.is_file():
            raise ValueError(
                f"nothing to resume: {self.path} is missing; leave out --resume to start afresh"
            )
        for partial in self.directory.glob(".*.[0-9]*"):
            partial.unlink()
        return self.path.read_bytes()

    def parse(self, content: bytes) -> tuple[Progress, dict[str, Tensor]]:
        """Return the progress and the tensors in the content of a state file.

        Raises:
            ValueError: a damaged file, or the state of another run.
        """
        with reading(self.path, "state of a run", "leave out --resume to start afresh"):
            tensors, metadata = load(content), _read_metadata(content)
            old = parse_json(metadata["settings"], "settings")
            progress = Progress(**parse_json(metadata["progress"], "progress"))
            epochs = progress.epoch, progress.global_step, progress.best_epoch
            if not all(isinstance(k, int) and k >= 0 for k in epochs):
                raise ValueError(f"epochs and steps are {epochs}")
            if any(not math.isfinite(loss) for pair in progress.losses for loss in pair):
                raise ValueError("a loss is not finite")
            for name, tensor in tensors.items():
                if not torch.isfinite(tensor).all():
                    raise ValueError(f"tensor '{name}' is not finite")
        new = json.loads(json.dumps(self.settings))
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                raise ValueError(
                    f"{self.path} belongs to a run with {name} {old.get(name)}, "
                    f"now it is {new.get(name)}; do not change it"
                )
        return progress, tensors


def add_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with `prefix` and a dot before their names."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def strip_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix` and a dot, without it."""
    start = f"{prefix}."
    return {n.removeprefix(start): value for n, value in tensors.items() if n.startswith(start)}


def _read_metadata(content: bytes) -> dict[str, str]:
    """Return the metadata in a safetensors file's header; the library reads it from paths only."""
    end = HEADER_LENGTH_BYTES + int.from_bytes(content[:HEADER_LENGTH_BYTES], "little")
    return dict(parse_json(content[HEADER_LENGTH_BYTES:end], "header")["__metadata__"])
