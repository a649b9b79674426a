"""Identified rigid body with a Gaussian process on its residual.

The prior mean of the Gaussian process is zero: away from the data the actions are those of the
rigid body, and the standard deviation is large. Everything has a closed form; the
hyperparameters (ridge, friction filter time, length scales, noise, shrinkage) are selected by
cross-validation on the training data.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.data.windows import Windows
from invdyn_ros.models.cross_validation import (
    EPSILON,
    MIN_IMPROVEMENT,
    cross_validate,
    select_candidate,
    split_folds,
)
from invdyn_ros.models.gaussian_process import (
    GaussianProcess,
    fit_gaussian_process,
    posterior,
    select_inducing_points,
)
from invdyn_ros.models.inverse_dynamics import Prediction
from invdyn_ros.models.least_squares_identification import (
    DynamicParameters,
    NormalEquations,
    friction_terms,
    normal_equations,
    row_weight,
    smooth_sign,
    sum_normal_equations,
)
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.parameter_identification import cross_identify
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.models.rigid_body_config import (
    NUM_JOINT_FEATURES,
    HybridConfig,
    gaussian_process_shapes,
)
from invdyn_ros.models.variance_components import fit_variance_components

JOINT_LENGTH_SCALES = (1.0, 2.0)  # of a joint's own motion, in its standard deviations
ARM_LENGTH_SCALES = (4.0, 8.0)  # of the motion of the whole arm, in its standard deviations
IN_DISTRIBUTION_QUANTILE = 0.99  # of the GP's variance on held-out data


class TrainingFrames(NamedTuple):
    """Single frames."""

    motion: Tensor  # (N, 3n)
    target: Tensor  # (N, n)


class Hybrid(RigidBody):
    """Rigid body, friction and a Gaussian process on the residual of each frame; causal.

    The target of joint j is the rigid body's plus s_j a_j g_j(x_j): g_j is a Gaussian process, a_j
    its output scale, s_j in [0, 1] the shrinkage selected by cross-validation, and x_j the smooth
    sign of the velocity, the velocity and the acceleration of the joint and the motion of the
    whole arm. With v_j the variance of g_j(x_j), 1 away from the data, and u_j its value within
    the data, the variance of the target is

        noise_j + stick_j (1 - sign_j^2) + process_j v_j + model_j max(v_j - u_j, 0) / (1 - u_j)

    A joint near standstill holds any torque up to its friction. Away from the data no identified
    parameter is certain, so model_j is the mean square change of the URDF's target by the data.
    """

    Config = HybridConfig
    identifies_lag = False  # the process has its own filter of friction
    config: HybridConfig  # type: ignore[assignment]
    inverse_length_scale: Tensor  # (n, d)
    output_scale: Tensor  # (n,) in the target's unit, after shrinkage
    variance_weights: Tensor  # (n, 4) variances: noise, stick, process, model
    # (n,) variance of the process within the data; the prior's is 1
    in_distribution_variance: Tensor

    def __init__(self, meta: ModelMetadata) -> None:
        """Create the model with the rigid body of the URDF in `meta`."""
        super().__init__(meta)
        shapes = gaussian_process_shapes(self.n, self.config.num_inducing)
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=self.dtype))

    def _filter_time(self) -> Tensor:
        return torch.zeros(self.n, dtype=self.dtype)  # until it is identified

    def features(self, motion: Tensor) -> Tensor:
        """Return the features (..., n, d) of the Gaussian processes, before scaling."""
        _, qd, qdd = motion.split(self.n, dim=-1)
        _, v, a = self.motion_std.split(self.n)
        direction = self._velocity_sign(qd, qdd)
        joint_features = torch.stack([2 * direction, qd / v, qdd / a], dim=-1)
        arm_features = ((motion - self.motion_mean) / self.motion_std).unsqueeze(-2)
        return torch.cat(
            [joint_features, arm_features.expand(*joint_features.shape[:-1], 3 * self.n)], dim=-1
        )

    def correction(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Return the correction of the target, and the variance of the sum, each (..., n)."""
        _, qd, qdd = motion.split(self.n, dim=-1)
        gaussian_process = GaussianProcess(
            *(self.get_buffer(name) for name in GaussianProcess._fields)
        )
        mean, gp_variance = posterior(
            gaussian_process, self.features(motion) * self.inverse_length_scale
        )
        stiction = 1 - self._velocity_sign(qd, qdd).square()
        out_of_distribution = (
            (gp_variance - self.in_distribution_variance) / (1 - self.in_distribution_variance)
        ).clamp_min(0.0)
        terms = torch.stack(
            [torch.ones_like(stiction), stiction, gp_variance, out_of_distribution], dim=-1
        )
        return self.output_scale * mean, (terms * self.variance_weights).sum(-1)

    def _velocity_sign(self, qd: Tensor, qdd: Tensor) -> Tensor:
        return smooth_sign(qd, qdd, self.config.coulomb_velocity, self.friction_filter_time)

    def predict_target(self, motion: Tensor) -> Tensor:
        """Return the target (..., n) of a motion (..., 3n)."""
        return self.rigid_body_target(motion) + self.correction(motion)[0]

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions and their standard deviation."""
        correction, variance = self.correction(motion)
        target = self.rigid_body_target(motion) + correction
        return Prediction(self.action(motion, target), variance.clamp_min(0.0).sqrt())

    def fit(self, train: Windows, val: Windows) -> bool:
        """Identify the rigid body, then fit Gaussian processes to its residual.

        Hyperparameters are selected by cross-validation, so `val` is used as training data too.
        """
        parts = (train, val)
        motion = torch.cat([part.motion.flatten(0, 1) for part in parts])
        action = torch.cat([part.action.flatten(0, 1) for part in parts])
        data = TrainingFrames(motion, self.target(motion, action))
        index = torch.linspace(
            0, len(motion) - 1, min(len(motion), self.config.num_selection_rows)
        )
        subset = TrainingFrames(*(values[index.long()] for values in data))
        folds = self._identify(subset, data, train)
        self._fit_gaussian_process(subset, folds)
        return True

    def _normal_equations(
        self, data: TrainingFrames, filter_time: Tensor
    ) -> list[NormalEquations]:
        coulomb_velocity, min_velocity = self.config.coulomb_velocity, self.config.min_velocity
        return [
            normal_equations(
                self.tree,
                motion[:, None],
                target[:, None],
                coulomb_velocity,
                min_velocity,
                filter_time,
            )
            for motion, target in zip(*map(split_folds, data), strict=True)
        ]

    def _identify(
        self, subset: TrainingFrames, data: TrainingFrames, train: Windows
    ) -> list[DynamicParameters]:
        """Identify the rigid body on all data; return the parameters without each fold."""
        bounds, prior = self.bounds, self.tree.inertial.flatten()
        unbounded = bounds._replace(physical=False)  # faster, and as good to compare times with
        candidates = [
            torch.full_like(self.friction_filter_time, time)
            for time in self.config.friction_filter_times
        ]
        errors = torch.stack(
            [
                cross_identify(self._normal_equations(subset, time), prior, unbounded)[2]
                for time in candidates
            ]
        )
        best = torch.where(
            errors.min(0).values < (1 - MIN_IMPROVEMENT) * errors[0], errors.argmin(0), 0
        )
        self.friction_filter_time.copy_(torch.stack(candidates)[best, torch.arange(self.n)])
        equations = self._normal_equations(data, self.friction_filter_time)
        final = cross_identify(equations, prior, bounds)[0]
        folds = cross_identify(
            self._normal_equations(subset, self.friction_filter_time), prior, bounds
        )[1]
        self.set_parameters(final)
        self._report(sum_normal_equations(equations), final, train)
        return folds

    def _fit_gaussian_process(self, data: TrainingFrames, folds: list[DynamicParameters]) -> None:
        """Select the hyperparameters by cross-validation, then fit to all frames."""
        final = DynamicParameters(self.tree.inertial.flatten(), self.friction, self.compliance)
        residuals = [
            data.target - self._rigid_body_target(data.motion, fold) for fold in folds
        ]  # each (N, n)
        val_residual = torch.cat([split_folds(part)[k] for k, part in enumerate(residuals)])
        weight = row_weight(data.motion[:, self.n : 2 * self.n], self.config.min_velocity)
        residual_scale = ((val_residual * weight).square().sum(0) / weight.square().sum(0)).sqrt()
        residual_scale = residual_scale.clamp_min(EPSILON * data.target.std(0)).clamp_min(EPSILON)
        x = self.features(data.motion)
        scaled_residuals = [part / residual_scale for part in residuals]
        candidates = []
        for joint_scale, arm_scale in product(JOINT_LENGTH_SCALES, ARM_LENGTH_SCALES):
            inverse_length_scale = x.new_full(x.shape[1:], 1 / arm_scale)
            inverse_length_scale[:, :NUM_JOINT_FEATURES] = 1 / joint_scale
            candidates += cross_validate(
                x, scaled_residuals, weight, inverse_length_scale, self.config.num_inducing
            )
        best, shrinkage, mean, variance = select_candidate(
            candidates, val_residual / residual_scale, weight
        )
        noise = torch.stack([candidate.noise for candidate in candidates])[
            best, torch.arange(self.n)
        ]
        self.inverse_length_scale.copy_(
            torch.stack([c.inverse_length_scale for c in candidates])[best, torch.arange(self.n)]
        )
        residual = (data.target - self._rigid_body_target(data.motion, final)) / residual_scale
        scaled = x * self.inverse_length_scale
        gaussian_process = fit_gaussian_process(
            scaled,
            residual,
            weight,
            noise,
            select_inducing_points(scaled, self.config.num_inducing),
        )
        for name, value in gaussian_process._asdict().items():
            self.get_buffer(name).copy_(value)
        self.output_scale.copy_(shrinkage * residual_scale)
        self._fit_variance(data, val_residual - shrinkage * residual_scale * mean, variance)

    def _rigid_body_target(self, motion: Tensor, parameters: DynamicParameters) -> Tensor:
        """Return the target (N, n) of a rigid body with other parameters."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        terms = friction_terms(qd, qdd, self.config.coulomb_velocity, self.friction_filter_time)
        torque = self.tree.torque(q, qd, qdd, parameters.inertial.view(self.n, 10))
        return parameters.compliance * torque + (terms * parameters.friction).sum(-1)

    def _fit_variance(self, data: TrainingFrames, error: Tensor, variance: Tensor) -> None:
        """Fit the variance components to the errors (N, n) on held-out folds.

        Args:
            data: frames.
            error: of the predictions for held-out folds (N, n).
            variance: of the Gaussian processes for held-out folds (N, n).
        """
        _, qd, qdd = data.motion.split(self.n, dim=-1)
        stiction = 1 - self._velocity_sign(qd, qdd).square()
        terms = torch.stack([torch.ones_like(stiction), stiction, variance], dim=-1)  # (N, n, 3)
        self.in_distribution_variance.copy_(
            variance.quantile(IN_DISTRIBUTION_QUANTILE, dim=0).clamp_max(IN_DISTRIBUTION_QUANTILE)
        )
        self.variance_weights[:, :3] = fit_variance_components(terms, error)
        urdf = self.compliance * self.urdf_tree().torque(*data.motion.split(self.n, dim=-1))
        model_change = (self.rigid_body_target(data.motion) - urdf).square().mean(0)
        self.variance_weights[:, 3] = torch.maximum(model_change, error.square().mean(0))
