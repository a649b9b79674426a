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
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from invdyn_ros.models.timeseries.encoder_model import (
    TIME_UNIT,
    EncoderDecoder,
    EncoderDecoderConfig,
    EncoderInput,
    mlp,
    time_to_next,
)
from invdyn_ros.models.timeseries.fused_gradients import fused_gru_cell, fused_mlp
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata

KL_ANNEALING = 0.99  # share of the prior's weight that is still missing, per batch
MAX_STEP_JITTER = (
    0.3  # by which a step of the solver may be longer in training, so that none is learned
)


@dataclass(frozen=True)
class LatentOdeConfig(EncoderDecoderConfig):
    """Shape of the networks; defaults are those of the paper's hopper."""

    encoder: Literal["ode", "rnn"] = "ode"
    """What moves the encoder between observations: an ODE, or nothing."""
    latent_dim: PositiveInt = 15
    """Numbers of the latent state."""
    recognition_dim: PositiveInt = 30
    """Units of the encoder."""
    width: PositiveInt = 300
    """Units of each hidden layer of the ODEs."""
    depth: PositiveInt = 3
    """Hidden layers from width to width."""
    solver_stride: PositiveInt = 50
    """Samples that a step of the solver spans; between steps a cubic stands for the solution."""
    observation_std: PositiveFloat = 0.01
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
    num_batches: Tensor  # () trained on, which the prior's weight follows

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Build the networks with fresh weights."""
        super().__init__(meta)
        c = self.config
        self.encoder_cell = nn.GRUCell(2 * self.n + (c.encoder == "rnn"), c.recognition_dim)
        if c.encoder == "ode":
            self.encoder_dynamics = mlp(c.recognition_dim, c.width, c.depth, c.recognition_dim)
        self.posterior = mlp(c.recognition_dim, 100, 0, 2 * c.latent_dim)
        self.decoder = nn.Linear(c.latent_dim, 2 * self.n)
        self.register_buffer("num_batches", torch.zeros(()))
        self._build_dynamics()
        self._kl_divergence: Tensor | float = 0.0

    def _build_dynamics(self) -> None:
        """Build what moves the latent state."""
        c = self.config
        self.dynamics = mlp(c.latent_dim, c.width, c.depth, c.latent_dim)

    def decode(
        self, inputs: EncoderInput, time: Tensor, neighbours: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return scaled states (B, T, 2n); in training of a latent state that is drawn."""
        mean, spread = self.posterior(self.encode(inputs)).chunk(2, 1)
        spread = nn.functional.softplus(spread) + 1e-4
        start = mean
        if self.training:
            start = mean + spread * torch.randn_like(mean)
            self.num_batches += 1
        self._kl_divergence = (
            (0.5 * (mean.square() + spread.square() - 1) - spread.log()).sum(1).mean()
        )
        return self.decoder(self.latent_trajectory(start, time))

    def regularization(self) -> Tensor | float:
        """Return the prior's part, as large against squared errors as in the bound."""
        if not self.training:
            return 0.0
        sizes = self.config.sequence_length * 2 * self.n
        weight = (
            (1 - KL_ANNEALING ** float(self.num_batches))
            * 2
            * self.config.observation_std**2
            / sizes
        )
        return weight * self._kl_divergence

    def encode(self, inputs: EncoderInput) -> Tensor:
        """Return what is known of each motion at its first row, (B, recognised)."""
        code = torch.zeros(len(inputs.time), self.config.recognition_dim).to(inputs.state)
        gaps, last = time_to_next(inputs), inputs.time.shape[1] - 1
        whole = inputs.mask.all(0).tolist()
        cell = fused_gru_cell(self.encoder_cell)
        encoder_dynamics = (
            fused_mlp(self.encoder_dynamics) if self.config.encoder == "ode" else None
        )
        for k in range(last, -1, -1):
            state, gap = inputs.state[:, k], gaps[:, k]
            if encoder_dynamics is None:
                state = torch.cat([state, gap], 1)
            elif k < last:
                code = code.addcmul(
                    gap, encoder_dynamics(code), value=-1
                )  # Euler, as the authors take
            told = cell(state, code)
            code = told if whole[k] else torch.where(inputs.mask[:, k, None], told, code)
        if encoder_dynamics is None:
            return code
        return code.addcmul(inputs.time[:, :1], encoder_dynamics(code), value=-1)

    def latent_trajectory(self, z0: Tensor, time: Tensor) -> Tensor:
        """Return the latent states (B, T, latent) at times (B, T) from `start` at zero."""
        step = self.config.solver_stride / TIME_UNIT
        if self.training:
            step *= 1 + MAX_STEP_JITTER * float(torch.rand(()))
        return odeint_bosh3(fused_mlp(self.dynamics), z0, time, step)


