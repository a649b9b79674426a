"""Settings of training runs, and their assignment from flat config files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import NonNegativeInt

from invdyn_ros.config import FractionBelowOne, from_mapping, similar_name, to_mapping
from invdyn_ros.models.registry import MODELS
from invdyn_ros.robots.robot import package_file
from invdyn_ros.training.data_preparation import SplitConfig
from invdyn_ros.training.trainer import TrainerConfig

RunConfig = TypeVar("RunConfig", bound=Any)
CONFIG_FOLDERS = ("train", "timeseries")  # in config/, of files for `invdyn train`


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; a config file has all fields at one level.

    It contains those of the trainer and of the model family too.
    """

    family: str
    """Model family, a key of MODELS."""
    seed: int = 0
    """Random seed of the split, the initial weights and the batch order."""
    split_seed: int | None = None
    """Random seed of the split; None: `seed`."""
    test_fraction: FractionBelowOne = 0.2
    """Fraction of the trajectories for testing, and of the rest for validation. 0: none for
    testing, and 0.2 for validation."""
    train: tuple[str, ...] = ()
    """Names of the recordings to train on, instead of a fraction; empty: all others."""
    test: tuple[str, ...] = ()
    """Names of the recordings to test on; empty: all others, if `train` has names."""
    action_delay: float | None = None
    """[s] Delay from an action to the motion it causes; None: estimated from the data."""
    init_from: str | None = None
    """Checkpoint of the same family and arm that provides the config and the initial weights;
    None: random weights."""
    closed_loop_interval: NonNegativeInt = 0
    """Epochs between short closed-loop rollouts in simulation, whose tracking error then chooses
    the weights and stops the training; 0: the validation loss does. Needs a URDF, and torques or
    setpoints as actions; other data use the loss."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Device of the training."""
    threads: int = 1
    """CPU threads of torch."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Training by gradient descent, for families without a closed form."""
    model: dict[str, Any] = field(default_factory=dict)
    """Config of the family."""

    @property
    def resolved_split_seed(self) -> int:
        """Seed of the split."""
        return self.seed if self.split_seed is None else self.split_seed

    @property
    def split(self) -> SplitConfig:
        """Division of the dataset."""
        return SplitConfig(self.test_fraction, self.resolved_split_seed, self.train, self.test)


def find_config(config: str | Path) -> Path:
    """Return the path of a config file that is given by path, or by the name of a shipped one.

    Raises:
        ValueError: there is none.
    """
    path = Path(config)
    folders = [package_file(f"config/{folder}") for folder in CONFIG_FOLDERS]
    candidates = [path, *(folder / f"{path}.yaml" for folder in folders)]
    for candidate in candidates if len(path.parts) == 1 else [path]:
        if candidate.is_file():
            return candidate
    names = ", ".join(sorted(file.stem for folder in folders for file in folder.glob("*.yaml")))
    raise ValueError(f"{config} is neither a file nor a config of this package: {names}")


def parse_train_config(values: Mapping[str, Any], source: str) -> TrainConfig:
    """Build the config of a run from the flat fields of a config file.

    Raises:
        ValueError: unknown family, unknown field (naming the known ones) or a wrong value.
    """
    return parse_run_config(TrainConfig, MODELS, values, source)


def parse_run_config(
    config_type: type[RunConfig],
    families: Mapping[str, Any],
    values: Mapping[str, Any],
    source: str,
) -> RunConfig:
    """Assign the flat fields of a config file to the run, its trainer and its family.

    Args:
        config_type: dataclass with the fields `family`, `trainer` and `model`, among others.
        families: name -> class with a dataclass `Config`.
        values: the fields.
        source: name of the file in error messages.

    Raises:
        ValueError: unknown family, unknown field (naming the known ones) or a wrong value.
    """
    family: Any = values.get("family")
    if family not in families:
        raise ValueError(f"{source}: family is {family!r}; known are {', '.join(families)}")
    run_fields = [n for n in _field_names(config_type) if n not in ("trainer", "model")]
    known = {
        "run": run_fields,
        "trainer": _field_names(TrainerConfig),
        "model": _field_names(families[family].Config),
    }
    groups: dict[str, dict[str, Any]] = {group: {} for group in known}
    for name, value in values.items():
        group = next((group for group, names in known.items() if name in names), None)
        if group is None:
            names = [name for names in known.values() for name in names]
            choices, hint = ", ".join(names), similar_name(name, names)
            raise ValueError(f"{source}: unknown field '{name}'; {family} has {choices}{hint}")
        groups[group][name] = value
    trainer = from_mapping(TrainerConfig, groups["trainer"], source)
    model = to_mapping(from_mapping(families[family].Config, groups["model"], source))
    run = from_mapping(config_type, groups["run"], source)
    return replace(run, trainer=trainer, model=model)


def _field_names(cls: type) -> list[str]:
    return [f.name for f in fields(cls)]
