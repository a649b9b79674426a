"""Files of a checkpoint: metadata in JSON and weights in safetensors, read as NumPy arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from invdyn_ros.config import describe_error, from_mapping, load_json, parse_json, read_text
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.robots.robot import ROBOTS, Robot

Metadata = TypeVar("Metadata")
METADATA_FILE, WEIGHTS_FILE = "meta.json", "model.safetensors"
PENDING_WEIGHTS = ".model.safetensors.next"  # new weights, until meta.json refers to them
CHECKSUM_KEY = "metadata_sha256"  # of all other values in meta.json
MAX_WEIGHT = 1e15  # of a plausible parameter
MIN_SIZE_LIMIT, BYTES_PER_UNIT = 100_000, 4  # each unit of a layer has a weight


class CheckpointType(NamedTuple):
    """A type of checkpoint: its name, its format and the command that creates one."""

    name: str
    format: str
    command: str


INVERSE_DYNAMICS = CheckpointType("checkpoint", "invdyn_ros checkpoint 1", "train")


def read_metadata(
    schema: type[Metadata], directory: str | Path, checkpoint_type: CheckpointType
) -> tuple[Metadata, str]:
    """Read the metadata of a checkpoint and the sha256 of its weights, for `read_tensors`.

    Args:
        schema: dataclass of the metadata.
        directory: checkpoint folder.
        checkpoint_type: expected type of the checkpoint.

    Raises:
        ValueError: no checkpoint, damaged, of another type, with invalid values, or changed after
            the training.
    """
    path = Path(directory) / METADATA_FILE
    values = _read_json(path, checkpoint_type)
    stored, actual = values.pop(CHECKSUM_KEY, None), metadata_checksum(values)
    del values["format"]
    sha256 = str(values.pop("sha256", None))
    meta = from_mapping(schema, values, str(path))
    if stored != actual:
        raise ValueError(
            f"{path} was changed after it was written ({CHECKSUM_KEY} differs); copy it again, or "
            f'if the change is meant, set "{CHECKSUM_KEY}": "{actual}" in it'
        )
    weights = path.with_name(WEIGHTS_FILE)
    units = weights.stat().st_size // BYTES_PER_UNIT if weights.is_file() else 0
    for name, value in values.items():
        if name != "data":  # information about the training, with large numbers
            _check_sizes(value, max(MIN_SIZE_LIMIT, units), path)
    return meta, sha256


def metadata_checksum(values: Mapping[str, Any]) -> str:
    """Return the sha256 of the values in a meta.json, without its own, in any order and layout."""
    plain = json.loads(json.dumps({k: v for k, v in values.items() if k != CHECKSUM_KEY}))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def is_checkpoint(directory: str | Path, checkpoint_type: CheckpointType) -> bool:
    """Return whether a folder has metadata of this type; the checkpoint may be damaged."""
    try:
        values = load_json(Path(directory) / METADATA_FILE)
    except ValueError:
        return False
    return values.get("format") == checkpoint_type.format


def read_tensors(
    expected: Mapping[str, NDArray[Any]],
    directory: str | Path,
    sha256: str,
    checkpoint_type: CheckpointType,
) -> dict[str, NDArray[Any]]:
    """Read the tensors of a checkpoint as arrays.

    Args:
        expected: arrays of the names and shapes to read; only where they are infinite may a
            tensor be infinite, such as a limit that is not identified.
        directory: checkpoint folder.
        sha256: of the weights, from `read_metadata`.
        checkpoint_type: type of the checkpoint.

    Raises:
        ValueError: missing, damaged, non-finite or implausible weights, or those of another model.
    """
    path, content = _read_weights(Path(directory), sha256, checkpoint_type)
    again = f"{checkpoint_type.command} again"
    try:
        tensors = load_tensors(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged ({describe_error(error)}); {again} or copy it again"
        ) from error
    _check_shapes(expected, tensors, path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(
            f"{path} is not the file that {METADATA_FILE} describes (sha256 differs); "
            "copy both files again"
        )
    for name, value in expected.items():
        values = tensors[name][np.isfinite(value)]
        # also for infinity
        if np.isnan(tensors[name]).any() or (np.abs(values.astype(float)) > MAX_WEIGHT).any():
            raise ValueError(f"{path}: tensor '{name}' is not finite or implausible; {again}")
    return tensors


def _read_weights(
    directory: Path, sha256: str, checkpoint_type: CheckpointType
) -> tuple[Path, bytes]:
    """Return the path and the content of the weights, of a killed run the newer ones."""
    pending = directory / PENDING_WEIGHTS
    use_pending = pending.is_file() and hashlib.sha256(pending.read_bytes()).hexdigest() == sha256
    path = pending if use_pending else directory / WEIGHTS_FILE
    if not path.is_file():
        raise ValueError(
            f"{path} is missing; {checkpoint_type.command} again or copy the whole folder"
        )
    return path, path.read_bytes()


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


def check_known_arm(meta: ModelMetadata, where: str | Path) -> None:
    """Raise if a model has the name of a known arm, but other joints.

    Args:
        meta: metadata of the model.
        where: source of the model in the message.

    Raises:
        ValueError: other joints.
    """
    if meta.robot in ROBOTS and (names := ROBOTS[meta.robot].joint_names) != meta.joint_names:
        raise ValueError(
            f"{where} is a model of '{meta.robot}' with joints {', '.join(meta.joint_names)}; "
            f"'{meta.robot}' has {', '.join(names)}; train it again with the arm that it is of"
        )


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
    text = read_text(path)
    values = parse_json(text, str(path), f"{checkpoint_type.command} again or copy it again")
    if not isinstance(values, dict) or values.get("format") != checkpoint_type.format:
        raise ValueError(
            f"{path} is not of a {checkpoint_type.name}; "
            f'expected "format": "{checkpoint_type.format}"; {remedy}'
        )
    return values


def _check_sizes(value: Any, limit: int, path: Path) -> None:
    """Check the integers of a configuration before networks of these sizes are allocated."""
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            _check_sizes(item, limit, path)
    elif isinstance(value, int) and not abs(value) <= limit:
        raise ValueError(f"{path}: a size is {value:.4g}; the weights have {limit} at most")


def _check_shapes(
    expected: Mapping[str, NDArray[Any]], tensors: Mapping[str, NDArray[Any]], path: Path
) -> None:
    """Raise if the names or shapes of the tensors differ from the expected ones."""
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise ValueError(f"{path}: tensor '{name}' is missing; the file is for another model")
        if name not in expected:
            raise ValueError(f"{path}: unexpected tensor '{name}'; the file is for another model")
        if tensors[name].shape != expected[name].shape:
            shape, expected_shape = tuple(tensors[name].shape), tuple(expected[name].shape)
            raise ValueError(
                f"{path}: tensor '{name}' has shape {shape}; {METADATA_FILE} requires "
                f"{expected_shape}"
            )