class RnnVae(LatentOde):
    """The same with recurrent units in place of both ODEs, told the time from row to row."""

    Config = RnnVaeConfig

    def _build_dynamics(self) -> None:
        self.dynamics_cell = nn.GRUCell(1, self.config.latent_dim)

    def latent_trajectory(self, z0: Tensor, time: Tensor) -> Tensor:
        """Return the latent states (B, T, latent) at times (B, T) from `start` at zero."""
        gaps = nn.functional.pad(time.diff(dim=1), (1, 0))
        z, found = z0, []
        for gap in gaps.split(1, 1):
            z = self.dynamics_cell(gap, z)
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
        self.encoder_cell = nn.GRUCell(2 * self.n, c.recognition_dim)
        self.encoder_dynamics = mlp(c.recognition_dim, c.width, c.depth, c.recognition_dim)
        self.decoder = mlp(c.recognition_dim, 100, 0, 2 * self.n)

    def decode(
        self, inputs: EncoderInput, time: Tensor, neighbours: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return scaled states (B, T, 2n)."""
        code = torch.zeros(len(time), self.config.recognition_dim).to(time)
        last, codes = torch.zeros_like(time[:, 0]), [code]
        for k in range(inputs.time.shape[1]):
            there, real = inputs.time[:, k], inputs.mask[:, k, None]
            moved = code + (there - last)[:, None] * self.encoder_dynamics(code)
            code = torch.where(real, self.encoder_cell(inputs.state[:, k], moved), code)
            last = torch.where(real[:, 0], there, last)
            codes.append(code)
        each = torch.arange(len(time), device=time.device)[:, None]
        number = neighbours[0] + 1  # observations up to each row
        begun = nn.functional.pad(inputs.time, (1, 0))[each, number]
        known = torch.stack(codes, 1)[each, number]
        away = (time - begun)[..., None]
        return self.decoder(known + away * self.encoder_dynamics(known))


def odeint_bosh3(
    func: Callable[[Tensor], Tensor], y0: Tensor, time: Tensor, step: float
) -> Tensor:
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
    z, slope = y0, func(y0)
    cubics = []  # (B, 4d) coefficients of powers of the share of a step
    for _ in range(count):
        second = func(z.add(slope, alpha=step / 2))
        third = func(z.add(second, alpha=step * 3 / 4))
        moved = slope.mul(2 / 9).add(second, alpha=1 / 3).add(third, alpha=4 / 9) * step
        z, last, slope = z + moved, slope, func(z + moved)
        bend = (slope + last).mul(step).sub(moved, alpha=2)
        cubics.append(torch.cat([z - moved, last * step, moved - last * step - bend, bend], 1))
    place = (time / step).floor().clamp(0, count - 1).long()
    row = place + torch.arange(len(time), device=time.device)[:, None] * count
    found = torch.stack(cubics, 1).flatten(0, 1).index_select(0, row.flatten())
    a, b, c, d = found.view(*time.shape, -1).chunk(4, 2)
    u = (time / step - place)[..., None]
    return a.addcmul(u, b.addcmul(u, c.addcmul(u, d)))
