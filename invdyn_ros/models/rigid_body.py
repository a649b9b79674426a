"""Rigid-body dynamics of a URDF, believed or identified: motion enters, actions leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from invdyn_ros.config import Validated
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.inverse_dynamics import InverseDynamics, ModelMetadata, Prediction
from invdyn_ros.models.least_squares_identification import (
    FRICTION,
    NormalEquations,
    friction_terms,
    identify,
    sums,
)
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree


@dataclass(frozen=True)
class RigidBodyConfig(Validated):
    """What is taken from the URDF and what from data."""

    identify: bool = True
    """Identify inertia, friction, offset and rotor inertia; otherwise the URDF is believed."""
    coulomb_velocity: PositiveFloat = 0.02
    """[rad/s] Velocity at which Coulomb friction has built up."""

    min_velocity: float = 0.05
    """[rad/s] Slower joints may stick, and count little in identification."""


class RigidBody(InverseDynamics):
    """Newton and Euler, with friction: each frame alone, so causal.

    The target of joint j is c_j tau_j(q, qd, qdd) + phi_j . [qd_j, tanh(qd_j / v), 1, qdd_j].
    """

    Config: ClassVar[type] = RigidBodyConfig
    dtype: ClassVar[torch.dtype] = torch.float64
    config: RigidBodyConfig
    friction: Tensor  # (n, 4)
    compliance: Tensor  # (n,)

    def __init__(self, meta: ModelMetadata) -> None:
        """Start from the URDF in `meta`."""
        super().__init__(meta)
        self.tree = RigidBodyTree.from_urdf(meta.urdf, meta.joint_names, dtype=self.dtype)
        self.register_buffer("friction", torch.zeros(self.n, FRICTION, dtype=self.dtype))
        # the URDF knows torques [N m]; what a servo or a motor makes of them only data can tell
        per_torque = 1.0 if meta.action_unit == "N m" else 0.0
        self.register_buffer("compliance", torch.full((self.n,), per_torque, dtype=self.dtype))

    def fit(self, train: Windows, valid: Windows) -> bool:
        """Identify by least squares; without `identify` take only the target per torque."""
        torques, prior = self.meta.action_unit == "N m", self.tree.inertial.flatten()
        if torques and not self.config.identify:
            return True
        learn, judge = self.sums(train), self.sums(valid)
        found = identify(learn, judge, prior, torques)
        if self.config.identify:
            self.tree.inertial.copy_(found.inertial.view(self.n, 10))
            self.friction.copy_(found.friction)
        self.compliance.copy_(found.compliance)
        return True

    def sums(self, data: Windows) -> NormalEquations:
        """Return what identification needs of some data."""
        motion, target = data.motion.flatten(0, 1), self.target(data.motion, data.action)
        slow, moving = self.config.coulomb_velocity, self.config.min_velocity
        return sums(self.tree, motion, target.flatten(0, 1), slow, moving)

    def predict_target(self, motion: Tensor) -> Tensor:
        """Return the target (..., n) of a motion (..., 3n)."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        friction = (friction_terms(qd, qdd, self.config.coulomb_velocity) * self.friction).sum(-1)
        return self.compliance * self.tree.torque(q, qd, qdd) + friction

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error in units of the target's variance."""
        target = self.target(motion, action)
        return nn.functional.mse_loss(
            self.predict_target(motion) / self.target_std, target / self.target_std
        )

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions; least squares gives no spread per frame."""
        return Prediction(self.action(motion, self.predict_target(motion)), None)
