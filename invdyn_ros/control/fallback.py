"""Fallback of a learned model to the rigid body outside of its training data.

Training stores a limit of the model's standard deviation in the checkpoint; beyond it the
controller blends in the rigid-body model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from invdyn_ros.data.windows import Windows
from invdyn_ros.models import InverseDynamics, ModelMetadata
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.typing import Array

STD_QUANTILE = 0.999  # quantile of the standard deviation on validation data
STD_MARGIN = 1.5  # limit divided by that quantile
METADATA_KEY = "fallback"  # in the `data` of a checkpoint's metadata
LIMIT_KEY = "limit"  # in there, beside the parameters of the rigid body
RIGID_BODY_PARAMETERS = ("tree.inertial", "friction", "compliance")


class Fallback(NamedTuple):
    """The rigid-body model, and the standard deviation (n,) [action unit] beyond which to use it."""

    model: MujocoRigidBody
    std_limit: Array

    def weight(self, std: Array) -> float:
        """Return the weight of the rigid body in the action, from 0 to 1 at twice the limit.

        It grows continuously with the most uncertain joint, so that actions never jump.
        """
        return float(np.clip(np.max(std / self.std_limit) - 1, 0.0, 1.0))


def fallback_metadata(model: InverseDynamics, val: Windows) -> dict[str, Any]:
    """Return the metadata for `fallback_from_metadata`, empty without a standard deviation.

    It holds the limit, and the parameters of the rigid body if the family has identified one.
    """
    if model.input_type == "pixels":  # no such family has one, and the images fill much memory
        return {}
    std = model.predict(val.motion, val.time).std
    if std is None:
        return {}
    limit = STD_MARGIN * np.quantile(std[:, -1].double().cpu().numpy(), STD_QUANTILE, axis=0)
    values: dict[str, Any] = {LIMIT_KEY: limit.tolist()}
    if isinstance(model, RigidBody):
        values |= {name: model.get_buffer(name).tolist() for name in RIGID_BODY_PARAMETERS}
    return {METADATA_KEY: values}


def fallback_from_metadata(meta: ModelMetadata) -> Fallback | None:
    """Return the rigid body stored with a model, else that of its URDF; None without a limit.

    Everything is in `meta`, so that an exported model has it too.
    """
    if METADATA_KEY not in meta.data:
        return None
    values = {"compliance": meta.data.get("urdf_compliance")} | meta.data[METADATA_KEY]
    rigid = RigidBody(replace(meta, family="rigid_body", config={"identify": False}))
    for name in RIGID_BODY_PARAMETERS:
        if values.get(name) is not None:
            rigid.get_buffer(name).copy_(torch.tensor(values[name], dtype=rigid.dtype))
    return Fallback(MujocoRigidBody(rigid), np.array(values[LIMIT_KEY]))
