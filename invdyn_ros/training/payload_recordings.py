"""Payload of an arm, identified from two datasets of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from invdyn_ros.data.action_units import TORQUE
from invdyn_ros.data.dataset import Dataset, read_dataset
from invdyn_ros.data.windows import Windows, split, windows
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.payload_identification import identify_payload
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robots.payload import Payload
from invdyn_ros.robots.robot import Robot
from invdyn_ros.training.action_delay import estimate_timing
from invdyn_ros.training.data_preparation import check_joints, with_acceleration


def payload_of_recordings(
    without: Path, loaded: Path, robot: Robot, link: str | None = None
) -> Payload:
    """Identify the payload of an arm from a recording without it and one with it.

    Args:
        without: dataset folder without payload.
        loaded: dataset folder with payload.
        robot: the arm.
        link: link that carries it, in whose frame the result is; None: the tip.

    Raises:
        ValueError: the datasets are not of this arm or not in N m, or no mass was added.
    """
    datasets = read_dataset(without), read_dataset(loaded)
    for dataset, folder in zip(datasets, (without, loaded), strict=True):
        check_joints(dataset, robot, folder)
        if (unit := dataset.info.action_unit) != TORQUE:
            raise ValueError(
                f"{folder} has actions in '{unit}'; a payload takes torques [{TORQUE}], in which "
                "it has a weight"
            )
    model = _arm(datasets[0], robot)
    parts = _windows(model, datasets[0]), _windows(model, datasets[1])
    return identify_payload(model, *parts, link or robot.tip_link)


def _arm(dataset: Dataset, robot: Robot) -> RigidBody:
    """Return the rigid body of an arm with the timing of a recording."""
    urdf, info = robot.rigid_body_urdf(), dataset.info
    meta = ModelMetadata("rigid_body", robot.name, robot.joint_names, TORQUE, info.rate, 0.0, urdf)
    timing = estimate_timing(meta, split(with_acceleration(dataset.trajectories)))
    config = {"friction_filter_time": timing.friction_filter_time}
    delay, lag = timing.action_delay, timing.effort_lag
    return RigidBody(replace(meta, config=config, action_delay=delay, effort_lag=lag))


def _windows(model: RigidBody, dataset: Dataset) -> Windows:
    return windows(
        with_acceleration(dataset.trajectories),
        *(model.window_size, model.meta.action_delay, model.dtype),
        stride=model.stride,
    )
