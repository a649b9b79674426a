"""Checkpoints as safetensors and JSON; unlike pickle, loading one cannot execute code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from invdyn_ros.config import to_mapping
from invdyn_ros.data.atomic_file import write_atomically, write_json
from invdyn_ros.data.files import reading
from invdyn_ros.models.checkpoint_files import (
    CHECKSUM_KEY,
    INVERSE_DYNAMICS,
    METADATA_FILE,
    PENDING_WEIGHTS,
    WEIGHTS_FILE,
    CheckpointType,
    check_robot,
    metadata_checksum,
    read_metadata,
    read_tensors,
)
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.plausibility import check_plausible
from invdyn_ros.models.registry import build
from invdyn_ros.models.torch_predictor import TorchPredictor
from invdyn_ros.robots.robot import Robot

Network = TypeVar("Network", bound=nn.Module)


def save(model: InverseDynamics, meta: ModelMetadata, directory: str | Path) -> None:
    """Write a model and its metadata; after a crash the folder holds the old or the new model.

    Args:
        model: trained model.
        meta: its metadata.
        directory: checkpoint folder.
    """
    write_checkpoint(model.state_dict(), meta, directory)


def write_checkpoint(
    tensors: Mapping[str, Tensor],
    meta: Any,
    directory: str | Path,
    checkpoint_type: CheckpointType = INVERSE_DYNAMICS,
) -> None:
    """Write a checkpoint.

    Two files cannot be replaced atomically, so the new weights are stored beside the old ones
    until the new meta.json, with their sha256, is in place.

    Args:
        tensors: of the network.
        meta: metadata, a dataclass.
        directory: folder to write.
        checkpoint_type: type of the checkpoint.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    weights = save_tensors(contiguous)
    sha256 = hashlib.sha256(weights).hexdigest()
    values = {"format": checkpoint_type.format, "sha256": sha256} | to_mapping(meta)
    values = {CHECKSUM_KEY: metadata_checksum(values)} | values
    write_atomically(directory / PENDING_WEIGHTS, weights)
    try:
        write_json(directory / METADATA_FILE, values)
    except OSError:
        (directory / PENDING_WEIGHTS).unlink()
        raise
    (directory / PENDING_WEIGHTS).replace(directory / WEIGHTS_FILE)


def load(
    directory: str | Path, device: str = "cpu", robot: Robot | None = None
) -> InverseDynamics:
    """Load a model for prediction.

    Args:
        directory: a folder that `save` wrote.
        device: "cpu", "cuda" or "auto".
        robot: arm that the model must belong to; None: any.

    Raises:
        ValueError: no checkpoint, damaged, of another type, of an unknown family or of another
            arm.
    """
    meta, sha256 = read_metadata(ModelMetadata, directory, INVERSE_DYNAMICS)
    if robot is not None:
        check_robot(meta, robot, directory)
    model = load_weights(partial(build, meta), directory, sha256, INVERSE_DYNAMICS).eval()
    check_plausible(TorchPredictor(model), directory, robot)
    return model.to(select_device(device))


def load_weights(
    create: Callable[[], Network],
    directory: str | Path,
    sha256: str,
    checkpoint_type: CheckpointType,
) -> Network:
    """Create a network and load the tensors of a checkpoint; their names and shapes must match.

    Args:
        create: function that returns the untrained network.
        directory: checkpoint folder.
        sha256: of the weights, from `read_metadata`.
        checkpoint_type: type of the checkpoint.

    Raises:
        ValueError: missing, damaged or non-finite weights, or those of another network.
    """
    metadata_path = Path(directory) / METADATA_FILE
    again = f"{checkpoint_type.command} again or copy it again"
    with reading(metadata_path, f"description of a {checkpoint_type.name}", again):
        network = create()
    expected = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    tensors = read_tensors(expected, directory, sha256, checkpoint_type)
    network.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})
    return network


def select_device(name: str) -> torch.device:
    """Return a device by name; "auto" is the GPU if there is one.

    Raises:
        ValueError: unknown device, or none of that kind on this machine.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device {name!r} is not one of 'auto', 'cpu', 'cuda'")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda': this machine has no usable GPU; use 'auto' or 'cpu'")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
