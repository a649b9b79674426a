"""Identification of the action delay and of the servo compliance with a rigid-body model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from invdyn_ros.data.action_units import is_torque
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split, Windows, windows
from invdyn_ros.models.least_squares_identification import identify, mean_squared_error
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import build
from invdyn_ros.models.rigid_body import RigidBody

NUM_DELAYS = 9  # candidates: 0 to 4 sample intervals in steps of half an interval
MAX_FRAMES = 4000  # enough to distinguish half intervals
MIN_VELOCITY = 0.1  # [rad/s] slower joints may stick, and are not informative about the delay


def estimate_action_delay(meta: ModelMetadata, data: Split) -> float:
    """Estimate the action delay [s]: transport delay plus half the hold time of an action.

    The candidates are 0 to 4 sample intervals, in steps of half an interval; the result is the
    delay at which an identified rigid body explains the actions best. Joints that may stick have
    little weight, because their torque rises before they move, which looks like a delay.

    Raises:
        ValueError: the URDF is unknown.
    """
    if not meta.urdf:
        raise ValueError(
            f"estimating the action delay takes the rigid-body model of '{meta.robot}', whose "
            "URDF is unknown; give --urdf FILE, or --action-delay SECONDS (0 if the action of a "
            "row causes the acceleration of the same row)"
        )
    model = RigidBody(replace(meta, family="rigid_body", config={"min_velocity": MIN_VELOCITY}))
    delays = np.arange(NUM_DELAYS) * 0.5 / meta.rate
    return float(min(delays, key=lambda delay: _unexplained_fraction(model, data, float(delay))))


def urdf_compliance(meta: ModelMetadata, data: Split) -> list[float]:
    """Return the compliance (n,), the target per unit of URDF torque; 1 if actions are torques.

    The list is empty if the URDF is unknown.
    """
    if not meta.urdf:
        return []
    model = build(replace(meta, family="rigid_body", config={"identify": False}))
    model.fit(*(_subsample(part, meta.action_delay) for part in (data.train, data.test)))
    return [float(c) for c in model.get_buffer("compliance")]


def _subsample(trajectories: Sequence[Trajectory], action_delay: float) -> Windows:
    """Return at most MAX_FRAMES evenly spaced frames as windows."""
    data = windows(trajectories, action_delay=action_delay)
    return data.rows(torch.linspace(0, data.size - 1, min(MAX_FRAMES, data.size)).long())


def _unexplained_fraction(model: RigidBody, data: Split, action_delay: float) -> float:
    """Return the fraction of the target power that a rigid body does not explain."""
    train, val = (
        model.normal_equations(_subsample(part, action_delay)) for part in (data.train, data.test)
    )
    prior = model.tree.inertial.flatten()
    parameters = identify(train, val, prior, is_torque(model.meta.action_unit))
    power = (val.target_power / val.num_rows).clamp_min(1e-30)
    return float((mean_squared_error(val, parameters) / power).mean())
