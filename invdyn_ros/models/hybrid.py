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
from invdyn_ros.models.cross_validation import FOLDS, GAIN, TINY, Trial, blocks, choose
from invdyn_ros.models.gaussian_process import GaussianProcess, fit, pivots, posterior
from invdyn_ros.models.inverse_dynamics import ModelMetadata, Prediction
from invdyn_ros.models.least_squares_identification import (
    NormalEquations,
    Parameters,
    cross_identify,
    direction,
    friction_terms,
    row_weight,
    sums,
)
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.models.variance_components import variances
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree

NEAR = (1.0, 2.0)  # length scales of a joint's own motion, in its standard deviations
FAR = (4.0, 8.0)  # of the motion of the whole arm
NOISE = (1.0, 10.0, 100.0)  # variance of the noise, as a share of the prior's
USUAL = 0.99  # quantile of the processes' variance out of sample that is still no surprise
FilterTimes = Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]
OWN = 3  # features of a joint's own motion: direction, velocity, acceleration


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
    rows: Annotated[int, Field(ge=FOLDS)] = 2000
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
    blur: Tensor  # (n,) [s]
    scale: Tensor  # (n, d) inverse length scales
    amplitude: Tensor  # (n,) in the target's unit, shrunk
    spread: Tensor  # (n, 4) variances: noise, stick, process, doubt
    usual: Tensor  # (n,) variance of the process, prior 1, that is no surprise

    def __init__(self, meta: ModelMetadata) -> None:
        """Start as the rigid body of the URDF in `meta`."""
        super().__init__(meta)
        n, m, d = self.n, self.config.num_inducing, OWN + 3 * self.n
        shapes: dict[str, tuple[int, ...]] = {"blur": (n,), "scale": (n, d), "amplitude": (n,)}
        shapes |= {
            "spread": (n, 4),
            "usual": (n,),
            "centres": (n, m, d),
            "weight": (n, m),
            "known": (n, m, m),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=self.dtype))

    def rigid(self, motion: Tensor) -> Tensor:
        """Return the rigid body's target (..., n) of a motion (..., 3n)."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        friction = friction_terms(qd, qdd, self.config.coulomb_velocity, self.blur)
        return self.compliance * self.tree.torque(q, qd, qdd) + (friction * self.friction).sum(-1)

    def features(self, motion: Tensor) -> Tensor:
        """Return what the processes look at (..., n, d), before it is scaled."""
        _, qd, qdd = motion.split(self.n, dim=-1)
        _, v, a = self.motion_std.split(self.n)
        turn = direction(qd, qdd, self.config.coulomb_velocity, self.blur)
        own = torch.stack([2 * turn, qd / v, qdd / a], dim=-1)
        whole = ((motion - self.motion_mean) / self.motion_std).unsqueeze(-2)
        return torch.cat([own, whole.expand(*own.shape[:-1], 3 * self.n)], dim=-1)

    def correction(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is added to the rigid body, and the variance of the whole (..., n)."""
        _, qd, qdd = motion.split(self.n, dim=-1)
        process = GaussianProcess(*(self.get_buffer(name) for name in GaussianProcess._fields))
        mean, unknown = posterior(process, self.features(motion) * self.scale)
        still = 1 - direction(qd, qdd, self.config.coulomb_velocity, self.blur).square()
        strange = ((unknown - self.usual) / (1 - self.usual)).clamp_min(0.0)
        terms = torch.stack([torch.ones_like(still), still, unknown, strange], dim=-1)
        return self.amplitude * mean, (terms * self.spread).sum(-1)

    def predict_target(self, motion: Tensor) -> Tensor:
        """Return the target (..., n) of a motion (..., 3n)."""
        return self.rigid(motion) + self.correction(motion)[0]

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions and their standard deviation: tensors only, as an export needs."""
        correction, variance = self.correction(motion)
        target = self.rigid(motion) + correction
        return Prediction(self.action(motion, target), variance.clamp_min(0.0).sqrt())

    def fit(self, train: Windows, valid: Windows) -> bool:
        """Identify the rigid body, then learn what it leaves over.

        `valid` is data too: every choice is made on blocks of both that are left out in turn.
        """
        parts = (train, valid)
        motion = torch.cat([part.motion.flatten(0, 1) for part in parts])
        action = torch.cat([part.action.flatten(0, 1) for part in parts])
        data = Rows(motion, self.target(motion, action))
        index = torch.linspace(0, len(motion) - 1, min(len(motion), self.config.rows))
        few = Rows(*(values[index.long()] for values in data))
        folds = self._identify(few, data)
        self._learn(few, folds)
        return True

    def _sums(self, data: Rows, blur: Tensor) -> list[NormalEquations]:
        slow, moving = self.config.coulomb_velocity, self.config.min_velocity
        return [
            sums(self.tree, motion, target, slow, moving, blur)
            for motion, target in zip(*map(blocks, data), strict=True)
        ]

    def _identify(self, few: Rows, data: Rows) -> list[Parameters]:
        """Fill the rigid body in; return what it is without each block of `few`."""
        torques, prior = self.meta.action_unit == "N m", self.tree.inertial.flatten()
        tried = [torch.full_like(self.blur, blur) for blur in self.config.friction_filter_times]
        errors = torch.stack(
            [cross_identify(self._sums(few, blur), prior, torques)[2] for blur in tried]
        )
        best = torch.where(errors.min(0).values < (1 - GAIN) * errors[0], errors.argmin(0), 0)
        self.blur.copy_(torch.stack(tried)[best, torch.arange(self.n)])
        final = cross_identify(self._sums(data, self.blur), prior, torques)[0]
        folds = cross_identify(self._sums(few, self.blur), prior, torques)[1]
        self._take(final)
        return folds

    def _take(self, found: Parameters) -> None:
        self.tree.inertial.copy_(found.inertial.view(self.n, 10))
        self.friction.copy_(found.friction)
        self.compliance.copy_(found.compliance)

    def _learn(self, data: Rows, folds: list[Parameters]) -> None:
        """Choose each joint's process on blocks left out, then make it of all rows."""
        final = Parameters(self.tree.inertial.flatten(), self.friction, self.compliance)
        left = [data.target - self._rigid(data.motion, found) for found in folds]  # each (N, n)
        outside = torch.cat([blocks(part)[k] for k, part in enumerate(left)])
        weight = row_weight(data.motion[:, self.n : 2 * self.n], self.config.min_velocity)
        size = ((outside * weight).square().sum(0) / weight.square().sum(0)).sqrt()
        size = size.clamp_min(TINY * data.target.std(0)).clamp_min(TINY)
        x = self.features(data.motion)
        trials = [
            trial
            for near, far in product(NEAR, FAR)
            for trial in self._try(x, [part / size for part in left], weight, near, far)
        ]
        best, shrink, mean, variance = choose(trials, outside / size, weight)
        noise = torch.stack([trial.noise for trial in trials])[best, torch.arange(self.n)]
        self.scale.copy_(torch.stack([t.scale for t in trials])[best, torch.arange(self.n)])
        rest = (data.target - self._rigid(data.motion, final)) / size
        scaled = x * self.scale
        process = fit(scaled, rest, weight, noise, pivots(scaled, self.config.num_inducing))
        for name, value in process._asdict().items():
            self.get_buffer(name).copy_(value)
        self.amplitude.copy_(shrink * size)
        self._spread(data, outside - shrink * size * mean, variance)

    def _try(
        self, x: Tensor, left: list[Tensor], weight: Tensor, near: float, far: float
    ) -> list[Trial]:
        """Fit with given length scales, without each block in turn, and predict that block."""
        scale = x.new_full(x.shape[1:], 1 / far)
        scale[:, :OWN] = 1 / near
        scaled, results = x * scale, []
        parts = list(zip(*(blocks(values) for values in (scaled, weight)), strict=True))
        for k, (inside, _) in enumerate(parts):
            others = [part for i, part in enumerate(parts) if i != k]
            xs, ws = (torch.cat(column) for column in zip(*others, strict=True))
            ys = torch.cat([y for i, y in enumerate(blocks(left[k])) if i != k])
            centres = pivots(xs, self.config.num_inducing)
            noises = [x.new_full((self.n,), noise) for noise in NOISE]
            results.append(
                [posterior(fit(xs, ys, ws, noise, centres), inside) for noise in noises]
            )
        trials = []
        for i, noise in enumerate(noises):
            mean, variance = (torch.cat(c) for c in zip(*(row[i] for row in results), strict=True))
            trials.append(Trial(scale, noise, mean, variance))
        return trials

    def _rigid(self, motion: Tensor, found: Parameters) -> Tensor:
        """Return the target (N, n) by a rigid body of other parameters."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        terms = friction_terms(qd, qdd, self.config.coulomb_velocity, self.blur)
        torque = self.tree.torque(q, qd, qdd, found.inertial.view(self.n, 10))
        return found.compliance * torque + (terms * found.friction).sum(-1)

    def _spread(self, data: Rows, error: Tensor, variance: Tensor) -> None:
        """Fit the variances to the errors (N, n) on blocks left out."""
        _, qd, qdd = data.motion.split(self.n, dim=-1)
        still = 1 - direction(qd, qdd, self.config.coulomb_velocity, self.blur).square()
        terms = torch.stack([torch.ones_like(still), still, variance], dim=-1)  # (N, n, 3)
        self.usual.copy_(variance.quantile(USUAL, dim=0).clamp_max(USUAL))
        self.spread[:, :3] = variances(terms, error)
        believed = RigidBodyTree.from_urdf(self.meta.urdf, self.meta.joint_names, dtype=self.dtype)
        urdf = self.compliance * believed.torque(*data.motion.split(self.n, dim=-1))
        learned = (self.rigid(data.motion) - urdf).square().mean(0)
        self.spread[:, 3] = torch.maximum(learned, error.square().mean(0))
