"""Bridge: average of rollouts of step networks from both neighbouring observations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    insert_intermediate_times,
    surrounding_observations,
)
from invdyn_ros.models.timeseries.step_network import (
    BridgeConfig,
    NextObservation,
    StepNetwork,
)
from invdyn_ros.models.timeseries.time_series_model import (
    BACKWARD,
    FORWARD,
    TimeSeriesMetadata,
    TimeSeriesModel,
)

STATE_LOSS_WEIGHT = 1e3  # of squared scaled errors, so that the loss is of order one
SMOOTH_L1_BETA = 0.1  # standardised velocity errors below which the L1 loss is quadratic
STD_SAMPLES = 20_000  # states from which standard deviations are computed


class Bridge(TimeSeriesModel):
    """Average of rollouts from the observations before and after each time.

    Before the first observation and after the last one there is only one rollout.
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
                    f"invariant_joints: no joint '{name}'; {meta.robot} has "
                    f"{', '.join(meta.joint_names)}"
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
        """Return the loss of a step from each motion's `row` (N,) towards its row `goal` (N,)."""
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
        dense, rows = insert_intermediate_times(observations, self.sample_period)
        before, after = surrounding_observations(dense.mask)
        forward_rollout = self._rollout(self.forward_net, dense, after)
        backward_rollout = self._rollout(self.backward_net, dense, before)
        batch = torch.arange(len(before))[:, None]
        length = before.shape[1]
        time_since = (dense.time - dense.time[batch, before.clamp(min=0)]).abs()
        time_until = (dense.time[batch, after.clamp(max=length - 1)] - dense.time).abs()
        weight = time_until / (time_since + time_until).clamp(min=1e-12)
        weight = torch.where(before < 0, 0.0, torch.where(after >= length, 1.0, weight))[..., None]
        average = weight * forward_rollout + (1 - weight) * backward_rollout
        return average.to(observations.state)[batch, rows]

    def _rollout(self, network: StepNetwork, observations: Observations, goals: Tensor) -> Tensor:
        """Return the states (B, T, 2n) of a rollout through all rows; zero before its start.

        Args:
            network: one of the two networks.
            observations: motions with rows at most one sample period apart.
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
