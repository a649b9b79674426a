"""Step network: one-step prediction conditioned on the next observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import Probability, Validated
from invdyn_ros.models.timeseries.time_series_model import FORWARD

INPUT_LIMIT = 10.0  # standardised inputs are clamped there
STEP_TOLERANCE = 1e-3  # rounding error of a number of steps


@dataclass(frozen=True)
class BridgeConfig(Validated):
    """Shape of the two networks, and sampling of the training steps."""

    width: PositiveInt = 384
    """Units of each hidden layer."""
    depth: PositiveInt = 3
    """Hidden layers."""
    num_prismatic: NonNegativeInt = 0
    """Number of leading coordinates that are lengths, not angles."""
    invariant_joints: tuple[str, ...] = ()
    """Joints whose position does not affect the dynamics, such as the root's horizontal joint."""
    samples_per_motion: PositiveInt = 32
    """Training steps drawn from each motion in an epoch."""
    mean_gap: NonNegativeFloat = 8.0
    """Mean number of steps to the next observation, beyond two."""
    extrapolation_fraction: Probability = 0.4
    """Fraction of training steps without a next observation."""
    velocity_l1_weight: NonNegativeFloat = 0.05
    """Weight of the smooth L1 error of velocities, beside the squared error of scaled states."""


class NextObservation(NamedTuple):
    """The observation that a step network moves towards."""

    state: Tensor  # (N, 2n)
    steps: Tensor  # (N, 1) number of steps until then; infinite without a next observation


