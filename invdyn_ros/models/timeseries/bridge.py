"""Bridge: step networks that are conditioned on the next observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import Probability, Validated
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    insert_intermediate_times,
    surrounding_observations,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel

FORWARD, BACKWARD = 1, -1  # direction in time of a step network
INPUT_LIMIT = 10.0  # standardised inputs are clamped there
STATE_LOSS_WEIGHT = 1e3  # weight of squared scaled errors, so that the loss is of order one
SMOOTH_L1_BETA = 0.1  # standardised velocity errors below which the L1 loss is quadratic
STD_SAMPLES = 20_000  # states from which standard deviations are computed
STEP_TOLERANCE = 1e-3  # rounding of numbers of steps


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
    """Joints whose position does not affect the dynamics, such as the horizontal one of the root."""
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
    steps: Tensor  # (N, 1) until then, infinite where there is none


class StepNetwork(nn.Module):
    """One-step prediction conditioned on the next observation.

    Simulators and robots move by q' = q + h (a v + (1 - a) v'), with `a` estimated from the data
    (0 in a semi-implicit Euler step). So the observations at both ends of a gap determine the mean
    of all velocities inside, and of a gap of two steps the only one. The initial prediction is the
    parabola through both end velocities that has this mean; the network learns the residual.
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
        self.direction, self.num_prismatic, self.sample_period = (
            direction,
            config.num_prismatic,
            sample_period,
        )
        angles = n - self.num_prismatic
        # sums of joint angles along a chain are its absolute link angles; this map is learned
        self.link_angles = nn.Linear(angles, angles, bias=False)
        with torch.no_grad():
            self.link_angles.weight.copy_(torch.tril(torch.ones(angles, angles)))
        self.register_buffer("position_dependent", position_dependent, persistent=False)
        inputs = (
            int(position_dependent.sum())
            + n
            + 4 * angles
            + 3 * n
            + 2 * angles
            + self.num_prismatic
            + 3
        )
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(inputs, config.width), nn.SiLU()]
            inputs = config.width
        last = nn.Linear(inputs, 2 * n)
        for values in last.parameters():
            nn.init.zeros_(values)  # an untrained network predicts the parabola
        self.network = nn.Sequential(*layers, last)
        for name, value in (("velocity_change_std", 1.0), ("velocity_std", 1.0)):
            self.register_buffer(name, torch.full((n,), value))
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
        has_goal, (goal_q, goal_v) = goal.steps.isfinite(), goal.state.chunk(2, 1)
        remaining = torch.where(has_goal, goal.steps, 2.0).clamp(min=1.0)
        steps = remaining.clamp(min=2.0)
        travel = self.direction * (goal_q - q) / h
        mean = (
            travel - self.start_velocity_weight * v - (1 - self.start_velocity_weight) * goal_v
        ) / (steps - 1)
        change = parabola_change(v, goal_v, mean, steps)
        # irregular rows may leave less than two steps, without a whole one to average over
        change = torch.where(
            remaining < 2 - STEP_TOLERANCE,
            parabola_change_over_gap(v, goal_v, travel / remaining, remaining),
            change,
        )
        changes = [
            x / self.velocity_change_std for x in ((mean - v) / 5, (goal_v - v) / 5, change)
        ]
        goal_features = torch.cat(
            [*changes, self._pose_features(goal_q), 1 / steps, steps.log()], 1
        )
        # forces act at the start of a step in time, which is the end of a backward step
        start_q = q if self.direction == FORWARD else q - h * v
        inputs = torch.cat(
            [
                self._motion_features(start_q, v),
                has_goal * goal_features,
                (~has_goal).to(q),
            ],
            1,
        )
        residual, free_change = self.network(inputs.clamp(-INPUT_LIMIT, INPUT_LIMIT)).chunk(2, 1)
        std = self.velocity_change_std * (h / self.sample_period)
        residual = change + (1 - 2 / steps) * residual * std
        v_next = v + torch.where(has_goal, residual, free_change * std)
        return (
            q
            + self.direction
            * h
            * (self.start_velocity_weight * v + (1 - self.start_velocity_weight) * v_next),
            v_next,
        )

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
    """Return the same for one step or more, from the mean velocity over the whole gap.

    Args:
        v: (N, n) velocity now.
        end: (N, n) velocity after `steps`.
        mean: (N, n) mean velocity until then.
        steps: (N, 1), at least 1.
    """
    curvature = mean - (v + end) / 2
    return (end - v) / steps + 6 * curvature * (1 / steps) * (1 - 1 / steps)


