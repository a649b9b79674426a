"""A learner on disk: networks, optimisers and memory enter, one safetensors file leaves.

Never pickle: stable-baselines3's own files run code when they are loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from invdyn_ros.models.checkpoint import write_atomically

STATE_FILE = "last.safetensors"
MEMORY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


LearnerState = tuple[dict[str, Tensor], dict[str, int]]  # tensors and counts, by name


def save_learner_state(
    tensors: dict[str, Tensor], counts: dict[str, int], progress: dict[str, Any], directory: Path
) -> None:
    """Write all a run needs to go on.

    Args:
        tensors: of the learner as it is now, by name.
        counts: of it.
        progress: what else there is to know, plain values; with the settings of the run.
        directory: that of the run.
    """
    plain = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    text = {"progress": json.dumps(progress), "counts": json.dumps(counts)}
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / STATE_FILE, save(plain, text))


def load_learner_state(
    settings: dict[str, Any], directory: Path
) -> tuple[dict[str, Tensor], dict[str, int], dict[str, Any]]:
    """Return tensors, counts and progress that were written of a run with the same settings.

    Raises:
        ValueError: nothing there, damaged, or of a run with other settings.
    """
    path = directory / STATE_FILE
    if not path.is_file():
        raise ValueError(f"nothing to resume: {path} is missing; leave out --resume to start anew")
    try:
        with safe_open(path, "pt") as file:
            text = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        progress, counts = json.loads(text["progress"]), json.loads(text["counts"])
        _same(progress["settings"], json.loads(json.dumps(settings)), path)
    except (SafetensorError, KeyError, TypeError) as error:
        raise damaged_state_error(directory, error) from error
    return tensors, counts, progress


def read_run_config(directory: Path) -> dict[str, Any]:
    """Return the settings of the run of a folder; empty where no state of it was written."""
    try:
        with safe_open(directory / STATE_FILE, "pt") as file:
            return dict(json.loads(file.metadata()["progress"])["settings"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return {}


def damaged_state_error(directory: Path, error: Exception) -> ValueError:
    """Return what to raise when a state does not fit."""
    return ValueError(f"{directory / STATE_FILE} is damaged ({error!r}); leave out --resume")


def state_dict(learner: BaseAlgorithm) -> LearnerState:
    """Return what makes a learner of stable-baselines3 go on as it would have."""
    tensors = _tensors(learner)
    memory = getattr(learner, "replay_buffer", None)
    counts = {"steps": learner.num_timesteps, "updates": getattr(learner, "_n_updates", 0)}
    if memory is not None:
        filled = memory.buffer_size if memory.full else memory.pos
        counts["position"] = memory.pos
        for name, column in _columns(memory).items():
            tensors[f"replay_buffer.{name}"] = torch.as_tensor(column[:filled])
    return tensors, counts


def _columns(memory: Any) -> dict[str, np.ndarray]:
    """Return all that a replay buffer remembers by name, be it one array or several of each."""
    columns: dict[str, np.ndarray] = {}
    for name in MEMORY:
        whole = getattr(memory, name)
        parts = (
            {name: whole}
            if isinstance(whole, np.ndarray)
            else {f"{name}.{key}": part for key, part in whole.items()}
        )
        columns |= parts
    return columns


def load_state_dict(
    learner: BaseAlgorithm, tensors: dict[str, Tensor], counts: dict[str, int], directory: Path
) -> None:
    """Fill a fresh learner with what `pack` gave.

    Raises:
        ValueError: it does not fit.
    """
    try:
        _fill(learner, tensors, counts)
    except (KeyError, TypeError, RuntimeError) as error:
        raise damaged_state_error(directory, error) from error


def _same(old: dict[str, Any], new: dict[str, Any], path: Path) -> None:
    for name in old.keys() | new.keys():
        if old.get(name) != new.get(name):
            raise ValueError(
                f"{path} is of a run with {name} {old.get(name)}, not {new.get(name)}; "
                "keep it the same"
            )


def _tensors(learner: Any) -> dict[str, Tensor]:
    """Return all tensors of networks, optimisers and the entropy's weight, by name."""
    _, loose = learner._get_torch_save_params()
    tensors = {name: getattr(learner, name) for name in loose}
    for name, state in learner.get_parameters().items():
        if "param_groups" not in state:
            tensors |= {f"{name}:{key}": value for key, value in state.items()}
            continue
        for number, entries in state["state"].items():
            tensors |= {f"{name}:{number}:{key}": value for key, value in entries.items()}
    return tensors


def _fill(learner: Any, tensors: dict[str, Tensor], counts: dict[str, int]) -> None:
    """Put back what `_tensors` and the memory gave."""
    fresh, loose = learner.get_parameters(), learner._get_torch_save_params()[1]
    for name, state in fresh.items():
        own = {k.split(":", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{name}:")}
        if "param_groups" not in state:
            fresh[name] = own
            continue
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in own.items():
            number, field = key.split(":")
            entries.setdefault(int(number), {})[field] = value
        fresh[name] = {"state": entries, "param_groups": state["param_groups"]}
    learner.set_parameters(fresh, exact_match=True)
    for name in loose:
        getattr(learner, name).data.copy_(tensors[name])
    learner.num_timesteps, learner._n_updates = counts["steps"], counts["updates"]
    _recall(getattr(learner, "replay_buffer", None), tensors, counts)


def _recall(memory: Any, tensors: dict[str, Tensor], counts: dict[str, int]) -> None:
    """Fill a replay buffer."""
    if memory is None:
        return
    for name, column in _columns(memory).items():
        kept: np.ndarray = tensors[f"replay_buffer.{name}"].numpy()
        column[: len(kept)] = kept
    memory.pos, memory.full = counts["position"], len(kept) == memory.buffer_size
