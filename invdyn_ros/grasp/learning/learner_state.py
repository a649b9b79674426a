"""Training state of a learner in one safetensors file.

The zip files of stable-baselines3 contain pickles, which run code when they are loaded.
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

from invdyn_ros.config import parse_json
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.data.files import reading

LEARNER_STATE_FILE = "last.safetensors"
BUFFER_FIELDS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


LearnerState = tuple[dict[str, Tensor], dict[str, int]]  # tensors and counts by name


def save_learner_state(
    tensors: dict[str, Tensor], counts: dict[str, int], progress: dict[str, Any], directory: Path
) -> None:
    """Write the state from which a run can be resumed.

    Args:
        tensors: tensors of the learner by name.
        counts: numbers of steps and updates by name.
        progress: further JSON values, with the settings of the run as `settings`.
        directory: folder of the run.
    """
    plain = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    text = {"progress": json.dumps(progress), "counts": json.dumps(counts)}
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / LEARNER_STATE_FILE, save(plain, text))


def load_learner_state(
    settings: dict[str, Any], directory: Path
) -> tuple[dict[str, Tensor], dict[str, int], dict[str, Any]]:
    """Return tensors, counts and progress of a run with the same settings.

    Args:
        settings: settings of the present run, which must equal those of the stored one.
        directory: folder of the run.

    Raises:
        ValueError: no state, a damaged one, or one of a run with other settings.
    """
    path = directory / LEARNER_STATE_FILE
    if not path.is_file():
        raise ValueError(f"nothing to resume: no file {path}; start the run without --resume")
    with reading(path, "state of a run", "leave out --resume to start afresh"):
        with safe_open(path, "pt") as file:
            text = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        progress, counts = (parse_json(text[key], key) for key in ("progress", "counts"))
        _check_same_settings(progress["settings"], json.loads(json.dumps(settings)), path)
    return tensors, counts, progress


def read_run_config(directory: Path) -> dict[str, Any]:
    """Return the settings of the run in a folder; empty if it holds no valid state."""
    try:
        with safe_open(directory / LEARNER_STATE_FILE, "pt") as file:
            return dict(parse_json(file.metadata()["progress"], "progress")["settings"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return {}


def damaged_state_error(directory: Path, error: Exception) -> ValueError:
    """Return the exception for a state that cannot be restored."""
    return ValueError(
        f"{directory / LEARNER_STATE_FILE} is damaged ({error!r}); leave out --resume"
    )


def state_dict(learner: BaseAlgorithm) -> LearnerState:
    """Return the full training state of a stable-baselines3 learner."""
    tensors = _learner_tensors(learner)
    buffer = getattr(learner, "replay_buffer", None)
    counts = {
        "num_timesteps": learner.num_timesteps,
        "num_updates": getattr(learner, "_n_updates", 0),
    }
    if buffer is not None:
        size = buffer.buffer_size if buffer.full else buffer.pos
        counts["buffer_position"] = buffer.pos
        for name, column in _buffer_arrays(buffer).items():
            tensors[f"replay_buffer.{name}"] = torch.as_tensor(column[:size])
    return tensors, counts


def _buffer_arrays(buffer: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a replay buffer by name, with one per key of dict observations."""
    columns: dict[str, np.ndarray] = {}
    for name in BUFFER_FIELDS:
        field = getattr(buffer, name)
        if isinstance(field, np.ndarray):
            columns[name] = field
        else:
            columns |= {f"{name}.{key}": array for key, array in field.items()}
    return columns


def load_state_dict(
    learner: BaseAlgorithm, tensors: dict[str, Tensor], counts: dict[str, int], directory: Path
) -> None:
    """Restore an untrained learner from the result of `state_dict`.

    Args:
        learner: learner with the same settings.
        tensors: tensors of the state by name.
        counts: counts of the state by name.
        directory: folder that the state was read from, for error messages.

    Raises:
        ValueError: the state does not fit the learner.
    """
    try:
        _restore_learner(learner, tensors, counts)
        _restore_buffer(getattr(learner, "replay_buffer", None), tensors, counts)
    except (KeyError, TypeError, RuntimeError) as error:
        raise damaged_state_error(directory, error) from error


def _check_same_settings(old: dict[str, Any], new: dict[str, Any], path: Path) -> None:
    for name in old.keys() | new.keys():
        if old.get(name) != new.get(name):
            raise ValueError(
                f"{path} holds a run with {name} {old.get(name)}, not {new.get(name)}; "
                "give the same value"
            )


def _learner_tensors(learner: Any) -> dict[str, Tensor]:
    """Return the tensors of networks, optimizers and entropy coefficient by name."""
    _, names = learner._get_torch_save_params()
    tensors = {name: getattr(learner, name) for name in names}
    for name, state in learner.get_parameters().items():
        if "param_groups" not in state:
            tensors |= {f"{name}:{key}": value for key, value in state.items()}
            continue
        for number, entries in state["state"].items():
            tensors |= {f"{name}:{number}:{key}": value for key, value in entries.items()}
    return tensors


def _restore_learner(learner: Any, tensors: dict[str, Tensor], counts: dict[str, int]) -> None:
    """Restore the tensors that `_learner_tensors` returned, and the counts."""
    parameters, names = learner.get_parameters(), learner._get_torch_save_params()[1]
    for name, state in parameters.items():
        values = {k.split(":", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{name}:")}
        if "param_groups" not in state:
            parameters[name] = values
            continue
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in values.items():
            number, field = key.split(":")
            entries.setdefault(int(number), {})[field] = value
        parameters[name] = {"state": entries, "param_groups": state["param_groups"]}
    learner.set_parameters(parameters, exact_match=True)
    for name in names:
        getattr(learner, name).data.copy_(tensors[name])
    learner.num_timesteps, learner._n_updates = counts["num_timesteps"], counts["num_updates"]


def _restore_buffer(buffer: Any, tensors: dict[str, Tensor], counts: dict[str, int]) -> None:
    if buffer is None:
        return
    for name, column in _buffer_arrays(buffer).items():
        saved: np.ndarray = tensors[f"replay_buffer.{name}"].numpy()
        column[: len(saved)] = saved
    buffer.pos, buffer.full = counts["buffer_position"], len(saved) == buffer.buffer_size
