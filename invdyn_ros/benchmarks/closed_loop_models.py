"""Models of the closed-loop benchmark."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from invdyn_ros.control.computed_torque import ConstantInertiaModel
from invdyn_ros.evaluation.compare import ComparisonJob, trained_runs
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody, urdf_model
from invdyn_ros.models.predictor import Predictor
from invdyn_ros.models.torch_predictor import TorchPredictor
from invdyn_ros.robots.feedback import nominal_rotor_inertia
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.simulation import nominal_model
from invdyn_ros.training.run_config import TrainConfig

# factors of the inertias in the UR5 of the package example-robot-data
WRONG_INERTIA = {"wrist_1_link": 100.0, "wrist_2_link": 100.0, "wrist_3_link": 256.0}
NO_MODEL, WRONG_URDF, RIGHT_URDF = "no model", "wrong URDF", "right URDF"
PD_ROTOR, NOMINAL_URDF = "PD + rotor", "URDF + nominal friction and rotor"
WITHOUT_DYNAMICS = (NO_MODEL, PD_ROTOR)


class ModelUnderTest(NamedTuple):
    """A model that drives the arm."""

    name: str
    model: Predictor
    action_delay: float  # [s]


def wrong_urdf(xml: str) -> str:
    """Return a URDF with too large inertias of the wrist.

    Raises:
        ValueError: a link of the wrist is missing.
    """
    root = ET.fromstring(xml)
    for link, factor in WRONG_INERTIA.items():
        inertia = root.find(f"link[@name='{link}']/inertial/inertia")
        if inertia is None:
            raise ValueError(f"the URDF has no link '{link}' with inertia; give a UR arm")
        for key, value in inertia.attrib.items():
            inertia.set(key, repr(factor * float(value)))
    return ET.tostring(root, encoding="unicode")


def train_families(
    robot: Robot, data: Path, out: Path, configs: Mapping[str, TrainConfig]
) -> dict[str, InverseDynamics]:
    """Return a trained model of each family; finished runs are loaded.

    Args:
        robot: the arm.
        data: dataset of the arm.
        out: folder of the checkpoints.
        configs: family -> training config.
    """
    job = ComparisonJob(data, out, robot, None)
    return {run.config.family: run.model for run in trained_runs(job, configs, 1)}


def models_under_test(
    robot: Robot, urdf: str, models: Mapping[str, InverseDynamics]
) -> list[ModelUnderTest]:
    """Return all models; those without training have the action delay of the first trained one.

    Args:
        robot: the arm.
        urdf: text of the wrong URDF.
        models: family -> trained model.
    """
    action_delay = next(iter(models.values())).meta.action_delay
    right = urdf_model(robot, "N m")
    urdf_models: dict[str, Predictor] = {
        WRONG_URDF: MujocoRigidBody(replace(right.meta, urdf=urdf)),
        RIGHT_URDF: right,
        NOMINAL_URDF: nominal_model(robot, "N m"),
    }
    no_model, with_rotor = (ConstantInertiaModel(robot, "N m") for _ in range(2))
    with_rotor.inertia = with_rotor.inertia + nominal_rotor_inertia(robot.effort)
    untrained = {NO_MODEL: no_model, PD_ROTOR: with_rotor} | urdf_models
    tested = [ModelUnderTest(name, model, action_delay) for name, model in untrained.items()]
    return tested + [
        ModelUnderTest(name, TorchPredictor(model), model.meta.action_delay)
        for name, model in models.items()
    ]
