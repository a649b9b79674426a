"""One-step prediction networks, forwards and backwards in time: the simplest learned baseline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import Validated
from invdyn_ros.models.timeseries.encoder_model import mlp
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    insert_intermediate_times,
    surrounding_observations,
)
from invdyn_ros.models.timeseries.time_series_model import (
    BACKWARD,
    FORWARD,
    TimeSeriesMetadata,
    TimeSeriesModel,
)

DIRECTIONS = (FORWARD, BACKWARD)  # of each network


@dataclass(frozen=True)
class OneStepConfig(Validated):
    """Shape of the networks."""

    width: PositiveInt = 256
    """Units of each hidden layer."""
    depth: PositiveInt = 2
    """Layers from width to width."""


class OneStep(TimeSeriesModel):
    """Two networks that predict the next and the previous state.

    Between two observations one rollout starts from the first and another from the second; they
    are averaged with weights that are linear in time. States are clamped to the range of the
    training data.
    """

    Config = OneStepConfig
    config: OneStepConfig
    mean: Tensor  # (2n,) of the states
    std: Tensor  # (2n,) of the states
    change_rms: Tensor  # (2n,) root mean square change from sample to sample
    bounds: Tensor  # (2, 2n) smallest and largest states

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Create untrained networks."""
        super().__init__(meta)
        shape = (2 * self.n, self.config.width, self.config.depth, 2 * self.n)
        self.networks = nn.ModuleList(mlp(*shape) for _ in DIRECTIONS)
        for name in ("mean", "std", "change_rms"):
            self.register_buffer(name, torch.full((2 * self.n,), float(name != "mean")))
        self.register_buffer("bounds", torch.tensor([[-1.0], [1.0]]).repeat(1, 2 * self.n))

    def standardise(self, train: Motions) -> None:
        """Set the scales of states and of their changes from the training data."""
        super().standardise(train)
        state = train.state.flatten(0, 1)
        change_rms = train.state.diff(dim=1).square().mean((0, 1)).sqrt()
        self.mean.copy_(state.mean(0))
        for buffer, value in ((self.std, state.std(0)), (self.change_rms, change_rms)):
            buffer.copy_(torch.where(value > 0, value, torch.ones_like(value)))
        self.bounds.copy_(torch.stack([state.amin(0), state.amax(0)]))

    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the mean squared error of standardised changes from sample to sample."""
        steps = (time.diff(dim=1) / self.sample_period).to(state)[..., None]
        change = state.diff(dim=1) / steps / self.change_rms
        ends = state[:, :-1], state[:, 1:]
        errors = [
            (self._predict_change(index, end) - DIRECTIONS[index] * change).square().mean()
            for index, end in enumerate(ends)
        ]
        return torch.stack(errors).mean()

    def forward(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n)."""
        dense, rows = insert_intermediate_times(observations, self.sample_period)
        before, after = surrounding_observations(dense.mask)
        last = dense.mask.shape[1] - 1
        batch = torch.arange(len(rows), device=rows.device)[:, None]
        time_since = dense.time - dense.time[batch, before.clamp(min=0)]
        time_until = dense.time[batch, after.clamp(max=last)] - dense.time
        weight = (time_until / (time_since + time_until).clamp(min=1e-9)).to(self.scale)[..., None]
        weight = torch.where((before < 0)[..., None], 0.0, weight)  # of the forward rollout
        weight = torch.where((after > last)[..., None], 1.0, weight)
        forward_rollout, backward_rollout = (
            self._rollout(index, dense) for index in range(len(DIRECTIONS))
        )
        return torch.lerp(backward_rollout, forward_rollout, weight)[batch, rows]

    def _predict_change(self, index: int, state: Tensor) -> Tensor:
        """Return the standardised change that a network predicts."""
        return self.networks[index]((state - self.mean) / self.std)

    def _rollout(self, index: int, observations: Observations) -> Tensor:
        """Return the states (B, T, 2n) of rollouts from the last observed row."""
        order = range(observations.mask.shape[1])
        state, states = observations.state[:, 0], []
        last = None
        for row in order if DIRECTIONS[index] > 0 else reversed(order):
            if last is not None:
                h = (
                    observations.time[:, row] - observations.time[:, last]
                ).abs() / self.sample_period
                predicted = (
                    state
                    + self._predict_change(index, state) * self.change_rms * h.to(state)[:, None]
                )
                state = predicted.clamp(self.bounds[0], self.bounds[1])
            state = torch.where(observations.mask[:, row, None], observations.state[:, row], state)
            states.append(state)
            last = row
        return torch.stack(states[:: DIRECTIONS[index]], 1)
