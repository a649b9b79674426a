"""What an arm is driven by where its learned model is out of its data: the rigid body.

A model with a standard deviation enters, with data like those it learned from; a limit of that
deviation leaves, and later the model to take beyond it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from invdyn_ros.models import InverseDynamics, build
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.windows import Windows

USUAL = 0.999  # quantile of the standard deviation among data that is still no surprise
MARGIN = 1.5  # times that is out of the data
KEY = "std_limit"  # of a checkpoint's data


class Fallback(NamedTuple):
    """The rigid body, and the standard deviation (n,) [action unit] from which on it is used."""

    model: RigidBody
    limit: NDArray[np.float64]

    def share(self, std: NDArray[np.float64]) -> float:
        """Return how much of the action is the rigid body's, from 0 to 1 at twice the limit.

        It grows steadily with the most doubtful joint, so that no action ever jumps.
        """
        return float(np.clip(np.max(std / self.limit) - 1, 0.0, 1.0))


def std_limit(model: InverseDynamics, valid: Windows) -> dict[str, list[float]]:
    """Return what a checkpoint remembers for `fallback_of`; nothing if it gives no deviation."""
    std = model.predict(valid.motion, valid.time).std
    if std is None:
        return {}
    limit = MARGIN * np.quantile(std[:, -1].double().cpu().numpy(), USUAL, axis=0)
    return {KEY: [float(x) for x in limit]}


def fallback_of(model: InverseDynamics) -> Fallback | None:
    """Return the rigid body inside a model, or else that of its URDF; None without a limit."""
    meta = model.meta
    if KEY not in meta.data:
        return None
    rigid = build(replace(meta, family="rigid_body", config={"identify": False}))
    if not isinstance(rigid, RigidBody):
        raise TypeError("the family rigid_body is no RigidBody")
    if isinstance(model, RigidBody):
        own = {name: model.state_dict()[name] for name in rigid.state_dict()}
        rigid.load_state_dict(own)
    elif "urdf_compliance" in meta.data:
        rigid.compliance.copy_(torch.as_tensor(meta.data["urdf_compliance"]))
    device = model.motion_mean.device
    return Fallback(rigid.to(device).eval(), np.array(meta.data[KEY]))
