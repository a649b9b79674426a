"""Models of the closed-loop benchmark, and the forms in which they drive the arm."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from invdyn_ros.control.computed_torque import (
    ComputedTorqueController,
    ConstantInertiaModel,
    FeedbackConfig,
    MeasuredState,
)
from invdyn_ros.control.motion_profile import Plan
from invdyn_ros.evaluation.compare import ComparisonJob, trained_runs
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody, urdf_model
from invdyn_ros.models.predictor import Predictor
from invdyn_ros.models.torch_predictor import TorchPredictor
from invdyn_ros.robots.feedback import nominal_rotor_inertia
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.simulation import nominal_model
from invdyn_ros.training.run_config import TrainConfig
from invdyn_ros.typing import Array

# factors of the inertias in the UR5 of the package example-robot-data
WRONG_INERTIA = {"wrist_1_link": 100.0, "wrist_2_link": 100.0, "wrist_3_link": 256.0}
FEED_FORWARD, COMPUTED_TORQUE = FORMS = ("feed-forward", "computed torque")
NO_MODEL, WRONG_URDF, RIGHT_URDF = "no model", "wrong URDF", "right URDF"
PD_ROTOR, NOMINAL_URDF = "PD + rotor", "URDF + nominal friction and rotor"
WITHOUT_DYNAMICS = (NO_MODEL, PD_ROTOR)


class ModelUnderTest(NamedTuple):
    """A model and the form in which it drives the arm."""

    name: str
    model: Predictor
    action_delay: float  # [s]
    form: str  # of FORMS

    @property
    def row(self) -> str:
        """Name in the table."""
        return self.name if self.name in WITHOUT_DYNAMICS else f"{self.name}, {self.form}"


class FeedForward(ComputedTorqueController):
    """Model torque of the plan, plus feedback through a constant inertia.

    The feedback gains [N m/rad] do not depend on the model.
    """

    def __init__(self, model: Predictor, action_delay: float, robot: Robot) -> None:
        no_feedback = FeedbackConfig(
            stiffness=0.0, damping=0.0, integral=0.0, error_feedthrough=0.0
        )
        plain = ConstantInertiaModel(robot, "N m")
        self.feedback_controller = ComputedTorqueController(plain, "N m", action_delay)
        self.plain_controller = ComputedTorqueController(plain, "N m", action_delay, no_feedback)
        super().__init__(model, "N m", action_delay, no_feedback)

    def reset(self) -> None:
        """Reset the integrated error and the motion."""
        super().reset()
        self.feedback_controller.reset()
        self.plain_controller.reset()

    def __call__(self, plan: Plan, measured: MeasuredState) -> Array:
        """Return the torque (n,) [N m]."""
        feedback = self.feedback_controller(plan, measured) - self.plain_controller(plan, measured)
        return super().__call__(plan, measured) + feedback


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
    tested = [
        ModelUnderTest(name, model, action_delay, COMPUTED_TORQUE)
        for name, model in ((NO_MODEL, no_model), (PD_ROTOR, with_rotor))
    ]
    for form in FORMS:
        tested += [ModelUnderTest(n, m, action_delay, form) for n, m in urdf_models.items()]
        tested += [
            ModelUnderTest(name, TorchPredictor(model), model.meta.action_delay, form)
            for name, model in models.items()
        ]
    return tested
