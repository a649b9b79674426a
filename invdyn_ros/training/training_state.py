"""A training run on disk: tensors and progress enter, a file that a run can go on from leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from invdyn_ros.models.checkpoint import (
    INVERSE_DYNAMICS,
    CheckpointType,
    write_atomically,
    write_checkpoint,
)

STATE = "last.safetensors"
HEADER = 8  # bytes that say how long the header of a safetensors file is


@dataclass
class Progress:
    """Where a run stands; with the tensors of model and optimiser, all there is to go on from."""

    epoch: int = 0
    steps: int = 0
    best: float = math.inf
    best_epoch: int = 0
    losses: list[tuple[float, float]] = field(
        default_factory=list
    )  # (training, validation) per epoch
    scalars: dict[str, float] = field(default_factory=dict)  # of the last epoch, for the log


@dataclass(frozen=True)
class RunState:
    """The files of one run; a crash at any time leaves them whole."""

    directory: Path
    """Checkpoint folder."""
    settings: dict[str, Any]
    """All that shapes the run; a state with other settings is refused."""
    meta: Any
    """What the model is of, with a mapping `data`."""
    kind: CheckpointType = INVERSE_DYNAMICS
    """What it is a checkpoint of."""

    @property
    def path(self) -> Path:
        """The one file with all a run needs to go on."""
        return self.directory / STATE

    def write(self, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
        """Write all a run needs to go on, in one file."""
        metadata = {"progress": json.dumps(vars(progress)), "settings": json.dumps(self.settings)}
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        write_atomically(self.path, save(plain, metadata))

    def save_best(self, progress: Progress, best: Mapping[str, Tensor]) -> None:
        """Write the best weights so far as a checkpoint."""
        data = self.meta.data | {"epochs": progress.epoch}
        write_checkpoint(best, replace(self.meta, data=data), self.directory, self.kind)

    def content(self) -> bytes:
        """Return the file as it is, and clear away what a killed run had half written.

        Raises:
            ValueError: there is none.
        """
        if not self.path.is_file():
            raise ValueError(
                f"nothing to resume: {self.path} is missing; leave out --resume to start afresh"
            )
        for half in self.directory.glob(".*.[0-9]*"):
            half.unlink()
        return self.path.read_bytes()

    def read(self, content: bytes) -> tuple[Progress, dict[str, Tensor]]:
        """Return what `write` wrote.

        Raises:
            ValueError: a damaged file, or the state of another run.
        """
        try:
            tensors, metadata = load(content), _metadata(content)
            old = json.loads(metadata["settings"])
            progress = Progress(**json.loads(metadata["progress"]))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.path} is damaged ({error}); leave out --resume to start afresh"
            ) from error
        new = json.loads(json.dumps(self.settings))
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                raise ValueError(
                    f"{self.path} is of a run with {name} {old.get(name)}, "
                    f"now {new.get(name)}; keep it the same"
                )
        return progress, tensors


def prefixed(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors as members of a group."""
    return {f"{group}.{name}": value for name, value in tensors.items()}


def under(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the members of a group, by their own names."""
    start = f"{group}."
    return {n.removeprefix(start): value for n, value in tensors.items() if n.startswith(start)}


def _metadata(content: bytes) -> dict[str, str]:
    """Return the free text of a safetensors file; its library reads that from paths only."""
    end = HEADER + int.from_bytes(content[:HEADER], "little")
    return json.loads(content[HEADER:end])["__metadata__"]
