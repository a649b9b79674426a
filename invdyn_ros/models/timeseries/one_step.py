"""Two perceptrons that go on by a sample, there and back: the plainest walker, a baseline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from invdyn_ros.config import Checked, Count
from invdyn_ros.models.timeseries.encoder_model import perceptron
from invdyn_ros.models.timeseries.observations import Motions, Observations, neighbours, refined
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel

DIRECTIONS = (1, -1)  # forward in time and back


@dataclass(frozen=True)
class OneStepConfig(Checked):
    """Shape of the networks."""

    width: Count = 256
    """Units of each hidden layer."""
    depth: Count = 2
    """Layers from width to width."""


class OneStep(TimeSeriesModel):
    """A state tells the next one and the one before; each network learns from such pairs alone.

    Between two observations one walks on from the first and back from the second, and believes
    each in proportion to how near it began. States stay within what the training data have.
    """

    Config = OneStepConfig
    config: OneStepConfig
    centre: Tensor  # (2n,) mean of the states
    spread: Tensor  # (2n,) their deviation
    change: Tensor  # (2n,) root mean square change in a sample
    edges: Tensor  # (2, 2n) least and greatest states

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Build the networks with fresh weights."""
        super().__init__(meta)
        shape = (2 * self.n, self.config.width, self.config.depth, 2 * self.n)
        self.walks = nn.ModuleList(perceptron(*shape) for _ in DIRECTIONS)
        for name in ("centre", "spread", "change"):
            self.register_buffer(name, torch.full((2 * self.n,), float(name != "centre")))
        self.register_buffer("edges", torch.tensor([[-1.0], [1.0]]).repeat(1, 2 * self.n))

    def standardise(self, learn: Motions) -> None:
        """Take the scales of states and of their changes."""
        super().standardise(learn)
        state = learn.state.flatten(0, 1)
        change = learn.state.diff(dim=1).square().mean((0, 1)).sqrt()
        self.centre.copy_(state.mean(0))
        for own, value in ((self.spread, state.std(0)), (self.change, change)):
            own.copy_(torch.where(value > 0, value, torch.ones_like(value)))
        self.edges.copy_(torch.stack([state.amin(0), state.amax(0)]))

    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the mean squared error of changes from sample to sample, in their own sizes."""
        share = (time.diff(dim=1) / self.step).to(state)[..., None]
        change = state.diff(dim=1) / share / self.change
        ends = state[:, :-1], state[:, 1:]
        errors = [
            (self._change(way, end) - DIRECTIONS[way] * change).square().mean()
            for way, end in enumerate(ends)
        ]
        return torch.stack(errors).mean()

    def forward(self, record: Observations) -> Tensor:
        """Return states (B, T, 2n)."""
        fine, rows = refined(record, self.step)
        before, after = neighbours(fine.mask)
        last = fine.mask.shape[1] - 1
        each = torch.arange(len(rows), device=rows.device)[:, None]
        since = fine.time - fine.time[each, before.clamp(min=0)]
        until = fine.time[each, after.clamp(max=last)] - fine.time
        near = (until / (since + until).clamp(min=1e-9)).to(self.scale)[..., None]
        near = torch.where((before < 0)[..., None], 0.0, near)  # of the walk from before
        near = torch.where((after > last)[..., None], 1.0, near)
        on, back = (self._walked(way, fine) for way in range(len(DIRECTIONS)))
        return torch.lerp(back, on, near)[each, rows]

    def _change(self, way: int, state: Tensor) -> Tensor:
        """Return the changes that a network says, in their own sizes."""
        return self.walks[way]((state - self.centre) / self.spread)

    def _walked(self, way: int, record: Observations) -> Tensor:
        """Return where walks from the last row seen come along, (B, T, 2n)."""
        order = range(record.mask.shape[1])
        state, found = record.state[:, 0], []
        last = None
        for row in order if DIRECTIONS[way] > 0 else reversed(order):
            if last is not None:
                h = (record.time[:, row] - record.time[:, last]).abs() / self.step
                moved = state + self._change(way, state) * self.change * h.to(state)[:, None]
                state = moved.clamp(self.edges[0], self.edges[1])
            state = torch.where(record.mask[:, row, None], record.state[:, row], state)
            found.append(state)
            last = row
        return torch.stack(found[:: DIRECTIONS[way]], 1)
