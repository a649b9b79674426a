"""Tracking error of models and baselines that drive a simulated arm along a fixed motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from invdyn_ros.control.fallback import Fallback, fallback_from_metadata
from invdyn_ros.data.action_units import command_unit
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.evaluation.closed_loop import excitation_motion, replay
from invdyn_ros.models.drive_check import chosen_feedback
from invdyn_ros.models.gravity import for_commands, in_unit
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.mujoco_rigid_body import urdf_model
from invdyn_ros.models.predictor import PredictedAction, Predictor
from invdyn_ros.models.torch_predictor import TorchPredictor
from invdyn_ros.robots.feedback import FeedbackConfig
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

MOTION_SEED = (20_261, 0)  # in no dataset: the seed of a dataset is one number
SECONDS = 10.0


@dataclass
class ConstantAction:
    """Baseline whose action, or whose offset u - q from the desired position, is constant."""

    value: Array  # (n,) in the action unit
    is_offset: bool
    n_obs_steps: int = 1

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the constant."""
        q = motion[..., : len(self.value)]
        return PredictedAction((q if self.is_offset else 0 * q) + self.value, None)


@dataclass(frozen=True)
class TrackingTask:
    """One fixed motion of a simulated arm, the same for every model."""

    robot: Robot
    plant: PlantConfig
    unit: str
    desired: JointSamples

    @classmethod
    def for_robot(cls, robot: Robot, unit: str, payload: float | None = None) -> TrackingTask:
        """Return the task of an arm.

        Args:
            robot: the arm.
            unit: unit of the actions of the models.
            payload: mass at the tool [kg]; None: that of the simulated arm.
        """
        changes = {} if payload is None else {"payload": payload}
        desired = excitation_motion(robot, MOTION_SEED, SECONDS)
        return cls(robot, load_plant(robot.name, **changes), command_unit(unit), desired)

    def tracking_rms(self, model: InverseDynamics) -> float:
        """Return the RMS tracking error [rad] of a model."""
        driver = for_commands(TorchPredictor(model))
        fallback = fallback_from_metadata(driver.meta)
        feedback = chosen_feedback(self.unit, driver.meta.data)
        return self._drive(driver, driver.meta.action_delay, fallback, feedback)

    def baseline_rms(self, meta: ModelMetadata) -> dict[str, float]:
        """Return the RMS tracking error [rad] of each baseline.

        In closed loop, holding the last action repeats the first action, the mean.
        """
        mean, servo = np.array(meta.data["target_mean"]), self.unit == "rad"
        first = mean + self.desired.q[0] if servo else mean
        baselines: Mapping[str, Predictor] = {
            "zero": ConstantAction(np.zeros_like(mean), servo),
            "mean": ConstantAction(mean, servo),
            "hold_last": ConstantAction(first, False),
            "rigid_body": urdf_model(self.robot, meta.action_unit, meta.data),
        }
        return {
            name: self._drive(in_unit(model, meta, self.unit), meta.action_delay)
            for name, model in baselines.items()
        }

    def describe(self) -> dict[str, Any]:
        """Return the description for reports."""
        return {"seconds": SECONDS, "payload_kg": self.plant.payload, "feedback": "as live"}

    def _drive(
        self,
        model: Predictor,
        action_delay: float,
        fallback: Fallback | None = None,
        feedback: FeedbackConfig | None = None,
    ) -> float:
        run = replay(
            self.robot,
            model,
            self.unit,
            action_delay,
            self.desired,
            self.plant,
            fallback=fallback,
            feedback=feedback,
        )
        return run.rms
