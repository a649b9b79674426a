"""Fallback from a learned model to the rigid-body model outside of the training data.

Training stores a limit of the predicted standard deviation in the checkpoint. Beyond this limit
the controller blends the rigid-body model into the action.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from invdyn_ros.models.fallback_metadata import FALLBACK_KEY, MAX_STD_KEY
from invdyn_ros.models.gravity import TRAINED_UNIT, in_unit
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.mujoco_rigid_body import RIGID_BODY_PARAMETERS, MujocoRigidBody
from invdyn_ros.models.predictor import Predictor
from invdyn_ros.models.rigid_body_config import HybridConfig
from invdyn_ros.typing import Array


class Fallback(NamedTuple):
    """The rigid-body model, and the standard deviation (n,) beyond which to use it.

    Attributes:
        model: rigid-body model of the same arm.
        max_std: (n,) largest predicted standard deviation [action unit] without fallback.
    """

    model: Predictor
    max_std: Array

    def weight(self, std: Array) -> float:
        """Return the weight of the rigid-body model in the action, 0 to 1.

        It grows from 0 at the limit to 1 at twice the limit of the most uncertain joint; as it is
        continuous, actions never jump.
        """
        return float(np.clip(np.max(std / self.max_std) - 1, 0.0, 1.0))


def fallback_from_metadata(meta: ModelMetadata) -> Fallback | None:
    """Return the fallback stored in the metadata of a model, None without one.

    Rigid-body parameters that are not stored are those of the URDF. An exported model has the
    same metadata, and so the same fallback.
    """
    if FALLBACK_KEY not in meta.data:
        return None
    values = {"compliance": meta.data.get("urdf_compliance")} | meta.data[FALLBACK_KEY]
    unit = meta.data.get(TRAINED_UNIT, meta.action_unit)
    trained = replace(meta, action_unit=unit)
    parameters = {
        name: np.array(values[name], float)
        for name in RIGID_BODY_PARAMETERS
        if values.get(name) is not None
    }
    # only hybrids store friction, that of their own smooth sign
    velocity = meta.config.get("coulomb_velocity", HybridConfig().coulomb_velocity)
    model = in_unit(MujocoRigidBody(trained, parameters, velocity), trained, meta.action_unit)
    return Fallback(model, np.array(values[MAX_STD_KEY]))
