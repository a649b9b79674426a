"""How late actions act, and what a servo makes of a torque, as a rigid body sees the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split, Windows, windows
from invdyn_ros.models import Meta, build
from invdyn_ros.models.least_squares_identification import identify, residual
from invdyn_ros.models.rigid_body import RigidBody

LEAD_STEPS = 9  # half ticks 0..4 ticks
LEAD_ROWS = 4000  # enough to tell half ticks apart
LEAD_MOVING = 0.1  # [rad/s] a joint slower than this may stick, and tells nothing of a lead


def estimate_lead(meta: Meta, data: Split) -> float:
    """Find how late actions act [s]: transport delay, and half the interval each is held for.

    Tries half ticks from 0 to 4 ticks; the right one lets a rigid body explain the actions best.
    Sticking joints count little here too: their torque rises before they move, as with a lead.

    Raises:
        ValueError: the URDF is unknown.
    """
    if not meta.urdf:
        raise ValueError(
            f"a lead is estimated with the rigid bodies of '{meta.robot}', whose URDF is unknown; "
            "give --urdf FILE, or --lead SECONDS (0 where a row's action makes its acceleration)"
        )
    model = RigidBody(replace(meta, family="rigid_body", config={"moving": LEAD_MOVING}))
    leads = np.arange(LEAD_STEPS) * 0.5 / meta.rate
    return float(min(leads, key=lambda lead: _rigid_error(model, data, float(lead))))


def urdf_compliance(meta: Meta, data: Split) -> list[float]:
    """Return the target per torque of the URDF's dynamics (n,), 1 where the action is a torque.

    None of them where the URDF is unknown.
    """
    if not meta.urdf:
        return []
    model = build(replace(meta, family="rigid_body", config={"identify": False}))
    model.solve(*(_sample(part, meta.lead) for part in (data.train, data.test)))
    return [float(c) for c in model.get_buffer("compliance")]


def _sample(trajectories: Sequence[Trajectory], lead: float) -> Windows:
    """Return at most LEAD_ROWS rows, evenly spread."""
    data = windows(trajectories, lead=lead)
    return data.rows(torch.linspace(0, data.size - 1, min(LEAD_ROWS, data.size)).long())


def _rigid_error(model: RigidBody, data: Split, lead: float) -> float:
    """Return the share of the actions' power that an identified rigid body leaves over."""
    learn, judge = (model.sums(_sample(part, lead)) for part in (data.train, data.test))
    prior = model.tree.inertial.flatten()
    found = identify(learn, judge, prior, model.meta.action_unit == "N m")
    share = residual(judge, found) / (judge.power / judge.rows).clamp_min(1e-30)
    return float(share.mean())