class StepNetwork(nn.Module):
    """One-step prediction conditioned on the next observation.

    Simulators and robots move by q' = q + h (a v + (1 - a) v'), with `a` estimated from the data
    (0 in a semi-implicit Euler step). So the observations at both ends of a gap determine the mean
    of all velocities in the gap; in a gap of two steps it is the only one. The network predicts
    the residual to the parabola through both end velocities that has this mean.
    """

    velocity_change_std: Tensor  # (n,) of the change of velocity in one sample period
    velocity_std: Tensor  # (n,)
    position_dependent: Tensor  # (n,) bool
    old_velocity_weight: Tensor  # () the `a` above

    def __init__(
        self,
        n: int,
        config: BridgeConfig,
        position_dependent: Tensor,
        direction: int,
        sample_period: float,
    ) -> None:
        """Create an untrained network.

        Args:
            n: joints.
            config: shape of the network.
            position_dependent: (n,) bool, joints whose position affects the dynamics.
            direction: FORWARD or BACKWARD.
            sample_period: time between regular samples [s].
        """
        super().__init__()
        self.direction, self.sample_period = direction, sample_period
        self.num_prismatic = config.num_prismatic
        angles = n - self.num_prismatic
        # sums of joint angles along a chain are its absolute link angles; this map is learned
        self.link_angles = nn.Linear(angles, angles, bias=False)
        with torch.no_grad():
            self.link_angles.weight.copy_(torch.tril(torch.ones(angles, angles)))
        self.register_buffer("position_dependent", position_dependent, persistent=False)
        goal_features = 3 * n + 2 * angles + self.num_prismatic + 2
        inputs = int(position_dependent.sum()) + n + 4 * angles + goal_features + 1
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(inputs, config.width), nn.SiLU()]
            inputs = config.width
        last = nn.Linear(inputs, 2 * n)
        for values in last.parameters():
            nn.init.zeros_(values)  # an untrained network predicts the parabola
        self.network = nn.Sequential(*layers, last)
        for name in ("velocity_change_std", "velocity_std"):
            self.register_buffer(name, torch.ones(n))
        self.register_buffer("old_velocity_weight", torch.zeros(()))

    @property
    def start_velocity_weight(self) -> Tensor:
        """Weight in a step of the velocity from which this network starts."""
        return (
            self.old_velocity_weight if self.direction == FORWARD else 1 - self.old_velocity_weight
        )

    def forward(
        self, q: Tensor, v: Tensor, h: Tensor, goal: NextObservation
    ) -> tuple[Tensor, Tensor]:
        """Return q and v (N, n) after one step.

        Args:
            q: (N, n) positions.
            v: (N, n) velocities.
            h: (N, 1) length of the step [s].
            goal: next observation.
        """
        has_goal = goal.steps.isfinite()
        steps = torch.where(has_goal, goal.steps, 2.0).clamp(min=2.0)
        change, goal_features = self._toward_goal(q, v, h, goal)
        # forces act at the start of a step in time, which is the end of a backward step
        start_q = q if self.direction == FORWARD else q - h * v
        motion_features = self._motion_features(start_q, v)
        inputs = torch.cat([motion_features, has_goal * goal_features, (~has_goal).to(q)], 1)
        residual, free_change = self.network(inputs.clamp(-INPUT_LIMIT, INPUT_LIMIT)).chunk(2, 1)
        std = self.velocity_change_std * (h / self.sample_period)
        residual = change + (1 - 2 / steps) * residual * std
        v_next = v + torch.where(has_goal, residual, free_change * std)
        weight = self.start_velocity_weight
        return q + self.direction * h * (weight * v + (1 - weight) * v_next), v_next

    def _toward_goal(
        self, q: Tensor, v: Tensor, h: Tensor, goal: NextObservation
    ) -> tuple[Tensor, Tensor]:
        """Return the change of the velocity on a parabola to the goal (N, n), and features."""
        goal_q, goal_v = goal.state.chunk(2, 1)
        remaining = torch.where(goal.steps.isfinite(), goal.steps, 2.0).clamp(min=1.0)
        steps, weight = remaining.clamp(min=2.0), self.start_velocity_weight
        travel = self.direction * (goal_q - q) / h
        mean = (travel - weight * v - (1 - weight) * goal_v) / (steps - 1)
        change = parabola_change(v, goal_v, mean, steps)
        # with irregular rows, less than two steps may remain: no velocity lies in between
        change = torch.where(
            remaining < 2 - STEP_TOLERANCE,
            parabola_change_over_gap(v, goal_v, travel / remaining, remaining),
            change,
        )
        changes = [
            x / self.velocity_change_std for x in ((mean - v) / 5, (goal_v - v) / 5, change)
        ]
        features = torch.cat([*changes, self._pose_features(goal_q), 1 / steps, steps.log()], 1)
        return change, features

    def _pose_features(self, q: Tensor) -> Tensor:
        angles = self.link_angles(q[:, self.num_prismatic :])
        positions = q[:, : self.num_prismatic] * self.position_dependent[: self.num_prismatic]
        return torch.cat([positions, angles.sin(), angles.cos()], 1)

    def _motion_features(self, q: Tensor, v: Tensor) -> Tensor:
        """Return features of a state; velocities of points are linear in rates times sines."""
        angles, rates = (
            self.link_angles(q[:, self.num_prismatic :]),
            self.link_angles(v[:, self.num_prismatic :]) / 10,
        )
        sine, cosine = angles.sin(), angles.cos()
        joints = [q[:, self.position_dependent], v / self.velocity_std]
        return torch.cat([*joints, sine, cosine, rates * sine, rates * cosine], 1)


def parabola_change(v: Tensor, end: Tensor, mean: Tensor, steps: Tensor) -> Tensor:
    """Return the first change of velocity (N, n) on a parabola.

    Args:
        v: (N, n) velocity now.
        end: (N, n) velocity after `steps`.
        mean: (N, n) mean of the steps - 1 velocities between.
        steps: (N, 1), at least 2.
    """
    curvature = (mean - (v + end) / 2) * steps / (steps + 1)
    return (end - v) / steps + 6 * curvature * (1 / steps) * (1 - 1 / steps)


def parabola_change_over_gap(v: Tensor, end: Tensor, mean: Tensor, steps: Tensor) -> Tensor:
    """Return the same for at least one step, from the mean velocity over the whole gap.

    Args:
        v: (N, n) velocity now.
        end: (N, n) velocity after `steps`.
        mean: (N, n) mean velocity until then.
        steps: (N, 1), at least 1.
    """
    curvature = mean - (v + end) / 2
    return (end - v) / steps + 6 * curvature * (1 / steps) * (1 - 1 / steps)
