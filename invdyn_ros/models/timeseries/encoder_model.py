"""What families that only read observations share: hide rows of motions, say what they were."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor, nn

from invdyn_ros.config import Checked, Constraint, Count, at_least
from invdyn_ros.models.timeseries.observations import Motions, Observations, neighbours, subsampled
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel

UNIT = 200  # samples that are one unit of time, as in the paper
Shares = Annotated[
    tuple[float, ...],
    Constraint("hold shares above 0 up to 1", lambda x: x and min(x) > 0 and max(x) <= 1),
]


@dataclass(frozen=True)
class EncoderDecoderConfig(Checked):
    """What training hides."""

    observed_fractions: Shares = (0.1, 0.2, 0.3, 0.5)
    """Shares of the rows that are seen; each batch has one of them."""
    sequence_length: Annotated[int, at_least(2)] = 100
    """Rows of a piece, drawn anew each time."""
    context_length: Count | None = None
    """Rows at the start of a piece of which some are seen, the rest lies ahead; none: all."""


class Seen(NamedTuple):
    """The observations of B motions alone, at most K each; the rest is padded at the end."""

    state: Tensor  # (B, K, 2n) scaled
    time: Tensor  # (B, K) in units, from the first row of each motion
    real: Tensor  # (B, K) bool


class EncoderDecoder(TimeSeriesModel):
    """A family that reads observations and nothing else; it writes `decoded` and no more."""

    low: Tensor  # (2n,) taken off each column, as in the paper

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Prepare an untrained model."""
        super().__init__(meta)
        self.register_buffer("low", torch.zeros(2 * self.n))

    @abstractmethod
    def decoded(self, seen: Seen, time: Tensor, around: tuple[Tensor, Tensor]) -> Tensor:
        """Return scaled states (B, T, 2n).

        Args:
            seen: observations.
            time: (B, T) in units, from the first row of each motion.
            around: numbers (B, T) of the observation up to each row (-1: none) and of the one
                from it on (K or more: none).
        """

    def penalty(self) -> Tensor | float:
        """Return what else training makes small, once `decoded` has run."""
        return 0.0

    def standardise(self, learn: Motions) -> None:
        """Take scale and least value of each column."""
        super().standardise(learn)
        self.low.copy_(learn.state.flatten(0, -2).amin(0))

    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the mean squared error of scaled states of pieces that are seen in part."""
        length = min(self.config.sight, time.shape[1])
        start = torch.randint(time.shape[1] - length + 1, (len(time), 1), device=time.device)
        rows = start + torch.arange(length, device=time.device)
        each = torch.arange(len(time), device=time.device)[:, None]
        share = self.config.shares[int(torch.randint(len(self.config.shares), ()))]
        record = hidden(state[each, rows], time[each, rows], share, self.config.known)
        found = self._scaled(record)
        wanted = (record.state - self.low) / self.scale
        return (found - wanted).square().mean() + self.penalty()

    def forward(self, record: Observations) -> Tensor:
        """Return states (B, T, 2n)."""
        return torch.addcmul(self.low, self._scaled(record), self.scale)

    def _scaled(self, record: Observations) -> Tensor:
        return self.decoded(*self.observed(record))

    def observed(self, record: Observations) -> tuple[Seen, Tensor, tuple[Tensor, Tensor]]:
        """Return what `decoded` takes."""
        time = ((record.time - record.time[:, :1]) / (UNIT * self.step)).to(self.scale)
        order = (~record.mask).int().sort(dim=1, stable=True).indices  # seen rows first
        order = order[:, : int(record.mask.sum(1).max())]
        each = torch.arange(len(order), device=order.device)[:, None]
        scaled = (record.state[each, order] - self.low) / self.scale
        seen = Seen(scaled, time[each, order], record.mask[each, order])
        before, after = neighbours(record.mask)
        number = record.mask.cumsum(1)  # observations up to each row
        return seen, time, (number - 1, number - (before == after).int())


def hidden(state: Tensor, time: Tensor, share: float, known: int | None) -> Observations:
    """Hide rows of pieces (B, T, 2n): a share of the first `known` ones is seen."""
    first = time.shape[1] if known is None else min(known, time.shape[1] - 1)
    part = subsampled(state[:, :first], time[:, :first], share)
    rest = torch.zeros_like(time[:, first:], dtype=torch.bool)
    return Observations(state, time, torch.cat([part.mask, rest], 1))


def perceptron(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    """Return a network of tanh layers, `depth` of them from width to width."""
    layers: list[nn.Module] = [nn.Linear(inputs, width)]
    for _ in range(depth):
        layers += [nn.Tanh(), nn.Linear(width, width)]
    return nn.Sequential(*layers, nn.Tanh(), nn.Linear(width, outputs))


def since(seen: Seen) -> Tensor:
    """Return the time from each observation to the next one, (B, K, 1), zero after the last."""
    gaps = seen.time.diff(dim=1) * seen.real[:, 1:]
    return nn.functional.pad(gaps, (0, 1)).unsqueeze(2)
