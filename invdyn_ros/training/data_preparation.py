"""Preparation of a dataset for training: accelerations, splits, and the arm that it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from invdyn_ros.data.dataset import Dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split, split
from invdyn_ros.robots.robot import Robot


def split_train_val_test(
    trajectories: Sequence[Trajectory], fraction: float, seed: int
) -> tuple[Split, Split]:
    """Return two splits: all data into training and test, and that training part once more.

    The test part of the second split is for validation.

    Args:
        trajectories: all data.
        fraction: fraction held out by each split.
        seed: seed of both splits.
    """
    outer = split(trajectories, fraction, seed)
    return outer, split(outer.train, fraction, seed)


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
