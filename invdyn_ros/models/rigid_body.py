"""Rigid-body dynamics of a URDF, with nominal or identified parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from invdyn_ros.data.action_units import SETPOINT, gravity_in, is_torque
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.effort_lag import EffortFilter, filter_actions
from invdyn_ros.models.gear_friction import gear_friction_rise, identify_gear_friction
from invdyn_ros.models.identification_report import Residual, identification_report
from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction
from invdyn_ros.models.least_squares_identification import (
    DynamicParameters,
    NormalEquations,
    friction_terms,
    huber_weight,
    normal_equations,
    row_weight,
    smooth_sign,
)
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.parameter_identification import Bounds, identify
from invdyn_ros.models.presliding import (
    DISPLACEMENTS,
    RestError,
    identify_presliding,
    maxwell_slip,
)
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS, RigidBodyConfig
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree

ROBUST_PASSES = 3  # without bounds, in which the weights of outliers settle
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
        bounds, prior = self.bounds, self.tree.inertial.flatten().clone()
        if bounds.is_torque and not self.config.identify:
            return True
        train_equations, val_equations = map(self.normal_equations, (train, val))
        if not self.config.identify:
            compliance = identify(train_equations, val_equations, prior, bounds).compliance
            self.compliance.copy_(compliance)
            return True
        for _ in range(ROBUST_PASSES):
            free = bounds._replace(physical=False)
            self.set_parameters(identify(train_equations, val_equations, prior, free))
            train_equations, val_equations = (
                self.normal_equations(part, self.outlier_weight(part)) for part in (train, val)
            )
        parameters = identify(train_equations, val_equations, prior, bounds)
        self.set_parameters(parameters)
        if self.config.gear_friction and bounds.brakes:
            parameters = identify_gear_friction(self, parameters, train, val, prior)
        self._report(train_equations, parameters, train)
        return True

    def gear_friction(self, motion: Tensor, load: Tensor | None = None) -> Tensor:
        """Return the rise of dry friction (..., n) of a motion (..., 3n)."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        if not self.meta.gear_friction:
            return torch.zeros_like(q)
        load = self.compliance * self.tree.torque(q, qd, qdd) if load is None else load
        sign = smooth_sign(qd, qdd, self.config.coulomb_velocity, self.friction_filter_time)
        return gear_friction_rise(motion.new_tensor(self.meta.gear_friction), qd, load) * sign

    def outlier_weight(self, data: Windows) -> Tensor:
        """Return factors (N, T, n) of rows that bound the effect of outliers."""
        target = self.target(data.motion, data.action)
        error = target - filter_actions(self.rigid_body_target(data.motion), self.meta)
        return huber_weight(error, self.row_weight(data), target)

    def fit_residual(self, data: Windows) -> Residual:
        """Return the errors of the rows of a fit with their weight; those of outliers are cut."""
        error = self.target(data.motion, data.action)
        error = error - filter_actions(self.rigid_body_target(data.motion), self.meta)
        error = error * self.outlier_weight(data) ** 2
        first = 0 if self.effort_filter is None else self.effort_filter.warmup
        return Residual(*(x[:, first:].flatten(0, 1) for x in (error, self.row_weight(data))))

    def row_weight(self, data: Windows) -> Tensor:
        """Return the weight (N, T, n) of rows; joints that may stick have little."""
        return row_weight(data.motion[..., self.n : 2 * self.n], self.config.min_velocity)

    def as_recorded(self, actions: Tensor, motion: Tensor) -> Tensor:
        """Return actions (..., T, n) of successive frames with the friction of joints at rest.

        Args:
            actions: of this model.
            motion: (..., T, 3n) of these frames.
        """
        if self.meta.presliding:
            displacement, torque = actions.new_tensor(self.meta.presliding).T
            actions = actions + torque * self._rest_friction(motion, displacement)
        return super().as_recorded(actions, motion)

    def _rest_friction(self, motion: Tensor, displacement: Tensor) -> Tensor:
        """Return what presliding of unit torque adds to the actions of a motion.

        Args:
            motion: (..., T, 3n).
            displacement: (n,) or (C, n) candidates [rad], which come first in the result.
        """
        q, qd, qdd = motion.split(self.n, dim=-1)
        sign = smooth_sign(qd, qdd, self.config.coulomb_velocity, self.friction_filter_time)
        shape, d = q.shape, displacement.cpu().numpy()
        rows = (x.reshape(-1, *shape[-2:]).cpu().numpy() for x in (q, sign))
        states = [maxwell_slip(x, d, s[0]) for x, s in zip(*rows, strict=True)]
        state = torch.from_numpy(np.stack(states, -3)).to(motion)
        return state.reshape(*d.shape[:-1], *shape) - sign

    def identify_presliding(self, train: Sequence[Windows], val: Sequence[Windows]) -> None:
        """Identify the friction that joints hold at rest, from recordings of one window each.

        Args:
            train: to identify it from.
            val: to choose with.
        """
        if not (self.identifies_lag and self.config.identify and self.bounds.brakes):
            return
        self.meta = replace(self.meta, presliding=())
        first = 0 if self.effort_filter is None else self.effort_filter.warmup
        candidates = torch.tensor(DISPLACEMENTS, dtype=self.dtype)[:, None].expand(-1, self.n)

        def rest_error(data: Windows) -> RestError:
            motion = data.motion
            predicted = self.as_recorded(self.predict(motion, data.time).mean, motion)
            change = filter_actions(self._rest_friction(motion, candidates), self.meta)
            at_rest = motion[..., self.n : 2 * self.n].abs() < self.config.min_velocity
            values = (data.action - predicted)[0], change[:, 0], at_rest[0]
            return RestError(*(x[..., first:, :].cpu().numpy() for x in values))

        coulomb = self.friction[:, 1].cpu().numpy()
        parts = [*map(rest_error, train)], [*map(rest_error, val)]
        self.meta = replace(self.meta, presliding=identify_presliding(*parts, coulomb))

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
            equations: normal equations of the training data.
            parameters: of the model.
            train: training data, in the order of time.
        """
        if not self.bounds.is_torque:
            return
        prior = self.urdf_tree().to(train.motion.device).inertial.flatten()
        self.identification = identification_report(
            *(self.tree, self.meta.joint_names, equations, parameters),
            self.fit_residual(train),
            prior,
        )

    def normal_equations(self, data: Windows, weight: Tensor | None = None) -> NormalEquations:
        """Return the normal equations of some data, with factors (N, T, n) of the rows."""
        return normal_equations(
            self.tree,
            data.motion,
            self.target(data.motion, data.action),
            self.config.coulomb_velocity,
            self.config.min_velocity,
            self.friction_filter_time,
            self.effort_filter,
            weight,
        )

    def predict_target(self, motion: Tensor) -> Tensor:
        """Return the target (..., n) of a motion (..., 3n)."""
        return self.rigid_body_target(motion)

    def rigid_body_target(self, motion: Tensor) -> Tensor:
        """Return the rigid body's target (..., n) of a motion (..., 3n)."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        friction = friction_terms(qd, qdd, self.config.coulomb_velocity, self.friction_filter_time)
        load = self.compliance * self.tree.torque(q, qd, qdd)
        target = load + (friction * self.friction).sum(-1)
        return target + self.gear_friction(motion, load) if self.meta.gear_friction else target

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
