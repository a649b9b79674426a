"""What families that only read observations share: hide rows of motions, say what they were."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import Fraction, Validated
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    subsample,
    surrounding_observations,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel

TIME_UNIT = 200  # samples that are one unit of time, as in the paper
Fractions = Annotated[tuple[Fraction, ...], Field(min_length=1)]


@dataclass(frozen=True)
class EncoderDecoderConfig(Validated):
    """What training hides."""

    observed_fractions: Fractions = (0.1, 0.2, 0.3, 0.5)
    """Shares of the rows that are seen; each batch has one of them."""
    sequence_length: Annotated[int, Field(ge=2)] = 100
    """Rows of a piece, drawn anew each time."""
    context_length: PositiveInt | None = None
    """Rows at the start of a piece of which some are seen, the rest lies ahead; none: all."""


class EncoderInput(NamedTuple):
    """The observations of B motions alone, at most K each; the rest is padded at the end."""

    state: Tensor  # (B, K, 2n) scaled
    time: Tensor  # (B, K) in units, from the first row of each motion
    mask: Tensor  # (B, K) bool


class EncoderDecoder(TimeSeriesModel):
    """A family that reads observations and nothing else; it writes `decoded` and no more."""

    offset: Tensor  # (2n,) taken off each column, as in the paper

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Prepare an untrained model."""
        super().__init__(meta)
        self.register_buffer("offset", torch.zeros(2 * self.n))

    @abstractmethod
    def decode(
        self, inputs: EncoderInput, time: Tensor, neighbours: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return scaled states (B, T, 2n).

        Args:
            seen: observations.
            time: (B, T) in units, from the first row of each motion.
            around: numbers (B, T) of the observation up to each row (-1: none) and of the one
                from it on (K or more: none).
        """

    def regularization(self) -> Tensor | float:
        """Return what else training makes small, once `decoded` has run."""
        return 0.0

    def standardise(self, train: Motions) -> None:
        """Take scale and least value of each column."""
        super().standardise(train)
        self.offset.copy_(train.state.flatten(0, -2).amin(0))

    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the mean squared error of scaled states of pieces that are seen in part."""
        length = min(self.config.sequence_length, time.shape[1])
        start = torch.randint(time.shape[1] - length + 1, (len(time), 1), device=time.device)
        rows = start + torch.arange(length, device=time.device)
        each = torch.arange(len(time), device=time.device)[:, None]
        share = self.config.observed_fractions[
            int(torch.randint(len(self.config.observed_fractions), ()))
        ]
        record = mask_rows(state[each, rows], time[each, rows], share, self.config.context_length)
        found = self._predict_scaled(record)
        wanted = (record.state - self.offset) / self.scale
        return (found - wanted).square().mean() + self.regularization()

    def forward(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n)."""
        return torch.addcmul(self.offset, self._predict_scaled(observations), self.scale)

    def _predict_scaled(self, record: Observations) -> Tensor:
        return self.decode(*self.encoder_inputs(record))

    def encoder_inputs(
        self, observations: Observations
    ) -> tuple[EncoderInput, Tensor, tuple[Tensor, Tensor]]:
        """Return what `decoded` takes."""
        time = (
            (observations.time - observations.time[:, :1]) / (TIME_UNIT * self.sample_period)
        ).to(self.scale)
        order = (~observations.mask).int().sort(dim=1, stable=True).indices  # seen rows first
        order = order[:, : int(observations.mask.sum(1).max())]
        each = torch.arange(len(order), device=order.device)[:, None]
        scaled = (observations.state[each, order] - self.offset) / self.scale
        seen = EncoderInput(scaled, time[each, order], observations.mask[each, order])
        before, after = surrounding_observations(observations.mask)
        number = observations.mask.cumsum(1)  # observations up to each row
        return seen, time, (number - 1, number - (before == after).int())


def mask_rows(
    state: Tensor, time: Tensor, fraction: float, context_length: int | None
) -> Observations:
    """Hide rows of pieces (B, T, 2n): a share of the first `known` ones is seen."""
    first = time.shape[1] if context_length is None else min(context_length, time.shape[1] - 1)
    part = subsample(state[:, :first], time[:, :first], fraction)
    rest = torch.zeros_like(time[:, first:], dtype=torch.bool)
    return Observations(state, time, torch.cat([part.mask, rest], 1))


def mlp(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    """Return a network of tanh layers, `depth` of them from width to width."""
    layers: list[nn.Module] = [nn.Linear(inputs, width)]
    for _ in range(depth):
        layers += [nn.Tanh(), nn.Linear(width, width)]
    return nn.Sequential(*layers, nn.Tanh(), nn.Linear(width, outputs))


def time_to_next(inputs: EncoderInput) -> Tensor:
    """Return the time from each observation to the next one, (B, K, 1), zero after the last."""
    gaps = inputs.time.diff(dim=1) * inputs.mask[:, 1:]
    return nn.functional.pad(gaps, (0, 1)).unsqueeze(2)
