"""Fallback of a learned model to the rigid body outside of its training data.

Training stores a limit of the model's standard deviation in the checkpoint; beyond it the
controller blends in the rigid-body model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from invdyn_ros.models import ModelMetadata
from invdyn_ros.models.fallback_metadata import (
    LIMIT_KEY,
    METADATA_KEY,
    RIGID_BODY_PARAMETERS,
)
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.typing import Array


class Fallback(NamedTuple):
    """The rigid-body model, and the standard deviation (n,) [action unit] beyond which to use it."""

    model: MujocoRigidBody
    std_limit: Array

    def weight(self, std: Array) -> float:
        """Return the weight of the rigid body in the action, from 0 to 1 at twice the limit.

        It grows continuously with the most uncertain joint, so that actions never jump.
        """
        return float(np.clip(np.max(std / self.std_limit) - 1, 0.0, 1.0))


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
