"""Preparation of a dataset for training: accelerations, splits, and the arm that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from invdyn_ros.data.dataset import Dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split, split, split_by_recording
from invdyn_ros.robots.robot import Robot

VAL_FRACTION = 0.2  # of the training data, if no data are held out for testing


class SplitConfig(NamedTuple):
    """How a dataset is divided into training, validation and test data.

    Attributes:
        fraction: held out for testing, and of the rest for validation; 0: nothing for testing.
        seed: seed of both choices.
        train: names of the recordings to train on, which replace the fraction for testing.
        test: names of those to test on; all others if only one of the two is given.
    """

    fraction: float
    seed: int
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    @classmethod
    def of_model(cls, metadata: Mapping[str, Any]) -> SplitConfig:
        """Return the split of a model's dataset from the metadata of its checkpoint."""
        split = metadata["split"]
        names = (tuple(split.get(part, ())) for part in ("train", "test"))
        return cls(split["fraction"], split["seed"], *names)


def split_train_val_test(
    trajectories: Sequence[Trajectory], config: SplitConfig
) -> tuple[Split, Split]:
    """Return two splits: all data into training and test, and that training part once more.

    The test part of the second split is for validation.
    """
    if config.train or config.test:
        outer = split_by_recording(trajectories, config.train, config.test)
    elif config.fraction:
        outer = split(trajectories, config.fraction, config.seed)
    else:
        outer = Split("none", list(trajectories), [])
    return outer, split(outer.train, config.fraction or VAL_FRACTION, config.seed)


def with_acceleration(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Differentiate the trajectories without accelerations, except videos without motion."""
    return [
        t.differentiate()
        if len(t.position) and not (len(t.acceleration) and len(t.velocity))
        else t
        for t in trajectories
    ]


def check_joints(dataset: Dataset, robot: Robot, data: str | Path) -> None:
    """Check that a dataset has the joints of a robot.

    Args:
        dataset: dataset to check.
        robot: the arm to train for.
        data: source of the dataset in the message.

    Raises:
        ValueError: it has other joints.
    """
    if dataset.info.joint_names != robot.joint_names:
        expected, actual = ", ".join(robot.joint_names), ", ".join(dataset.info.joint_names)
        raise ValueError(f"{data} has joints {actual}; '{robot.name}' has {expected}")
