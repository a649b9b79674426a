"""Latent ODEs (Rubanova et al. 2019, arXiv 1907.03907), and their kin with half an ODE or none.

A recurrent encoder reads the observations backwards, from the last to the first, and says where a
latent state z_0 may be (section 3.2); a decoder moves z on and reads states off it. What moves
the encoder between observations is an ODE (ODE-RNN, section 3.1) or nothing (GRU told the times),
what moves z on is an ODE or a recurrent network (RNN-VAE, Chung et al. 2015, arXiv 1506.02216).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from invdyn_ros.config import Count, Positive
from invdyn_ros.models.timeseries.encoder_model import (
    UNIT,
    EncoderDecoder,
    EncoderDecoderConfig,
    Seen,
    perceptron,
    since,
)
from invdyn_ros.models.timeseries.fused_gradients import repeated, repeated_cell
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata

WARM = 0.99  # share of the prior's weight that is still missing, per batch
LONGER = 0.3  # by which a step of the solver may be longer in training, so that none is learned


@dataclass(frozen=True)
class LatentOdeConfig(EncoderDecoderConfig):
    """Shape of the networks; defaults are those of the paper's hopper."""

    encoder: Literal["ode", "rnn"] = "ode"
    """What moves the encoder between observations: an ODE, or nothing."""
    latent: Count = 15
    """Numbers of the latent state."""
    recognised: Count = 30
    """Units of the encoder."""
    width: Count = 300
    """Units of each hidden layer of the ODEs."""
    depth: Count = 3
    """Hidden layers from width to width."""
    stride: Count = 50
    """Samples that a step of the solver spans; between steps a cubic stands for the solution."""
    noise: Positive = 0.01
    """Deviation of scaled observations that the likelihood assumes."""


@dataclass(frozen=True)
class RnnVaeConfig(LatentOdeConfig):
    """Shape of the networks."""

    encoder: Literal["ode", "rnn"] = "rnn"
    """What moves the encoder between observations: an ODE, or nothing."""


class LatentOde(EncoderDecoder):
    """An encoder of observations, a latent state at the first row, and an ODE that moves it on.

    Trained by the evidence lower bound (equation 9 of the paper): squared errors over twice the
    variance, and the distance to a normal prior, which fades in.
    """

    Config = LatentOdeConfig
    config: LatentOdeConfig
    batches: Tensor  # () trained on, which the prior's weight follows

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Build the networks with fresh weights."""
        super().__init__(meta)
        c = self.config
        self.cell = nn.GRUCell(2 * self.n + (c.encoder == "rnn"), c.recognised)
        if c.encoder == "ode":
            self.drift = perceptron(c.recognised, c.width, c.depth, c.recognised)
        self.guess = perceptron(c.recognised, 100, 0, 2 * c.latent)
        self.read = nn.Linear(c.latent, 2 * self.n)
        self.register_buffer("batches", torch.zeros(()))
        self._mover()
        self._distance: Tensor | float = 0.0

    def _mover(self) -> None:
        """Build what moves the latent state."""
        c = self.config
        self.flow = perceptron(c.latent, c.width, c.depth, c.latent)

    def decoded(self, seen: Seen, time: Tensor, around: tuple[Tensor, Tensor]) -> Tensor:
        """Return scaled states (B, T, 2n); in training of a latent state that is drawn."""
        mean, spread = self.guess(self.encoded(seen)).chunk(2, 1)
        spread = nn.functional.softplus(spread) + 1e-4
        start = mean
        if self.training:
            start = mean + spread * torch.randn_like(mean)
            self.batches += 1
        self._distance = (0.5 * (mean.square() + spread.square() - 1) - spread.log()).sum(1).mean()
        return self.read(self.moved(start, time))

    def penalty(self) -> Tensor | float:
        """Return the prior's part, as large against squared errors as in the bound."""
        if not self.training:
            return 0.0
        sizes = self.config.sequence_length * 2 * self.n
        weight = (1 - WARM ** float(self.batches)) * 2 * self.config.noise**2 / sizes
        return weight * self._distance

    def encoded(self, seen: Seen) -> Tensor:
        """Return what is known of each motion at its first row, (B, recognised)."""
        code = torch.zeros(len(seen.time), self.config.recognised).to(seen.state)
        gaps, last = since(seen), seen.time.shape[1] - 1
        whole = seen.real.all(0).tolist()
        cell = repeated_cell(self.cell)
        drift = repeated(self.drift) if self.config.encoder == "ode" else None
        for k in range(last, -1, -1):
            state, gap = seen.state[:, k], gaps[:, k]
            if drift is None:
                state = torch.cat([state, gap], 1)
            elif k < last:
                code = code.addcmul(gap, drift(code), value=-1)  # Euler, as the authors take
            told = cell(state, code)
            code = told if whole[k] else torch.where(seen.real[:, k, None], told, code)
        if drift is None:
            return code
        return code.addcmul(seen.time[:, :1], drift(code), value=-1)

    def moved(self, start: Tensor, time: Tensor) -> Tensor:
        """Return the latent states (B, T, latent) at times (B, T) from `start` at zero."""
        step = self.config.stride / UNIT
        if self.training:
            step *= 1 + LONGER * float(torch.rand(()))
        return solved(repeated(self.flow), start, time, step)


