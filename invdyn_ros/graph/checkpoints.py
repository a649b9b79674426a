"""Lookup of the inverse-dynamics model and of the state predictor that a graph uses."""

from __future__ import annotations

import sys
from pathlib import Path

from invdyn_ros.config import load_json
from invdyn_ros.data.action_units import TORQUE, command_unit
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import ROBOTS, load_robot, package_file

ONNX_SUFFIX = ".onnx"  # of an exported model


def find_checkpoint(checkpoint: str, arm: str, real: bool) -> Path:
    """Return the path of a checkpoint; by default the shipped one of the arm.

    A simulated arm without one is driven by its URDF and the friction of the simulation.

    Args:
        checkpoint: launch argument; empty: the shipped one.
        arm: name of the arm.
        real: whether the arm is a real one.

    Raises:
        ValueError: no such folder or exported model, or none is shipped for a real arm.
    """
    if checkpoint:
        path = Path(checkpoint).absolute()
        if not path.is_dir() and not (path.suffix == ONNX_SUFFIX and path.is_file()):
            raise ValueError(
                f"checkpoint:={checkpoint} is neither a folder written by 'invdyn train' nor a "
                f"{ONNX_SUFFIX} file written by 'invdyn export'"
            )
        return path
    name = (real and ROBOTS[arm].real_checkpoint) or arm
    try:
        return package_file(f"config/checkpoints/{name}")
    except FileNotFoundError as error:
        if real:
            raise ValueError(
                f"no checkpoint is shipped for a real {arm}; train one from a recording, and give "
                "checkpoint:=DIR"
            ) from error
    print(
        f"no checkpoint is shipped for {arm}: it is driven by its URDF and the friction of the "
        "simulation; checkpoint:=DIR takes a trained one",
        file=sys.stderr,
    )
    from invdyn_ros.models.nominal_checkpoint import write_nominal_checkpoint  # slow to import

    return write_nominal_checkpoint(load_robot(arm), load_plant(arm))


def find_state_predictor(folder: str, arm: str) -> Path:
    """Return the path of a state predictor, after loading it as the node does.

    Raises:
        ValueError: not a time-series model of this arm.
    """
    # slow to import
    from invdyn_ros.control.learned_state_predictor import LearnedStatePredictor
    from invdyn_ros.models.timeseries.registry import load_time_series_model

    LearnedStatePredictor(load_time_series_model(folder), load_robot(arm))
    return Path(folder).absolute()


def find_payload(file: str, arm: str, unit: str) -> Path:
    """Return the path of a payload, after checking that the arm can carry it.

    Args:
        file: launch argument.
        arm: name of the arm.
        unit: unit of the commands.

    Raises:
        ValueError: no payload, one of another arm, or commands that are no torques.
    """
    # slow to import
    from invdyn_ros.models.payload_file import load_payload

    if unit != TORQUE:
        raise ValueError(
            f"payload:={file} needs commands in '{TORQUE}'; the checkpoint has '{unit}', whose "
            "servos hold a load by themselves"
        )
    load_robot(arm).carrying(load_payload(file))
    return Path(file).absolute()


def read_command_unit(checkpoint: Path, arm: str) -> str:
    """Return the unit of the commands that a checkpoint gives to the arm.

    Raises:
        ValueError: the checkpoint is damaged, or was trained for another arm.
    """
    is_onnx = checkpoint.suffix == ONNX_SUFFIX
    robot, unit = (_read_onnx_metadata if is_onnx else _read_checkpoint_metadata)(checkpoint)
    if robot != arm:
        raise ValueError(f"checkpoint {checkpoint} was trained for '{robot}', not for '{arm}'")
    return command_unit(unit)


def _read_onnx_metadata(checkpoint: Path) -> tuple[str, str]:
    """Read the arm and the action unit of an exported model."""
    from invdyn_ros.models.onnx import load_onnx  # slow to import

    meta = load_onnx(checkpoint).meta
    return meta.robot, meta.action_unit


def _read_checkpoint_metadata(checkpoint: Path) -> tuple[str, str]:
    """Read the arm and the action unit of a checkpoint folder."""
    file = checkpoint / "meta.json"
    if not file.is_file():
        raise ValueError(f"{checkpoint} has no meta.json; 'invdyn train' writes one")
    try:
        meta = load_json(file)
        return str(meta["robot"]), str(meta["action_unit"])
    except (ValueError, KeyError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{file} is not the meta.json of a checkpoint: {reason}") from error
