"""Two perceptrons that go on by a sample, there and back: the plainest walker, a baseline."""

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
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel

DIRECTIONS = (1, -1)  # forward in time and back


@dataclass(frozen=True)
class OneStepConfig(Validated):
    """Shape of the networks."""

    width: PositiveInt = 256
    """Units of each hidden layer."""
    depth: PositiveInt = 2
    """Layers from width to width."""


class OneStep(TimeSeriesModel):
    """A state tells the next one and the one before; each network learns from such pairs alone.

    Between two observations one walks on from the first and back from the second, and believes
    each in proportion to how near it began. States stay within what the training data have.
    """

    Config = OneStepConfig
    config: OneStepConfig
    mean: Tensor  # (2n,) mean of the states
    std: Tensor  # (2n,) their deviation
    change_rms: Tensor  # (2n,) root mean square change in a sample
    bounds: Tensor  # (2, 2n) least and greatest states

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Build the networks with fresh weights."""
        super().__init__(meta)
        shape = (2 * self.n, self.config.width, self.config.depth, 2 * self.n)
        self.networks = nn.ModuleList(mlp(*shape) for _ in DIRECTIONS)
        for name in ("mean", "std", "change_rms"):
            self.register_buffer(name, torch.full((2 * self.n,), float(name != "mean")))
        self.register_buffer("bounds", torch.tensor([[-1.0], [1.0]]).repeat(1, 2 * self.n))

    def standardise(self, train: Motions) -> None:
        """Take the scales of states and of their changes."""
        super().standardise(train)
        state = train.state.flatten(0, 1)
        change = train.state.diff(dim=1).square().mean((0, 1)).sqrt()
        self.mean.copy_(state.mean(0))
        for own, value in ((self.std, state.std(0)), (self.change_rms, change)):
            own.copy_(torch.where(value > 0, value, torch.ones_like(value)))
        self.bounds.copy_(torch.stack([state.amin(0), state.amax(0)]))

    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the mean squared error of changes from sample to sample, in their own sizes."""
        share = (time.diff(dim=1) / self.sample_period).to(state)[..., None]
        change = state.diff(dim=1) / share / self.change_rms
        ends = state[:, :-1], state[:, 1:]
        errors = [
            (self._predict_change(way, end) - DIRECTIONS[way] * change).square().mean()
            for way, end in enumerate(ends)
        ]
        return torch.stack(errors).mean()

    def forward(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n)."""
        fine, rows = insert_intermediate_times(observations, self.sample_period)
        before, after = surrounding_observations(fine.mask)
        last = fine.mask.shape[1] - 1
        each = torch.arange(len(rows), device=rows.device)[:, None]
        since = fine.time - fine.time[each, before.clamp(min=0)]
        until = fine.time[each, after.clamp(max=last)] - fine.time
        near = (until / (since + until).clamp(min=1e-9)).to(self.scale)[..., None]
        near = torch.where((before < 0)[..., None], 0.0, near)  # of the walk from before
        near = torch.where((after > last)[..., None], 1.0, near)
        on, back = (self._rollout(way, fine) for way in range(len(DIRECTIONS)))
        return torch.lerp(back, on, near)[each, rows]

    def _predict_change(self, index: int, state: Tensor) -> Tensor:
        """Return the changes that a network says, in their own sizes."""
        return self.networks[index]((state - self.mean) / self.std)

    def _rollout(self, index: int, observations: Observations) -> Tensor:
        """Return where walks from the last row seen come along, (B, T, 2n)."""
        order = range(observations.mask.shape[1])
        state, found = observations.state[:, 0], []
        last = None
        for row in order if DIRECTIONS[index] > 0 else reversed(order):
            if last is not None:
                h = (
                    observations.time[:, row] - observations.time[:, last]
                ).abs() / self.sample_period
                moved = (
                    state
                    + self._predict_change(index, state) * self.change_rms * h.to(state)[:, None]
                )
                state = moved.clamp(self.bounds[0], self.bounds[1])
            state = torch.where(observations.mask[:, row, None], observations.state[:, row], state)
            found.append(state)
            last = row
        return torch.stack(found[:: DIRECTIONS[index]], 1)
