"""A recurrent network that is told how long nobody looked: the plain baseline that learns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from invdyn_ros.config import Count
from invdyn_ros.models.timeseries.encoder_model import (
    EncoderDecoder,
    EncoderDecoderConfig,
    Seen,
    perceptron,
    since,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata


@dataclass(frozen=True)
class GruDtConfig(EncoderDecoderConfig):
    """Shape of the network."""

    width: Count = 128
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
        self.past = nn.GRU(inputs, width, batch_first=True)
        self.future = nn.GRU(inputs, width, batch_first=True)
        self.empty = nn.Parameter(torch.zeros(2, width))
        self.decode = perceptron(2 * width + 4, width, 1, 2 * self.n)

    def decoded(self, seen: Seen, time: Tensor, around: tuple[Tensor, Tensor]) -> Tensor:
        """Return scaled states (B, T, 2n)."""
        count = seen.real.sum(1)
        each = torch.arange(len(count), device=count.device)[:, None]
        gap = since(seen)
        past, _ = self.past(torch.cat([seen.state, gap.roll(1, 1)], 2))
        # each motion from its own end, so that padding comes last
        back = (count[:, None] - 1 - torch.arange(seen.time.shape[1], device=count.device)) % (
            seen.time.shape[1]
        )
        future, _ = self.future(torch.cat([seen.state, gap], 2)[each, back])
        future = future[each, back]
        parts = []
        for codes, number, empty in zip((past, future), around, self.empty, strict=True):
            there = (number >= 0) & (number < count[:, None])
            place = number.clamp(min=0).minimum(count[:, None] - 1)
            code = torch.where(there[..., None], codes[each, place], empty)
            away = torch.where(there, (time - seen.time[each, place]).abs(), 0.0)
            parts += [code, away[..., None], there[..., None].to(time)]
        return self.decode(torch.cat(parts, 2))
