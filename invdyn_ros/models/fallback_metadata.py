"""Checkpoint metadata of the fallback: when a model is out of distribution, and the rigid body."""

from __future__ import annotations

from typing import Any

import numpy as np

from invdyn_ros.data.windows import Windows
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.rigid_body import RigidBody

STD_QUANTILE = 0.999  # quantile of the standard deviation on validation data
STD_MARGIN = 1.5  # the limit as a multiple of that quantile
METADATA_KEY = "fallback"  # in `ModelMetadata.data`
LIMIT_KEY = "limit"  # of the standard deviation, beside the parameters of the rigid body
RIGID_BODY_PARAMETERS = ("tree.inertial", "friction", "compliance")


def fallback_metadata(model: InverseDynamics, val: Windows) -> dict[str, Any]:
    """Return what a checkpoint stores for the fallback; nothing without a standard deviation.

    That is the limit of the standard deviation and, if the family has identified a rigid body,
    its parameters.
    """
    if model.input_type == "pixels":  # no such family has one, and a prediction takes much memory
        return {}
    std = model.predict(val.motion, val.time).std
    if std is None:
        return {}
    limit = STD_MARGIN * np.quantile(std[:, -1].double().cpu().numpy(), STD_QUANTILE, axis=0)
    metadata: dict[str, Any] = {LIMIT_KEY: limit.tolist()}
    if isinstance(model, RigidBody):
        metadata |= {name: model.get_buffer(name).tolist() for name in RIGID_BODY_PARAMETERS}
    return {METADATA_KEY: metadata}
