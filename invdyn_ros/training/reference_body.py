"""Rigid body of a dataset, on which trained models are tried before they drive an arm."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from invdyn_ros.data.action_units import SETPOINT
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.rigid_body import RigidBody

MAX_ROWS = 4000  # evenly spaced frames for the identification
VISCOUS, COULOMB, OFFSET, ROTOR = range(4)  # columns of `RigidBody.friction`
SIGNED = torch.tensor([False, False, True, False])  # only the offset may be negative


def reference_body(meta: ModelMetadata, train: Windows, val: Windows) -> RigidBody:
    """Return the identified rigid body of some data, with inertia and friction that are positive.

    Args:
        meta: metadata of a model of the data, with a URDF.
        train: training data.
        val: validation data.
    """
    body = RigidBody(replace(meta, family="rigid_body", config={}))
    train, val = (_rows(part, MAX_ROWS) for part in (train, val))
    body.standardise(train)
    body.fit(train, val)
    body.friction.copy_(torch.where(SIGNED, body.friction, body.friction.clamp_min(0.0)))
    return body


def inertia(body: RigidBody, q: Tensor) -> Tensor:
    """Return the derivative (..., n, n) of the target by the acceleration, at positions (..., n).

    For torques it is the inertia with that of the rotors [kg m2].
    """
    return inertia_and_bias(body, q, torch.zeros_like(q))[0]


def inertia_and_bias(body: RigidBody, q: Tensor, qd: Tensor) -> tuple[Tensor, Tensor]:
    """Return inertia (..., n, n) and target without acceleration and friction (..., n).

    Args:
        body: the rigid body.
        q: (..., n) positions [rad].
        qd: (..., n) velocities [rad/s].
    """
    n = body.n
    qdd = torch.cat([q.new_zeros(1, n), torch.eye(n).to(q)]).expand(*q.shape[:-1], n + 1, n)
    q, qd = q.unsqueeze(-2).expand_as(qdd), qd.unsqueeze(-2).expand_as(qdd)
    torque = body.compliance * body.tree.torque(q, qd, qdd)  # (..., n + 1, n)
    bias = torque[..., 0, :]
    columns = torque[..., 1:, :] - torque[..., :1, :]
    return columns.mT + torch.diag(body.friction[:, ROTOR]), bias


def is_servo(body: RigidBody) -> bool:
    """Return whether the actions are setpoints of position servos."""
    return body.meta.action_unit == SETPOINT


def _rows(data: Windows, count: int) -> Windows:
    """Return evenly spaced windows on the CPU in double precision."""
    index = torch.linspace(0, data.size - 1, min(data.size, count)).long()
    return data.rows(index.to(data.motion.device)).to("cpu", torch.float64)
