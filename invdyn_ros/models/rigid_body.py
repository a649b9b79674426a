"""Rigid-body dynamics of a URDF, with nominal or identified parameters."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from invdyn_ros.data.action_units import SETPOINT, gravity_in, is_torque
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.effort_lag import EffortFilter, as_recorded
from invdyn_ros.models.identification_report import Residual, identification_report
from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction
from invdyn_ros.models.least_squares_identification import (
    DynamicParameters,
    NormalEquations,
    friction_terms,
    normal_equations,
    row_weight,
    sum_normal_equations,
)
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.parameter_identification import Bounds, identify
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS, RigidBodyConfig
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree

BLOCK_SIZE = 64  # frames of a training window that the state of the effort filter before has left


class RigidBody(InverseDynamics):
    """Newton-Euler dynamics with friction, for each frame; causal.

    The target of joint j is c_j tau_j(q, qd, qdd) + phi_j . [qd_j, tanh(qd_j / v), 1, qdd_j];
    tau has no gravity if the actions have none. For v see `smooth_sign`.
    """

    Config: ClassVar[type] = RigidBodyConfig
    dtype: ClassVar[torch.dtype] = torch.float64
    identifies_lag: ClassVar[bool] = True
    config: RigidBodyConfig
    friction: Tensor  # (n, 4)
    compliance: Tensor  # (n,) target per unit of torque
    friction_filter_time: Tensor  # (n,) [s]

    def __init__(self, meta: ModelMetadata) -> None:
        """Create the model with the parameters of the URDF in `meta`."""
        super().__init__(meta)
        self.tree = self.urdf_tree()
        self.register_buffer("friction", torch.zeros(self.n, NUM_FRICTION_TERMS, dtype=self.dtype))
        # the URDF gives torques [N m]; for servos and currents the compliance is identified
        compliance = 1.0 if is_torque(meta.action_unit) else 0.0
        self.register_buffer("compliance", torch.full((self.n,), compliance, dtype=self.dtype))
        self.register_buffer("friction_filter_time", self._filter_time(), persistent=False)

    def _filter_time(self) -> Tensor:
        """Return the configured time (n,) over which friction changes sign [s]."""
        times = self.config.friction_filter_time or (0.0,) * self.n
        if len(times) != self.n:
            raise ValueError(
                f"friction_filter_time has {len(times)} values; {self.meta.robot} has {self.n} "
                "joints"
            )
        return torch.tensor(times, dtype=self.dtype)

    @property
    def effort_filter(self) -> EffortFilter | None:
        """Filter between the torque of a joint and the effort that is recorded of it."""
        lag = self.meta.effort_lag
        return EffortFilter(lag, self.meta.rate) if any(lag) else None

    @property
    def window_size(self) -> int:
        """Number of frames of a training window; those of a filtered effort are successive."""
        effort_filter = self.effort_filter
        return 1 if effort_filter is None else effort_filter.warmup + BLOCK_SIZE

    @property
    def stride(self) -> int:
        """Number of frames from the start of a training window to that of the next."""
        return 1 if self.effort_filter is None else BLOCK_SIZE

    @property
    def bounds(self) -> Bounds:
        """What the action unit says of the parameters."""
        unit = self.meta.action_unit
        return Bounds(is_torque(unit), brakes=unit != SETPOINT)

    def urdf_tree(self) -> RigidBodyTree:
        """Return the rigid bodies of the URDF; without gravity if the actions are without it."""
        unit, names = self.meta.action_unit, self.meta.joint_names
        return RigidBodyTree.from_urdf(self.meta.urdf, names, gravity_in(unit), self.dtype)

    def fit(self, train: Windows, val: Windows) -> bool:
        """Identify the parameters by least squares; without `identify`, only the compliance."""
        bounds, prior = self.bounds, self.tree.inertial.flatten()
        if bounds.is_torque and not self.config.identify:
            return True
        train_equations, val_equations = self.normal_equations(train), self.normal_equations(val)
        parameters = identify(train_equations, val_equations, prior, bounds)
        self.compliance.copy_(parameters.compliance)
        if self.config.identify:
            self.set_parameters(parameters)
            equations = sum_normal_equations([train_equations, val_equations])
            self._report(equations, parameters, train)
        return True

    def set_parameters(self, parameters: DynamicParameters) -> None:
        """Set the parameters of the rigid body."""
        self.tree.inertial.copy_(parameters.inertial.view(self.n, 10))
        self.friction.copy_(parameters.friction)
        self.compliance.copy_(parameters.compliance)

    def _report(
        self, equations: NormalEquations, parameters: DynamicParameters, train: Windows
    ) -> None:
        """Set `identification`, if the actions are torques.

        Args:
            equations: normal equations of all data.
            parameters: of the model.
            train: training data, in the order of time.
        """
        if not self.bounds.is_torque:
            return
        motion, effort_filter = train.motion, self.effort_filter
        error = self.target(motion, train.action)
        error = error - as_recorded(self.rigid_body_target(motion), self.meta)
        weight = row_weight(motion[..., self.n : 2 * self.n], self.config.min_velocity)
        first = 0 if effort_filter is None else effort_filter.warmup
        residual = Residual(*(x[:, first:].flatten(0, 1) for x in (error, weight)))
        prior = self.urdf_tree().to(motion.device).inertial.flatten()
        self.identification = identification_report(
            self.tree, self.meta.joint_names, equations, parameters, residual, prior
        )

    def normal_equations(self, data: Windows) -> NormalEquations:
        """Return the normal equations of some data."""
        return normal_equations(
            self.tree,
            data.motion,
            self.target(data.motion, data.action),
            self.config.coulomb_velocity,
            self.config.min_velocity,
            self.friction_filter_time,
            self.effort_filter,
        )

    def predict_target(self, motion: Tensor) -> Tensor:
        """Return the target (..., n) of a motion (..., 3n)."""
        return self.rigid_body_target(motion)

    def rigid_body_target(self, motion: Tensor) -> Tensor:
        """Return the rigid body's target (..., n) of a motion (..., 3n)."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        friction = friction_terms(qd, qdd, self.config.coulomb_velocity, self.friction_filter_time)
        return self.compliance * self.tree.torque(q, qd, qdd) + (friction * self.friction).sum(-1)

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