class Bridge(TimeSeriesModel):
    """Rollouts from the observation before and from the one after each time, averaged.

    Before the first observation and after the last one there is one rollout only.
    """

    Config = BridgeConfig
    config: BridgeConfig

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Create both networks, untrained.

        Raises:
            ValueError: a joint in `invariant_joints` that the robot does not have.
        """
        super().__init__(meta)
        for name in self.config.invariant_joints:
            if name not in meta.joint_names:
                raise ValueError(
                    f"invariant_joints: no joint '{name}'; {meta.robot} has {', '.join(meta.joint_names)}"
                )
        position_dependent = torch.tensor(
            [name not in self.config.invariant_joints for name in meta.joint_names]
        )
        self.forward_net = StepNetwork(
            self.n, self.config, position_dependent, FORWARD, self.sample_period
        )
        self.backward_net = StepNetwork(
            self.n, self.config, position_dependent, BACKWARD, self.sample_period
        )

    @property
    def history_length(self) -> int:
        """Number of past observations that a prediction depends on."""
        return 1

    def standardise(self, train: Motions) -> None:
        """Set the scales and `old_velocity_weight` from the training data."""
        super().standardise(train)
        q, v = train.state.split(self.n, 2)
        h = train.time.diff(dim=1).to(q)[..., None]
        change = v.diff(dim=1)
        excess = (q.diff(dim=1) / h - v[:, 1:]).double()  # = -weight * change
        weight = -(excess * change).sum() / change.double().square().sum().clamp(min=1e-12)
        for network in (self.forward_net, self.backward_net):
            network.old_velocity_weight.copy_(weight.clamp(0, 1))
            network.velocity_change_std.copy_(_column_std(change * (self.sample_period / h)))
            network.velocity_std.copy_(_column_std(v))

    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the errors of randomly drawn steps in both directions."""
        state, time = (
            x.repeat_interleave(self.config.samples_per_motion, 0) for x in (state, time)
        )
        count, length = time.shape
        gap = torch.empty(count, device=time.device).exponential_(
            1 / max(self.config.mean_gap, 1e-6)
        )
        steps = (2 + gap.floor().long()).clamp(max=length - 1)
        extrapolate = torch.rand(count, device=time.device) < self.config.extrapolation_fraction
        start = (torch.rand(count, device=time.device) * (length - steps)).long()
        ends = [
            (start, start + steps, self.forward_net),
            (start + steps, start, self.backward_net),
        ]
        return sum(
            (
                self._step_loss(network, state, time, row, goal, extrapolate)
                for row, goal, network in ends
            ),
            start=torch.zeros((), device=time.device),
        )

    def _step_loss(
        self,
        network: StepNetwork,
        state: Tensor,
        time: Tensor,
        row: Tensor,
        goal: Tensor,
        extrapolate: Tensor,
    ) -> Tensor:
        """Return the loss of a step from `row` towards the observation in row `goal`, (N,) each."""
        batch = torch.arange(len(state), device=state.device)
        q, v = state[batch, row].split(self.n, 1)
        goal_state = state[batch, goal]
        next_row = row + network.direction
        h, remaining = (
            (time[batch, later] - time[batch, row]).abs().to(q)[:, None]
            for later in (next_row, goal)
        )
        q, v = network(
            q,
            v,
            h,
            NextObservation(
                goal_state, torch.where(extrapolate[:, None], torch.inf, remaining / h)
            ),
        )
        error = torch.cat([q, v], 1) - state[batch, next_row]
        velocity_error = error[:, self.n :] / network.velocity_change_std
        return STATE_LOSS_WEIGHT * (error / self.scale).square().mean() + (
            self.config.velocity_l1_weight
            * nn.functional.smooth_l1_loss(
                velocity_error, torch.zeros_like(velocity_error), beta=SMOOTH_L1_BETA
            )
        )

    def forward(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n): both rollouts, weighted by the time from their starts."""
        fine, rows = insert_intermediate_times(observations, self.sample_period)
        before, after = surrounding_observations(fine.mask)
        ahead = self._rollout(self.forward_net, fine, after)
        back = self._rollout(self.backward_net, fine, before)
        batch = torch.arange(len(before))[:, None]
        length = before.shape[1]
        since = (fine.time - fine.time[batch, before.clamp(min=0)]).abs()
        until = (fine.time[batch, after.clamp(max=length - 1)] - fine.time).abs()
        weight = until / (since + until).clamp(min=1e-12)
        weight = torch.where(before < 0, 0.0, torch.where(after >= length, 1.0, weight))[..., None]
        average = weight * ahead + (1 - weight) * back
        return average.to(observations.state)[batch, rows]

    def _rollout(self, network: StepNetwork, observations: Observations, goals: Tensor) -> Tensor:
        """Return the states (B, T, 2n) of a rollout through all rows; zero before its start.

        Args:
            network: one of the two.
            observations: with rows close to each other.
            goals: (B, T) index of the next observed row in the network's direction, or an index
                out of range.
        """
        state, time, mask = observations
        count, length = time.shape
        batch = torch.arange(count)
        q, v = torch.zeros(2, count, self.n).to(state).unbind()
        states = torch.zeros_like(state)
        order = range(length) if network.direction == FORWARD else range(length - 1, -1, -1)
        for row in order:
            last = row - network.direction
            if 0 <= last < length:
                goal = goals[:, row]
                has_goal = (goal >= 0) & (goal < length)
                goal = goal.clamp(0, length - 1)
                h = (time[:, row] - time[:, last]).abs()[:, None]
                remaining = (time[batch, goal] - time[:, last]).abs()[:, None] / h
                steps = torch.where(has_goal[:, None], remaining, torch.inf).to(q)
                goal_state = state[batch, goal]
                q, v = network(q, v, h.to(q), NextObservation(goal_state, steps))
            q, v = (
                torch.where(mask[:, row, None], observed, predicted)
                for observed, predicted in zip(state[:, row].split(self.n, 1), (q, v), strict=True)
            )
            states[:, row] = torch.cat([q, v], 1)
        return states


def _column_std(values: Tensor) -> Tensor:
    """Return the standard deviation (n,) of each column of values (..., n); 1 where it is zero."""
    std = values.flatten(0, -2)[:: max(values.numel() // values.shape[-1] // STD_SAMPLES, 1)].std(
        0
    )
    return torch.where(std > 1e-9, std, torch.ones_like(std))
