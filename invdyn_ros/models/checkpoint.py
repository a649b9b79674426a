"""Checkpoints as safetensors and JSON; unlike pickle, loading one cannot execute code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from invdyn_ros.config import from_mapping, to_mapping
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.models import build
from invdyn_ros.models.inverse_dynamics import InverseDynamics, ModelMetadata
from invdyn_ros.robots.robot import Robot

Metadata = TypeVar("Metadata")
Network = TypeVar("Network", bound=nn.Module)
METADATA_FILE, WEIGHTS_FILE = "meta.json", "model.safetensors"
PENDING_WEIGHTS = ".model.safetensors.next"  # new weights, until meta.json refers to them


class CheckpointType(NamedTuple):
    """A type of checkpoint: its name, its format and the command that creates one."""

    name: str
    format: str
    command: str


INVERSE_DYNAMICS = CheckpointType("checkpoint", "invdyn_ros checkpoint 1", "train")


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
    until the new meta.json, which contains their sha256, is in place.

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
    write_atomically(directory / PENDING_WEIGHTS, weights)
    write_atomically(directory / METADATA_FILE, (json.dumps(values, indent=2) + "\n").encode())
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
    try:
        model = build(meta)
    except ValueError as error:
        raise ValueError(f"{Path(directory) / METADATA_FILE}: {error}") from error
    return (
        load_weights(model, directory, sha256, INVERSE_DYNAMICS).to(select_device(device)).eval()
    )


def read_metadata(
    schema: type[Metadata], directory: str | Path, checkpoint_type: CheckpointType
) -> tuple[Metadata, str]:
    """Read the metadata of a checkpoint and the sha256 of its weights, for `load_weights`.

    Args:
        schema: dataclass of the metadata.
        directory: checkpoint folder.
        checkpoint_type: expected type of the checkpoint.

    Raises:
        ValueError: no checkpoint, damaged, of another type or with invalid values.
    """
    path = Path(directory) / METADATA_FILE
    values = _read_json(path, checkpoint_type)
    sha256 = values.pop("sha256", None)
    return from_mapping(schema, values, str(path)), str(sha256)


def is_checkpoint(directory: str | Path, checkpoint_type: CheckpointType) -> bool:
    """Return whether a folder has metadata of this type; the checkpoint may be damaged."""
    try:
        values = json.loads((Path(directory) / METADATA_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and values.get("format") == checkpoint_type.format


def load_weights(
    network: Network, directory: str | Path, sha256: str, checkpoint_type: CheckpointType
) -> Network:
    """Load the tensors of a checkpoint into a network; their names and shapes must match.

    Args:
        network: the network to fill.
        directory: checkpoint folder.
        sha256: of the weights, from `read_metadata`.
        checkpoint_type: type of the checkpoint.

    Raises:
        ValueError: missing or damaged weights, or those of another network.
    """
    directory = Path(directory)
    pending = directory / PENDING_WEIGHTS
    use_pending = pending.is_file() and hashlib.sha256(pending.read_bytes()).hexdigest() == sha256
    path = pending if use_pending else directory / WEIGHTS_FILE
    if not path.is_file():
        raise ValueError(
            f"{path} is missing; {checkpoint_type.command} again or copy the whole folder"
        )
    content = path.read_bytes()
    try:
        tensors = load_tensors(content)
    except (SafetensorError, ValueError) as error:
        reason = " ".join(str(error).split())
        again = f"{checkpoint_type.command} again or copy it again"
        raise ValueError(f"{path} is damaged ({reason}); {again}") from error
    _check_tensors(network.state_dict(), tensors, path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(
            f"{path} is not the file that {METADATA_FILE} describes (sha256 differs); "
            "copy both files again"
        )
    network.load_state_dict(tensors)
    return network


def check_robot(meta: ModelMetadata, robot: Robot, where: str | Path) -> None:
    """Raise if a model belongs to another arm; all UR arms have the same joint names.

    Args:
        meta: metadata of the model.
        robot: the arm to control.
        where: source of the model in the message.

    Raises:
        ValueError: other joints or another name.
    """
    if meta.joint_names != robot.joint_names:
        expected, joints = ", ".join(robot.joint_names), ", ".join(meta.joint_names)
        raise ValueError(
            f"{where} was trained for '{meta.robot}' with joints {joints}; "
            f"'{robot.name}' has {expected}"
        )
    if meta.robot != robot.name:
        raise ValueError(f"{where} was trained for '{meta.robot}', not for '{robot.name}'")


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


def _read_json(path: Path, checkpoint_type: CheckpointType) -> dict[str, Any]:
    directory, remedy = path.parent, f"make one with 'invdyn {checkpoint_type.command}'"
    if not directory.is_dir():
        raise ValueError(f"no {checkpoint_type.name} folder {directory}; {remedy}")
    if not path.is_file():
        content = ", ".join(sorted(p.name for p in directory.iterdir())) or "nothing"
        raise ValueError(
            f"{directory} is no {checkpoint_type.name}: {METADATA_FILE} is missing; "
            f"the folder has {content}; {remedy}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is not JSON ({error}); {checkpoint_type.command} again or copy it again"
        ) from error
    if not isinstance(values, dict) or values.pop("format", None) != checkpoint_type.format:
        raise ValueError(
            f"{path} is not of a {checkpoint_type.name}; "
            f'expected "format": "{checkpoint_type.format}"; {remedy}'
        )
    return values


def _check_tensors(expected: dict[str, Tensor], tensors: dict[str, Tensor], path: Path) -> None:
    """Raise if the names or shapes of the tensors differ from the expected ones."""
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise ValueError(f"{path}: tensor '{name}' is missing; the file is for another model")
        if name not in expected:
            raise ValueError(
                f"{path}: unexpected tensor '{name}'; the model has {', '.join(expected)}"
            )
        if tensors[name].shape != expected[name].shape:
            shape, expected_shape = tuple(tensors[name].shape), tuple(expected[name].shape)
            raise ValueError(
                f"{path}: tensor '{name}' has shape {shape}; {METADATA_FILE} requires "
                f"{expected_shape}"
            )
