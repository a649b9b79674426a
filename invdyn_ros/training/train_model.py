"""Training of a model by a program, from arrays or a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from invdyn_ros.config import load_yaml
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.output_options import is_used
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.arm_model import Model, load
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.training.run_config import find_config, parse_train_config
from invdyn_ros.training.train import train


def train_model(
    data: str | Path | Sequence[Trajectory],
    out: str | Path,
    family: str = "rigid_body",
    *,
    robot: Robot | str | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> Model:
    """Train a model, write it and return it.

    Args:
        data: dataset folder, or trajectories with actions. Each is wholly in the training, the
            validation or the test split.
        out: checkpoint folder to write.
        family: model family, the name of a config file of this package, or the path of one.
        robot: the arm, or its name; default: that of a dataset folder. Trajectories without an arm
            are of a mechanism without a URDF.
        overwrite: whether to replace a model in `out`.
        **settings: fields of the config file to change, such as `epochs`.

    Raises:
        ValueError: `out` exists, an unknown family or setting, or data that cannot be used.
    """
    if is_used(Path(out)) and not overwrite:
        raise ValueError(f"{out} exists; give another folder, or overwrite=True to replace it")
    values = dict(load_yaml(find_config(family))) | settings
    config = parse_train_config(values, f"the settings of {family}")
    arm = load_robot(robot) if isinstance(robot, str) else robot
    if isinstance(data, str | Path):
        train(config, data, out, robot=arm)
        return load(out)
    with TemporaryDirectory() as folder:
        dataset, name = Path(folder) / "data", "mechanism" if arm is None else arm.name
        write_dataset(dataset, data, name, data[0].rate if data else 0.0)
        train(config, dataset, out, robot=arm)
    return load(out)
