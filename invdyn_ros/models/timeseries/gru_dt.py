"""A recurrent network that is told how long nobody looked: the plain baseline that learns."""

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
    """Units of each recurrent layer and of the decoder."""


class GruDt(EncoderDecoder):
    """Gated recurrent units read observations and the times between, from both ends.

    A state is decoded from what is known up to the observation before it and from the one after,
    and from how far away both are.
    """

    Config = GruDtConfig
    config: GruDtConfig

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Build the network with fresh weights."""
        super().__init__(meta)
        width, inputs = self.config.width, 2 * self.n + 1
        self.past_encoder = nn.GRU(inputs, width, batch_first=True)
        self.future_encoder = nn.GRU(inputs, width, batch_first=True)
        self.missing_code = nn.Parameter(torch.zeros(2, width))
        self.decoder = mlp(2 * width + 4, width, 1, 2 * self.n)

    def decode(
        self, inputs: EncoderInput, time: Tensor, neighbours: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return scaled states (B, T, 2n)."""
        count = inputs.mask.sum(1)
        each = torch.arange(len(count), device=count.device)[:, None]
        gap = time_to_next(inputs)
        past_encoder, _ = self.past_encoder(torch.cat([inputs.state, gap.roll(1, 1)], 2))
        # each motion from its own end, so that padding comes last
        back = (count[:, None] - 1 - torch.arange(inputs.time.shape[1], device=count.device)) % (
            inputs.time.shape[1]
        )
        future_encoder, _ = self.future_encoder(torch.cat([inputs.state, gap], 2)[each, back])
        future_encoder = future_encoder[each, back]
        parts = []
        for codes, number, missing_code in zip(
            (past_encoder, future_encoder), neighbours, self.missing_code, strict=True
        ):
            there = (number >= 0) & (number < count[:, None])
            place = number.clamp(min=0).minimum(count[:, None] - 1)
            code = torch.where(there[..., None], codes[each, place], missing_code)
            away = torch.where(there, (time - inputs.time[each, place]).abs(), 0.0)
            parts += [code, away[..., None], there[..., None].to(time)]
        return self.decoder(torch.cat(parts, 2))