class RnnVae(LatentOde):
    """The same with recurrent units in place of both ODEs, told the time from row to row."""

    Config = RnnVaeConfig

    def _mover(self) -> None:
        self.next = nn.GRUCell(1, self.config.latent)

    def moved(self, start: Tensor, time: Tensor) -> Tensor:
        """Return the latent states (B, T, latent) at times (B, T) from `start` at zero."""
        gaps = nn.functional.pad(time.diff(dim=1), (1, 0))
        z, found = start, []
        for gap in gaps.split(1, 1):
            z = self.next(gap, z)
            found.append(z)
        return torch.stack(found, 1)


class OdeRnn(EncoderDecoder):
    """Recurrent units whose code an ODE moves from one observation to the next (section 3.1).

    Each state is read off what was seen up to it: nothing later is known.
    """

    Config = LatentOdeConfig
    config: LatentOdeConfig

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Build the networks with fresh weights."""
        super().__init__(meta)
        c = self.config
        self.cell = nn.GRUCell(2 * self.n, c.recognised)
        self.drift = perceptron(c.recognised, c.width, c.depth, c.recognised)
        self.read = perceptron(c.recognised, 100, 0, 2 * self.n)

    def decoded(self, seen: Seen, time: Tensor, around: tuple[Tensor, Tensor]) -> Tensor:
        """Return scaled states (B, T, 2n)."""
        code = torch.zeros(len(time), self.config.recognised).to(time)
        last, codes = torch.zeros_like(time[:, 0]), [code]
        for k in range(seen.time.shape[1]):
            there, real = seen.time[:, k], seen.real[:, k, None]
            moved = code + (there - last)[:, None] * self.drift(code)
            code = torch.where(real, self.cell(seen.state[:, k], moved), code)
            last = torch.where(real[:, 0], there, last)
            codes.append(code)
        each = torch.arange(len(time), device=time.device)[:, None]
        number = around[0] + 1  # observations up to each row
        begun = nn.functional.pad(seen.time, (1, 0))[each, number]
        known = torch.stack(codes, 1)[each, number]
        away = (time - begun)[..., None]
        return self.read(known + away * self.drift(known))


def solved(flow: Callable[[Tensor], Tensor], start: Tensor, time: Tensor, step: float) -> Tensor:
    """Solve z' = flow(z) from z(0) = start, by steps of one size and of third order.

    They are those of Bogacki and Shampine, which evaluate `flow` three times each. At times
    between two steps stands the cubic through their states and slopes, which is as exact. Where
    the steps are does not follow from the times, so no answer depends on what else is asked.

    Args:
        flow: of states (N, d).
        start: (B, d).
        time: (B, T), from zero up.
        step: size of a step.

    Returns:
        States (B, T, d).
    """
    count = max(1, int(torch.ceil(time.max() / step - 1e-6)))
    z, slope = start, flow(start)
    cubics = []  # (B, 4d) coefficients of powers of the share of a step
    for _ in range(count):
        second = flow(z.add(slope, alpha=step / 2))
        third = flow(z.add(second, alpha=step * 3 / 4))
        moved = slope.mul(2 / 9).add(second, alpha=1 / 3).add(third, alpha=4 / 9) * step
        z, last, slope = z + moved, slope, flow(z + moved)
        bend = (slope + last).mul(step).sub(moved, alpha=2)
        cubics.append(torch.cat([z - moved, last * step, moved - last * step - bend, bend], 1))
    place = (time / step).floor().clamp(0, count - 1).long()
    row = place + torch.arange(len(time), device=time.device)[:, None] * count
    found = torch.stack(cubics, 1).flatten(0, 1).index_select(0, row.flatten())
    a, b, c, d = found.view(*time.shape, -1).chunk(4, 2)
    u = (time / step - place)[..., None]
    return a.addcmul(u, b.addcmul(u, c.addcmul(u, d)))
