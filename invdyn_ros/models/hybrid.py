"""Identified rigid body plus what it leaves over: motion enters, actions and their spread leave.

What is left over is learned by a Gaussian process whose prior is zero: where the data say nothing
the actions are those of the rigid body, and the standard deviation says so. All is in closed form;
what is not solved for (ridge, blur, length scales, noise, how much of the process is believed) is
chosen on blocks of the training data that are left out in turn, never on test data.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from invdyn_ros.config import Validated
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.cross_validation import (
    EPSILON,
    MIN_IMPROVEMENT,
    NUM_FOLDS,
    CandidateResult,
    select_candidate,
    split_folds,
)
from invdyn_ros.models.gaussian_process import (
    GaussianProcess,
    fit_gaussian_process,
    posterior,
    select_inducing_points,
)
from invdyn_ros.models.inverse_dynamics import ModelMetadata, Prediction
from invdyn_ros.models.least_squares_identification import (
    DynamicParameters,
    NormalEquations,
    cross_identify,
    friction_terms,
    normal_equations,
    row_weight,
    smooth_sign,
)
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.models.variance_components import fit_variance_components
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree

JOINT_LENGTH_SCALES = (
    1.0,
    2.0,
)  # length scales of a joint's own motion, in its standard deviations
ARM_LENGTH_SCALES = (4.0, 8.0)  # of the motion of the whole arm
NOISE_RATIOS = (1.0, 10.0, 100.0)  # variance of the noise, as a share of the prior's
IN_DISTRIBUTION_QUANTILE = (
    0.99  # quantile of the processes' variance out of sample that is still no surprise
)
FilterTimes = Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]
NUM_JOINT_FEATURES = 3  # features of a joint's own motion: direction, velocity, acceleration


@dataclass(frozen=True)
class HybridConfig(Validated):
    """What is learned, and how finely."""

    coulomb_velocity: PositiveFloat = 0.02
    """[rad/s] Velocity at which Coulomb friction has built up."""
    min_velocity: float = 0.05
    """[rad/s] Slower joints may stick, and count little in identification."""
    friction_filter_times: FilterTimes = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2)
    """[s] Candidates for the time over which friction turns at a reversal: a filter's trace."""
    num_inducing: PositiveInt = 64
    """Centres of each Gaussian process."""
    num_selection_rows: Annotated[int, Field(ge=NUM_FOLDS)] = 2000
    """Rows of data, evenly spread, by which choices are made."""


class Rows(NamedTuple):
    """Single frames."""

    motion: Tensor  # (N, 3n)
    target: Tensor  # (N, n)


