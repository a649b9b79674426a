"""Rigid-body dynamics of a URDF, with nominal or identified parameters."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from invdyn_ros.data.action_units import gravity_in, is_torque
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction
from invdyn_ros.models.least_squares_identification import (
    NormalEquations,
    friction_terms,
    identify,
    normal_equations,
)
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS, RigidBodyConfig
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree


class RigidBody(InverseDynamics):
    """Newton-Euler dynamics with friction, for each frame; causal.

    The target of joint j is c_j tau_j(q, qd, qdd) + phi_j . [qd_j, tanh(qd_j / v), 1, qdd_j];
    tau has no gravity if the actions have none.
    """

    Config: ClassVar[type] = RigidBodyConfig
    dtype: ClassVar[torch.dtype] = torch.float64
    config: RigidBodyConfig
    friction: Tensor  # (n, 4)
    compliance: Tensor  # (n,) target per unit of torque

    def __init__(self, meta: ModelMetadata) -> None:
        """Create the model with the parameters of the URDF in `meta`."""
        super().__init__(meta)
        self.tree = self.urdf_tree()
        self.register_buffer("friction", torch.zeros(self.n, NUM_FRICTION_TERMS, dtype=self.dtype))
        # the URDF gives torques [N m]; for servos and currents the compliance is identified
        compliance = 1.0 if is_torque(meta.action_unit) else 0.0
        self.register_buffer("compliance", torch.full((self.n,), compliance, dtype=self.dtype))

    def urdf_tree(self) -> RigidBodyTree:
        """Return the rigid bodies of the URDF; without gravity if the actions are without it."""
        unit, names = self.meta.action_unit, self.meta.joint_names
        return RigidBodyTree.from_urdf(self.meta.urdf, names, gravity_in(unit), self.dtype)

    def fit(self, train: Windows, val: Windows) -> bool:
        """Identify the parameters by least squares; without `identify`, only the compliance."""
        has_scale, prior = is_torque(self.meta.action_unit), self.tree.inertial.flatten()
        if has_scale and not self.config.identify:
            return True
        train_equations, val_equations = self.normal_equations(train), self.normal_equations(val)
        parameters = identify(train_equations, val_equations, prior, has_scale)
        if self.config.identify:
            self.tree.inertial.copy_(parameters.inertial.view(self.n, 10))
            self.friction.copy_(parameters.friction)
        self.compliance.copy_(parameters.compliance)
        return True

    def normal_equations(self, data: Windows) -> NormalEquations:
        """Return the normal equations of some data."""
        motion, target = data.motion.flatten(0, 1), self.target(data.motion, data.action)
        coulomb_velocity, min_velocity = self.config.coulomb_velocity, self.config.min_velocity
        return normal_equations(
            self.tree, motion, target.flatten(0, 1), coulomb_velocity, min_velocity
        )

    def predict_target(self, motion: Tensor) -> Tensor:
        """Return the target (..., n) of a motion (..., 3n)."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        friction = (friction_terms(qd, qdd, self.config.coulomb_velocity) * self.friction).sum(-1)
        return self.compliance * self.tree.torque(q, qd, qdd) + friction

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error in units of the target's variance.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
            action: (B, T, n).
        """
        target = self.target(motion, action)
        return nn.functional.mse_loss(
            self.predict_target(motion) / self.target_std, target / self.target_std
        )

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions; least squares gives no standard deviation per frame."""
        return Prediction(self.action(motion, self.predict_target(motion)), None)
