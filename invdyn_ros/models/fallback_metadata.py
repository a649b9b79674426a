"""Checkpoint metadata of the fallback from a learned model to a rigid body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from invdyn_ros.models.mujoco_rigid_body import RIGID_BODY_PARAMETERS

if TYPE_CHECKING:
    from invdyn_ros.data.windows import Windows
    from invdyn_ros.models.inverse_dynamics import InverseDynamics

STD_QUANTILE = 0.999  # quantile of the standard deviation on validation data
STD_MARGIN = 1.5  # largest in-distribution standard deviation, as a multiple of that quantile
FALLBACK_KEY = "fallback"  # in `ModelMetadata.data`
MAX_STD_KEY = "max_std"  # beside the parameters of the rigid body


def fallback_metadata(model: InverseDynamics, val: Windows) -> dict[str, Any]:
    """Return the fallback's checkpoint metadata, empty for a family without standard deviation.

    They are the standard deviation (n,) [action unit] above which a motion counts as out of
    distribution and, if the family has identified a rigid body, its parameters.
    """
    if model.input_type == "pixels":  # no standard deviation, and predictions take much memory
        return {}
    std = model.predict(val.motion, val.time).std
    if std is None:
        return {}
    max_std = STD_MARGIN * np.quantile(std[:, -1].double().cpu().numpy(), STD_QUANTILE, axis=0)
    metadata: dict[str, Any] = {MAX_STD_KEY: max_std.tolist()}
    buffers = dict(model.named_buffers())
    if set(RIGID_BODY_PARAMETERS) <= buffers.keys():
        metadata |= {name: buffers[name].tolist() for name in RIGID_BODY_PARAMETERS}
    return {FALLBACK_KEY: metadata}