class Hybrid(RigidBody):
    """Rigid body, friction and a Gaussian process on what remains: each frame alone, so causal.

    The target of joint j is the rigid body's plus s_j a_j g_j(x_j): g_j a Gaussian process, a_j
    its amplitude, s_j in [0, 1] how much of it held on data left out, and x_j the direction,
    velocity and acceleration of the joint and the motion of the whole arm. With v_j the variance
    of g_j(x_j), 1 away from data, and u_j what it is among data, the variance of the target is

        noise_j + stick_j (1 - direction_j^2) + process_j v_j
            + doubt_j max(v_j - u_j, 0) / (1 - u_j)

    A joint near standstill takes any torque up to its friction. Away from data nothing that was
    learned is sure, so doubt_j is what the data changed of the URDF's actions.
    """

    Config = HybridConfig
    config: HybridConfig  # type: ignore[assignment]
    friction_filter_time: Tensor  # (n,) [s]
    inverse_length_scale: Tensor  # (n, d) inverse length scales
    output_scale: Tensor  # (n,) in the target's unit, shrunk
    variance_weights: Tensor  # (n, 4) variances: noise, stick, process, doubt
    in_distribution_variance: Tensor  # (n,) variance of the process, prior 1, that is no surprise

    def __init__(self, meta: ModelMetadata) -> None:
        """Start as the rigid body of the URDF in `meta`."""
        super().__init__(meta)
        n, m, d = self.n, self.config.num_inducing, NUM_JOINT_FEATURES + 3 * self.n
        shapes: dict[str, tuple[int, ...]] = {
            "friction_filter_time": (n,),
            "inverse_length_scale": (n, d),
            "output_scale": (n,),
        }
        shapes |= {
            "variance_weights": (n, 4),
            "in_distribution_variance": (n,),
            "inducing_points": (n, m, d),
            "mean_weights": (n, m),
            "variance_reduction": (n, m, m),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=self.dtype))

    def rigid_body_target(self, motion: Tensor) -> Tensor:
        """Return the rigid body's target (..., n) of a motion (..., 3n)."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        friction = friction_terms(qd, qdd, self.config.coulomb_velocity, self.friction_filter_time)
        return self.compliance * self.tree.torque(q, qd, qdd) + (friction * self.friction).sum(-1)

    def features(self, motion: Tensor) -> Tensor:
        """Return what the processes look at (..., n, d), before it is scaled."""
        _, qd, qdd = motion.split(self.n, dim=-1)
        _, v, a = self.motion_std.split(self.n)
        direction = smooth_sign(qd, qdd, self.config.coulomb_velocity, self.friction_filter_time)
        joint_features = torch.stack([2 * direction, qd / v, qdd / a], dim=-1)
        arm_features = ((motion - self.motion_mean) / self.motion_std).unsqueeze(-2)
        return torch.cat(
            [joint_features, arm_features.expand(*joint_features.shape[:-1], 3 * self.n)], dim=-1
        )

    def correction(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is added to the rigid body, and the variance of the whole (..., n)."""
        _, qd, qdd = motion.split(self.n, dim=-1)
        gaussian_process = GaussianProcess(
            *(self.get_buffer(name) for name in GaussianProcess._fields)
        )
        mean, gp_variance = posterior(
            gaussian_process, self.features(motion) * self.inverse_length_scale
        )
        stiction = (
            1
            - smooth_sign(
                qd, qdd, self.config.coulomb_velocity, self.friction_filter_time
            ).square()
        )
        out_of_distribution = (
            (gp_variance - self.in_distribution_variance) / (1 - self.in_distribution_variance)
        ).clamp_min(0.0)
        terms = torch.stack(
            [torch.ones_like(stiction), stiction, gp_variance, out_of_distribution], dim=-1
        )
        return self.output_scale * mean, (terms * self.variance_weights).sum(-1)

    def predict_target(self, motion: Tensor) -> Tensor:
        """Return the target (..., n) of a motion (..., 3n)."""
        return self.rigid_body_target(motion) + self.correction(motion)[0]

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions and their standard deviation: tensors only, as an export needs."""
        correction, variance = self.correction(motion)
        target = self.rigid_body_target(motion) + correction
        return Prediction(self.action(motion, target), variance.clamp_min(0.0).sqrt())

    def fit(self, train: Windows, val: Windows) -> bool:
        """Identify the rigid body, then learn what it leaves over.

        `valid` is data too: every choice is made on blocks of both that are left out in turn.
        """
        parts = (train, val)
        motion = torch.cat([part.motion.flatten(0, 1) for part in parts])
        action = torch.cat([part.action.flatten(0, 1) for part in parts])
        data = Rows(motion, self.target(motion, action))
        index = torch.linspace(
            0, len(motion) - 1, min(len(motion), self.config.num_selection_rows)
        )
        subset = Rows(*(values[index.long()] for values in data))
        folds = self._identify(subset, data)
        self._fit_gaussian_process(subset, folds)
        return True

    def _normal_equations(self, data: Rows, filter_time: Tensor) -> list[NormalEquations]:
        coulomb_velocity, min_velocity = self.config.coulomb_velocity, self.config.min_velocity
        return [
            normal_equations(
                self.tree, motion, target, coulomb_velocity, min_velocity, filter_time
            )
            for motion, target in zip(*map(split_folds, data), strict=True)
        ]

    def _identify(self, subset: Rows, data: Rows) -> list[DynamicParameters]:
        """Fill the rigid body in; return what it is without each block of `few`."""
        is_torque, prior = self.meta.action_unit == "N m", self.tree.inertial.flatten()
        candidates = [
            torch.full_like(self.friction_filter_time, blur)
            for blur in self.config.friction_filter_times
        ]
        errors = torch.stack(
            [
                cross_identify(self._normal_equations(subset, blur), prior, is_torque)[2]
                for blur in candidates
            ]
        )
        best = torch.where(
            errors.min(0).values < (1 - MIN_IMPROVEMENT) * errors[0], errors.argmin(0), 0
        )
        self.friction_filter_time.copy_(torch.stack(candidates)[best, torch.arange(self.n)])
        final = cross_identify(
            self._normal_equations(data, self.friction_filter_time), prior, is_torque
        )[0]
        folds = cross_identify(
            self._normal_equations(subset, self.friction_filter_time), prior, is_torque
        )[1]
        self._set_parameters(final)
        return folds

    def _set_parameters(self, parameters: DynamicParameters) -> None:
        self.tree.inertial.copy_(parameters.inertial.view(self.n, 10))
        self.friction.copy_(parameters.friction)
        self.compliance.copy_(parameters.compliance)

    def _fit_gaussian_process(self, data: Rows, folds: list[DynamicParameters]) -> None:
        """Choose each joint's process on blocks left out, then make it of all rows."""
        final = DynamicParameters(self.tree.inertial.flatten(), self.friction, self.compliance)
        residuals = [
            data.target - self._rigid_body_target(data.motion, found) for found in folds
        ]  # each (N, n)
        val_residual = torch.cat([split_folds(part)[k] for k, part in enumerate(residuals)])
        weight = row_weight(data.motion[:, self.n : 2 * self.n], self.config.min_velocity)
        residual_scale = ((val_residual * weight).square().sum(0) / weight.square().sum(0)).sqrt()
        residual_scale = residual_scale.clamp_min(EPSILON * data.target.std(0)).clamp_min(EPSILON)
        x = self.features(data.motion)
        candidates = [
            trial
            for joint_scale, arm_scale in product(JOINT_LENGTH_SCALES, ARM_LENGTH_SCALES)
            for trial in self._cross_validate(
                x, [part / residual_scale for part in residuals], weight, joint_scale, arm_scale
            )
        ]
        best, shrinkage, mean, variance = select_candidate(
            candidates, val_residual / residual_scale, weight
        )
        noise = torch.stack([trial.noise for trial in candidates])[best, torch.arange(self.n)]
        self.inverse_length_scale.copy_(
            torch.stack([t.inverse_length_scale for t in candidates])[best, torch.arange(self.n)]
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

    def _cross_validate(
        self,
        x: Tensor,
        residuals: list[Tensor],
        weight: Tensor,
        joint_scale: float,
        arm_scale: float,
    ) -> list[CandidateResult]:
        """Fit with given length scales, without each block in turn, and predict that block."""
        inverse_length_scale = x.new_full(x.shape[1:], 1 / arm_scale)
        inverse_length_scale[:, :NUM_JOINT_FEATURES] = 1 / joint_scale
        scaled, results = x * inverse_length_scale, []
        parts = list(zip(*(split_folds(values) for values in (scaled, weight)), strict=True))
        for k, (held_out, _) in enumerate(parts):
            training_parts = [part for i, part in enumerate(parts) if i != k]
            xs, ws = (torch.cat(column) for column in zip(*training_parts, strict=True))
            ys = torch.cat([y for i, y in enumerate(split_folds(residuals[k])) if i != k])
            inducing_points = select_inducing_points(xs, self.config.num_inducing)
            noises = [x.new_full((self.n,), noise) for noise in NOISE_RATIOS]
            results.append(
                [
                    posterior(fit_gaussian_process(xs, ys, ws, noise, inducing_points), held_out)
                    for noise in noises
                ]
            )
        candidates = []
        for i, noise in enumerate(noises):
            mean, variance = (torch.cat(c) for c in zip(*(row[i] for row in results), strict=True))
            candidates.append(CandidateResult(inverse_length_scale, noise, mean, variance))
        return candidates

    def _rigid_body_target(self, motion: Tensor, parameters: DynamicParameters) -> Tensor:
        """Return the target (N, n) by a rigid body of other parameters."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        terms = friction_terms(qd, qdd, self.config.coulomb_velocity, self.friction_filter_time)
        torque = self.tree.torque(q, qd, qdd, parameters.inertial.view(self.n, 10))
        return parameters.compliance * torque + (terms * parameters.friction).sum(-1)

    def _fit_variance(self, data: Rows, error: Tensor, variance: Tensor) -> None:
        """Fit the variances to the errors (N, n) on blocks left out."""
        _, qd, qdd = data.motion.split(self.n, dim=-1)
        stiction = (
            1
            - smooth_sign(
                qd, qdd, self.config.coulomb_velocity, self.friction_filter_time
            ).square()
        )
        terms = torch.stack([torch.ones_like(stiction), stiction, variance], dim=-1)  # (N, n, 3)
        self.in_distribution_variance.copy_(
            variance.quantile(IN_DISTRIBUTION_QUANTILE, dim=0).clamp_max(IN_DISTRIBUTION_QUANTILE)
        )
        self.variance_weights[:, :3] = fit_variance_components(terms, error)
        urdf_tree = RigidBodyTree.from_urdf(
            self.meta.urdf, self.meta.joint_names, dtype=self.dtype
        )
        urdf = self.compliance * urdf_tree.torque(*data.motion.split(self.n, dim=-1))
        model_change = (self.rigid_body_target(data.motion) - urdf).square().mean(0)
        self.variance_weights[:, 3] = torch.maximum(model_change, error.square().mean(0))
