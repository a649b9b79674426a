"""Latent ODEs (Rubanova et al. 2019, arXiv 1907.03907), and their kin with half an ODE or none.

A recurrent encoder reads the observations backwards, from the last to the first, and says where a
latent state z_0 may be (section 3.2); a decoder moves z on and reads states off it. What moves
the encoder between observations is an ODE (ODE-RNN, section 3.1) or nothing (GRU told the times),
what moves z on is an ODE or a recurrent network (RNN-VAE, Chung et al. 2015, arXiv 1506.02216).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from invdyn_ros.config import Count, Positive
from invdyn_ros.paths.encoded import UNIT, Encoded, EncodedConfig, Seen, perceptron, since
from invdyn_ros.paths.path_model import PathMeta

WARM = 0.99  # share of the prior's weight that is still missing, per batch


@dataclass(frozen=True)
class LatentOdeConfig(EncodedConfig):
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


class LatentOde(Encoded):
    """An encoder of observations, a latent state at the first row, and an ODE that moves it on.

    Trained by the evidence lower bound (equation 9 of the paper): squared errors over twice the
    variance, and the distance to a normal prior, which fades in.
    """

    Config = LatentOdeConfig
    config: LatentOdeConfig
    batches: Tensor  # () trained on, which the prior's weight follows

    def __init__(self, meta: PathMeta) -> None:
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
        sizes = self.config.sight * 2 * self.n
        weight = (1 - WARM ** float(self.batches)) * 2 * self.config.noise**2 / sizes
        return weight * self._distance

    def encoded(self, seen: Seen) -> Tensor:
        """Return what is known of each motion at its first row, (B, recognised)."""
        code = torch.zeros(len(seen.time), self.config.recognised).to(seen.state)
        gaps = since(seen.time)
        for k in range(seen.time.shape[1] - 1, -1, -1):
            gap, inputs = gaps[:, k], [seen.state[:, k]]
            if self.config.encoder == "ode":
                code = code - gap * self.drift(code)  # one Euler step, as the authors take
            else:
                inputs.append(gap)
            code = torch.where(seen.real[:, k, None], self.cell(torch.cat(inputs, 1), code), code)
        if self.config.encoder == "ode":
            code = code - seen.time[:, :1] * self.drift(code)
        return code

    def moved(self, start: Tensor, time: Tensor) -> Tensor:
        """Return the latent states (B, T, latent) at times (B, T) from `start` at zero."""
        return solved(self.flow, start, time, self.config.stride / UNIT)


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


class OdeRnn(Encoded):
    """Recurrent units whose code an ODE moves from one observation to the next (section 3.1).

    Each state is read off what was seen up to it: nothing later is known.
    """

    Config = LatentOdeConfig
    config: LatentOdeConfig

    def __init__(self, meta: PathMeta) -> None:
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


def solved(flow: nn.Module, start: Tensor, time: Tensor, step: float) -> Tensor:
    """Solve z' = flow(z) from z(0) = start, by Runge-Kutta steps of fourth order and one size.

    Each motion has steps of its own, as many as the longest needs, none above `step`; at times
    between two of them stands the cubic through their states and slopes, which is as exact.

    Args:
        flow: of states (N, d).
        start: (B, d).
        time: (B, T), from zero up.
        step: longest step.

    Returns:
        States (B, T, d).
    """
    count = max(1, int(torch.ceil(time.max() / step - 1e-6)))
    h = (time.amax(1, keepdim=True) / count).clamp(min=1e-9)  # (B, 1)
    z, slope = start, flow(start)
    states, slopes = [z], [slope]
    for _ in range(count):
        second = flow(z + h / 2 * slope)
        third = flow(z + h / 2 * second)
        fourth = flow(z + h * third)
        z = z + h / 6 * (slope + 2 * second + 2 * third + fourth)
        slope = flow(z)
        states.append(z)
        slopes.append(slope)
    place = (time / h).floor().clamp(0, count - 1).long()
    u = (time / h - place)[..., None]
    each = torch.arange(len(time), device=time.device)[:, None]
    nodes, tilts = torch.stack(states, 1), torch.stack(slopes, 1) * h[..., None]
    a, b = nodes[each, place], nodes[each, place + 1]
    da, db = tilts[each, place], tilts[each, place + 1]
    w = u * u * (3 - 2 * u)
    return a + w * (b - a) + u * (1 - u) * ((1 - u) * da - u * db)
