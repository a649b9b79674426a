"""What an arm is driven by where its learned model is out of its data: the rigid body.

A model with a standard deviation enters, with data like those it learned from; a limit of that
deviation leaves, and later the model to take beyond it.
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

STD_QUANTILE = 0.999  # quantile of the standard deviation among data that is still no surprise
STD_MARGIN = 1.5  # times that is out of the data
METADATA_KEY = "fallback"  # of a checkpoint's data
LIMIT_KEY = "limit"  # in there, beside the parameters of the rigid body
RIGID_BODY_PARAMETERS = ("tree.inertial", "friction", "compliance")


class Fallback(NamedTuple):
    """The rigid body, and the standard deviation (n,) [action unit] from which on it is used."""

    model: MujocoRigidBody
    std_limit: Array

    def weight(self, std: Array) -> float:
        """Return how much of the action is the rigid body's, from 0 to 1 at twice the limit.

        It grows steadily with the most doubtful joint, so that no action ever jumps.
        """
        return float(np.clip(np.max(std / self.std_limit) - 1, 0.0, 1.0))


def fallback_metadata(model: InverseDynamics, val: Windows) -> dict[str, Any]:
    """Return what a checkpoint remembers for `fallback_of`; nothing if it gives no deviation.

    The limit, and the parameters of the rigid body if the family has identified one.
    """
    if model.input_type == "pixels":  # no such family has one, and the pictures fill much memory
        return {}
    std = model.predict(val.motion, val.time).std
    if std is None:
        return {}
    limit = STD_MARGIN * np.quantile(std[:, -1].double().cpu().numpy(), STD_QUANTILE, axis=0)
    known: dict[str, Any] = {LIMIT_KEY: limit.tolist()}
    if isinstance(model, RigidBody):
        known |= {name: model.get_buffer(name).tolist() for name in RIGID_BODY_PARAMETERS}
    return {METADATA_KEY: known}


def fallback_from_metadata(meta: ModelMetadata) -> Fallback | None:
    """Return the rigid body that a model holds, or else that of its URDF; None without a limit.

    All of it stands in `meta`, so that an exported model has it too.
    """
    if METADATA_KEY not in meta.data:
        return None
    known = {"compliance": meta.data.get("urdf_compliance")} | meta.data[METADATA_KEY]
    rigid = RigidBody(replace(meta, family="rigid_body", config={"identify": False}))
    for name in RIGID_BODY_PARAMETERS:
        if known.get(name) is not None:
            rigid.get_buffer(name).copy_(torch.tensor(known[name], dtype=rigid.dtype))
    return Fallback(MujocoRigidBody(rigid), np.array(known[LIMIT_KEY]))
