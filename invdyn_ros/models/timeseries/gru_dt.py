"""GRU with time intervals as inputs: a recurrent baseline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from invdyn_ros.models.timeseries.encoder_model import (
    EncoderDecoder,
    EncoderDecoderConfig,
    EncoderInput,
    mlp,
    time_to_next,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata


@dataclass(frozen=True)
class GruDtConfig(EncoderDecoderConfig):
    """Shape of the network."""

    width: PositiveInt = 128
    """Units of each GRU and of the decoder."""


class GruDt(EncoderDecoder):
    """Two GRUs over the observations and the intervals between them, forwards and backwards.

    A state is decoded from the hidden states at the observations before and after it, and from
    the time to both.
    """

    Config = GruDtConfig
    config: GruDtConfig

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Create an untrained network."""
        super().__init__(meta)
        width, inputs = self.config.width, 2 * self.n + 1
        self.past_encoder = nn.GRU(inputs, width, batch_first=True)
        self.future_encoder = nn.GRU(inputs, width, batch_first=True)
        self.missing_code = nn.Parameter(torch.zeros(2, width))
        self.decoder = mlp(2 * width + 4, width, 1, 2 * self.n)

    def decode(
        self, inputs: EncoderInput, time: Tensor, neighbours: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return scaled states (B, T, 2n).

        Args:
            inputs: observations for the encoder.
            time: (B, T) times of the states [s].
            neighbours: indices (B, T) of the observations before and after each time.
        """
        count = inputs.mask.sum(1)
        batch = torch.arange(len(count), device=count.device)[:, None]
        interval = time_to_next(inputs)
        past, _ = self.past_encoder(torch.cat([inputs.state, interval.roll(1, 1)], 2))
        # each motion is reversed from its own end, so that the padding comes last
        reverse = (
            count[:, None] - 1 - torch.arange(inputs.time.shape[1], device=count.device)
        ) % (inputs.time.shape[1])
        future, _ = self.future_encoder(torch.cat([inputs.state, interval], 2)[batch, reverse])
        future = future[batch, reverse]
        features = []
        for codes, index, missing in zip(
            (past, future), neighbours, self.missing_code, strict=True
        ):
            exists = (index >= 0) & (index < count[:, None])
            clamped = index.clamp(min=0).minimum(count[:, None] - 1)
            code = torch.where(exists[..., None], codes[batch, clamped], missing)
            distance = torch.where(exists, (time - inputs.time[batch, clamped]).abs(), 0.0)
            features += [code, distance[..., None], exists[..., None].to(time)]
        return self.decoder(torch.cat(features, 2))
