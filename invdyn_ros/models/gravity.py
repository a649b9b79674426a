"""Conversion between torques with and without gravity, by the torque of gravity of the URDF."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from invdyn_ros.data.action_units import TORQUE, command_unit, gravity_sign
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody
from invdyn_ros.models.predictor import PredictedAction, Predictor
from invdyn_ros.typing import Array

TRAINED_UNIT = "trained_unit"
"""Key of `ModelMetadata.data`: unit of the actions that a converted model was trained on."""


class ConvertedTorque:
    """A model of torques without gravity as a model of torques with it, or the reverse.

    Attributes:
        meta: metadata with the unit after the conversion.
    """

    def __init__(self, model: Predictor, meta: ModelMetadata, unit: str) -> None:
        """Convert the actions of a model.

        Args:
            model: the model.
            meta: its metadata.
            unit: unit of the actions after the conversion.

        Raises:
            ValueError: other units, or no URDF.
        """
        self._model, self._sign = model, gravity_sign(meta.action_unit, unit)
        trained = {TRAINED_UNIT: meta.action_unit}
        self.meta = replace(meta, action_unit=unit, data=meta.data | trained)
        self._rigid = MujocoRigidBody(replace(meta, action_unit=TORQUE))
        self._act: Any = getattr(model, "act", None)
        if self._act is not None:
            self.act = self._converted_act

    @property
    def n_obs_steps(self) -> int:
        """Number of frames that a prediction depends on."""
        return self._model.n_obs_steps

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the converted actions (B, T, n) of motion (B, T, 3n) at times (B, T) [s]."""
        mean, std = self._model.predict(motion, time)
        gravity = self._rigid.action_at_rest(motion[..., : mean.shape[-1]])
        return PredictedAction(mean + self._sign * gravity, std)

    def _converted_act(self, frame: Array) -> Array:
        """Return the converted action (n,) of one frame (3n,)."""
        gravity = self._rigid.action_at_rest(frame[: len(frame) // 3])
        action: Array = self._act(frame) + self._sign * gravity
        return action


def in_unit(model: Predictor, meta: ModelMetadata, unit: str) -> Any:
    """Return a model whose actions are in a unit.

    Args:
        model: the model.
        meta: its metadata.
        unit: unit of the actions.

    Raises:
        ValueError: the actions cannot be converted, or there is no URDF.
    """
    return model if meta.action_unit == unit else ConvertedTorque(model, meta, unit)


def for_commands(model: Any) -> Any:
    """Return a model with `meta` as one whose actions a controller takes as commands."""
    return in_unit(model, model.meta, command_unit(model.meta.action_unit))


def convert_actions(trajectory: Trajectory, unit: str, urdf: str) -> Trajectory:
    """Return a trajectory with its actions in another unit.

    Args:
        trajectory: the trajectory.
        unit: unit of the actions after the conversion.
        urdf: text of the URDF, whose torque of gravity is added or subtracted.

    Raises:
        ValueError: the actions cannot be converted, or there is no URDF.
    """
    sign = gravity_sign(trajectory.action_unit, unit)
    action = trajectory.action
    if sign and len(action):
        meta = ModelMetadata("rigid_body", "", trajectory.joint_names, TORQUE, 1.0, 0.0, urdf)
        action = action + sign * MujocoRigidBody(meta).action_at_rest(trajectory.position)
    return replace(trajectory, action=action, action_unit=unit)


def conversion_note(unit: str, requested: str) -> str:
    """Return in words how actions were converted to another unit."""
    verb = "added to" if gravity_sign(unit, requested) > 0 else "subtracted from"
    return f"torque of gravity of the URDF {verb} actions in '{unit}'"
