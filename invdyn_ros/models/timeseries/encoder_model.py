"""Base class of time-series models with an encoder, trained on partly observed motions."""

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

TIME_UNIT = 200  # samples per unit of time, as in Rubanova et al.
Fractions = Annotated[tuple[Fraction, ...], Field(min_length=1)]


@dataclass(frozen=True)
class EncoderDecoderConfig(Validated):
    """Sampling of the training batches."""

    observed_fractions: Fractions = (0.1, 0.2, 0.3, 0.5)
    """Fractions of the samples that are observed; each batch draws one of them."""
    sequence_length: Annotated[int, Field(ge=2)] = 100
    """Samples of a sequence, drawn at random from each motion."""
    context_length: PositiveInt | None = None
    """Samples at the start of a sequence that may be observed; the rest is extrapolated.
    None: all."""


class EncoderInput(NamedTuple):
    """The observations of B motions, at most K each, padded at the end."""

    state: Tensor  # (B, K, 2n) scaled
    time: Tensor  # (B, K) in units, from the first row of each motion
    mask: Tensor  # (B, K) bool, false in the padding


class EncoderDecoder(TimeSeriesModel):
    """A time-series model that encodes the observations; a family implements `decode`."""

    offset: Tensor  # (2n,) subtracted from each column, as in Rubanova et al.

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Create an untrained model."""
        super().__init__(meta)
        self.register_buffer("offset", torch.zeros(2 * self.n))

    @abstractmethod
    def decode(
        self, inputs: EncoderInput, time: Tensor, neighbours: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return scaled states (B, T, 2n).

        Args:
            inputs: observations.
            time: (B, T) in units, from the first row of each motion.
            neighbours: indices (B, T) of the last observation up to each row (-1: none) and of the
                first from that row on (K or more: none).
        """

    def regularization(self) -> Tensor | float:
        """Return the regularization term of the loss, after `decode` has run."""
        return 0.0

    def standardise(self, train: Motions) -> None:
        """Set scale and offset of each column from the training data."""
        super().standardise(train)
        self.offset.copy_(train.state.flatten(0, -2).amin(0))

    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the mean squared error of scaled states of random, partly observed sequences."""
        length = min(self.config.sequence_length, time.shape[1])
        start = torch.randint(time.shape[1] - length + 1, (len(time), 1), device=time.device)
        rows = start + torch.arange(length, device=time.device)
        batch = torch.arange(len(time), device=time.device)[:, None]
        fractions = self.config.observed_fractions
        fraction = fractions[int(torch.randint(len(fractions), ()))]
        observations = mask_rows(
            state[batch, rows], time[batch, rows], fraction, self.config.context_length
        )
        predicted = self._predict_scaled(observations)
        target = (observations.state - self.offset) / self.scale
        return (predicted - target).square().mean() + self.regularization()

    def forward(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n)."""
        return torch.addcmul(self.offset, self._predict_scaled(observations), self.scale)

    def _predict_scaled(self, observations: Observations) -> Tensor:
        return self.decode(*self.encoder_inputs(observations))

    def encoder_inputs(
        self, observations: Observations
    ) -> tuple[EncoderInput, Tensor, tuple[Tensor, Tensor]]:
        """Return the arguments of `decode`."""
        mask = observations.mask
        elapsed = observations.time - observations.time[:, :1]
        time = (elapsed / (TIME_UNIT * self.sample_period)).to(self.scale)
        order = (~mask).int().sort(dim=1, stable=True).indices  # observed rows first
        order = order[:, : int(mask.sum(1).max())]
        batch = torch.arange(len(order), device=order.device)[:, None]
        scaled = (observations.state[batch, order] - self.offset) / self.scale
        inputs = EncoderInput(scaled, time[batch, order], mask[batch, order])
        before, after = surrounding_observations(mask)
        count = mask.cumsum(1)  # observations up to each row
        return inputs, time, (count - 1, count - (before == after).int())


def mask_rows(
    state: Tensor, time: Tensor, fraction: float, context_length: int | None
) -> Observations:
    """Observe a random fraction of the first `context_length` rows of sequences.

    Args:
        state: (B, T, 2n).
        time: (B, T) [s].
        fraction: fraction of the rows of the context that are observed.
        context_length: rows of the context; None: all.
    """
    length = time.shape[1] if context_length is None else min(context_length, time.shape[1] - 1)
    context = subsample(state[:, :length], time[:, :length], fraction)
    future = torch.zeros_like(time[:, length:], dtype=torch.bool)
    return Observations(state, time, torch.cat([context.mask, future], 1))


def mlp(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    """Return a multilayer perceptron with tanh activations.

    Args:
        inputs: number of inputs.
        width: units of each hidden layer.
        depth: layers from width to width.
        outputs: number of outputs.
    """
    layers: list[nn.Module] = [nn.Linear(inputs, width)]
    for _ in range(depth):
        layers += [nn.Tanh(), nn.Linear(width, width)]
    return nn.Sequential(*layers, nn.Tanh(), nn.Linear(width, outputs))


def time_to_next(inputs: EncoderInput) -> Tensor:
    """Return the time from each observation to the next one, (B, K, 1), zero after the last."""
    intervals = inputs.time.diff(dim=1) * inputs.mask[:, 1:]
    return nn.functional.pad(intervals, (0, 1)).unsqueeze(2)
