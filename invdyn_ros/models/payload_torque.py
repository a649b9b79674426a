"""Model of an arm that carries a payload, from that of the arm without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from invdyn_ros.data.action_units import TORQUE
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.mujoco_rigid_body import INERTIAL, MujocoRigidBody
from invdyn_ros.models.predictor import PredictedAction, Predictor
from invdyn_ros.robots.payload import Payload
from invdyn_ros.typing import Array


class PayloadTorque:
    """A model of torques plus the torque that its payload takes.

    Attributes:
        meta: metadata of the model.
    """

    def __init__(self, model: Predictor, meta: ModelMetadata, payload: Payload) -> None:
        """Add a payload to a model.

        Args:
            model: the model of the arm without payload.
            meta: its metadata.
            payload: what its tip carries.

        Raises:
            ValueError: other actions than torques with gravity, no URDF, or no such link.
        """
        if meta.action_unit != TORQUE:
            raise ValueError(
                f"a payload needs a model of torques [{TORQUE}]; this one has actions in "
                f"'{meta.action_unit}'"
            )
        self._model, self.meta = model, meta
        added = payload.inertial_parameters(meta.urdf, meta.joint_names)
        self._body = MujocoRigidBody(replace(meta, effort_lag=()), {INERTIAL: added})
        self._act: Any = getattr(model, "act", None)
        if self._act is not None:
            self.act = self._loaded_act

    @property
    def n_obs_steps(self) -> int:
        """Number of frames that a prediction depends on."""
        return self._model.n_obs_steps

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the actions (B, T, n) of motion (B, T, 3n) at times (B, T) [s]."""
        mean, std = self._model.predict(motion, time)
        steps = mean.shape[1]
        return PredictedAction(mean + self._body.predict(motion[:, -steps:], time).mean, std)

    def _loaded_act(self, frame: Array) -> Array:
        """Return the action (n,) of one frame (3n,)."""
        action: Array = self._act(frame) + self._body.act(frame)
        return action
