"""How late actions act, and what a servo makes of a torque, as a rigid body sees the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split, Windows, windows
from invdyn_ros.models import ModelMetadata, build
from invdyn_ros.models.least_squares_identification import identify, mean_squared_error
from invdyn_ros.models.rigid_body import RigidBody

LEAD_STEPS = 9  # half ticks 0..4 ticks
LEAD_ROWS = 4000  # enough to tell half ticks apart
LEAD_MOVING = (
    0.1  # [rad/s] a joint slower than this may stick, and tells nothing of an action delay
)


def estimate_action_delay(meta: ModelMetadata, data: Split) -> float:
    """Find how late actions act [s]: transport delay, and half the interval each is held for.

    Tries half ticks from 0 to 4 ticks; the right one lets a rigid body explain the actions best.
    Sticking joints count little here too: their torque rises before they move, as with an action delay.

    Raises:
        ValueError: the URDF is unknown.
    """
    if not meta.urdf:
        raise ValueError(
            f"an action delay is estimated with the rigid bodies of '{meta.robot}', whose URDF is unknown; "
            "give --urdf FILE, or --action-delay SECONDS (0 where a row's action makes its acceleration)"
        )
    model = RigidBody(replace(meta, family="rigid_body", config={"min_velocity": LEAD_MOVING}))
    leads = np.arange(LEAD_STEPS) * 0.5 / meta.rate
    return float(
        min(leads, key=lambda action_delay: _rigid_error(model, data, float(action_delay)))
    )


def urdf_compliance(meta: ModelMetadata, data: Split) -> list[float]:
    """Return the target per torque of the URDF's dynamics (n,), 1 where the action is a torque.

    None of them where the URDF is unknown.
    """
    if not meta.urdf:
        return []
    model = build(replace(meta, family="rigid_body", config={"identify": False}))
    model.fit(*(_sample(part, meta.action_delay) for part in (data.train, data.test)))
    return [float(c) for c in model.get_buffer("compliance")]


def _sample(trajectories: Sequence[Trajectory], action_delay: float) -> Windows:
    """Return at most LEAD_ROWS rows, evenly spread."""
    data = windows(trajectories, action_delay=action_delay)
    return data.rows(torch.linspace(0, data.size - 1, min(LEAD_ROWS, data.size)).long())


def _rigid_error(model: RigidBody, data: Split, action_delay: float) -> float:
    """Return the share of the actions' power that an identified rigid body leaves over."""
    learn, judge = (
        model.normal_equations(_sample(part, action_delay)) for part in (data.train, data.test)
    )
    prior = model.tree.inertial.flatten()
    found = identify(learn, judge, prior, model.meta.action_unit == "N m")
    share = mean_squared_error(judge, found) / (judge.target_power / judge.num_rows).clamp_min(
        1e-30
    )
    return float(share.mean())
