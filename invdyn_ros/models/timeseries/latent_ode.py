"""Latent ODE, RNN-VAE and ODE-RNN (Rubanova et al. 2019, arXiv 1907.03907).

A recurrent encoder processes the observations backwards in time and predicts the posterior of a
latent state z_0 (section 3.2); a decoder integrates z and maps it to states. The encoder's state
between observations follows an ODE (ODE-RNN, section 3.1) or stays constant (GRU with intervals
as inputs). z follows an ODE or a recurrent network (RNN-VAE, Chung et al. 2015, arXiv 1506.02216).
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

KL_ANNEALING = 0.99  # per batch: the KL weight is 1 - KL_ANNEALING^batches
MAX_STEP_JITTER = 0.3  # random increase of the solver's step in training, against overfitting


@dataclass(frozen=True)
class LatentOdeConfig(EncoderDecoderConfig):
    """Shape of the networks; the defaults are those of the paper's hopper."""

    encoder: Literal["ode", "rnn"] = "ode"
    """Encoder between observations: an ODE, or a constant state."""
    latent_dim: PositiveInt = 15
    """Size of the latent state."""
    recognition_dim: PositiveInt = 30
    """Units of the encoder."""
    width: PositiveInt = 300
    """Units of each hidden layer of the ODE functions."""
    depth: PositiveInt = 3
    """Hidden layers from width to width."""
    solver_stride: PositiveInt = 50
    """Samples per step of the solver; between steps the solution is interpolated by cubics."""
    observation_std: PositiveFloat = 0.01
    """Standard deviation of scaled observations in the likelihood."""


@dataclass(frozen=True)
class RnnVaeConfig(LatentOdeConfig):
    """Shape of the networks, with an RNN encoder by default."""

    encoder: Literal["ode", "rnn"] = "rnn"
    """Encoder between observations: an ODE, or a constant state."""


class LatentOde(EncoderDecoder):
    """Variational autoencoder with a latent state at the first row that follows an ODE.

    Trained by the evidence lower bound (equation 9 of the paper): squared errors over twice the
    variance, plus the KL divergence from a standard normal prior, whose weight is annealed.
    """

    Config = LatentOdeConfig
    config: LatentOdeConfig
    num_batches: Tensor  # () training batches so far, which determine the KL weight

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Create untrained networks."""
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
        """Create the dynamics of the latent state."""
        c = self.config
        self.dynamics = mlp(c.latent_dim, c.width, c.depth, c.latent_dim)

    def decode(
        self, inputs: EncoderInput, time: Tensor, neighbours: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return scaled states (B, T, 2n); in training the latent state is sampled.

        Args:
            inputs: observations for the encoder.
            time: (B, T) times of the states [s].
            neighbours: indices (B, T) of the observations before and after each time.
        """
        mean, std = self.posterior(self.encode(inputs)).chunk(2, 1)
        std = nn.functional.softplus(std) + 1e-4
        z0 = mean
        if self.training:
            z0 = mean + std * torch.randn_like(mean)
            self.num_batches += 1
        self._kl_divergence = (0.5 * (mean.square() + std.square() - 1) - std.log()).sum(1).mean()
        return self.decoder(self.latent_trajectory(z0, time))

    def regularization(self) -> Tensor | float:
        """Return the KL divergence, weighted against mean squared errors as in the bound."""
        if not self.training:
            return 0.0
        size = self.config.sequence_length * 2 * self.n
        weight = (
            (1 - KL_ANNEALING ** float(self.num_batches))
            * 2
            * self.config.observation_std**2
            / size
        )
        return weight * self._kl_divergence

    def encode(self, inputs: EncoderInput) -> Tensor:
        """Return the encoder's state (B, recognition_dim) at the first row of each motion."""
        code = torch.zeros(len(inputs.time), self.config.recognition_dim).to(inputs.state)
        intervals, last = time_to_next(inputs), inputs.time.shape[1] - 1
        without_padding = inputs.mask.all(0).tolist()
        cell = fused_gru_cell(self.encoder_cell)
        dynamics = fused_mlp(self.encoder_dynamics) if self.config.encoder == "ode" else None
        for k in range(last, -1, -1):
            state, interval = inputs.state[:, k], intervals[:, k]
            if dynamics is None:
                state = torch.cat([state, interval], 1)
            elif k < last:
                code = code.addcmul(interval, dynamics(code), value=-1)  # Euler, as in the paper
            updated = cell(state, code)
            code = (
                updated
                if without_padding[k]
                else torch.where(inputs.mask[:, k, None], updated, code)
            )
        if dynamics is None:
            return code
        return code.addcmul(inputs.time[:, :1], dynamics(code), value=-1)

    def latent_trajectory(self, z0: Tensor, time: Tensor) -> Tensor:
        """Return the latent states (B, T, latent_dim) at times (B, T) from z0 at time zero."""
        step = self.config.solver_stride / TIME_UNIT
        if self.training:
            step *= 1 + MAX_STEP_JITTER * float(torch.rand(()))
        return odeint_bosh3(fused_mlp(self.dynamics), z0, time, step)


class RnnVae(LatentOde):
    """Latent ODE with recurrent networks, whose inputs are the intervals, in place of ODEs."""

    Config = RnnVaeConfig

    def _build_dynamics(self) -> None:
        self.dynamics_cell = nn.GRUCell(1, self.config.latent_dim)

    def latent_trajectory(self, z0: Tensor, time: Tensor) -> Tensor:
        """Return the latent states (B, T, latent_dim) at times (B, T) from z0 at time zero."""
        intervals = nn.functional.pad(time.diff(dim=1), (1, 0))
        z, states = z0, []
        for interval in intervals.split(1, 1):
            z = self.dynamics_cell(interval, z)
            states.append(z)
        return torch.stack(states, 1)


class OdeRnn(EncoderDecoder):
    """Recurrent network whose hidden state follows an ODE between observations (section 3.1).

    It is causal: a prediction depends on the observations up to its time only.
    """

    Config = LatentOdeConfig
    config: LatentOdeConfig

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Create untrained networks."""
        super().__init__(meta)
        c = self.config
        self.encoder_cell = nn.GRUCell(2 * self.n, c.recognition_dim)
        self.encoder_dynamics = mlp(c.recognition_dim, c.width, c.depth, c.recognition_dim)
        self.decoder = mlp(c.recognition_dim, 100, 0, 2 * self.n)

    def decode(
        self, inputs: EncoderInput, time: Tensor, neighbours: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return scaled states (B, T, 2n).

        Args:
            inputs: observations for the encoder.
            time: (B, T) times of the states [s].
            neighbours: indices (B, T) of the observations before and after each time.
        """
        code = torch.zeros(len(time), self.config.recognition_dim).to(time)
        last, codes = torch.zeros_like(time[:, 0]), [code]
        for k in range(inputs.time.shape[1]):
            now, mask = inputs.time[:, k], inputs.mask[:, k, None]
            propagated = code + (now - last)[:, None] * self.encoder_dynamics(code)
            code = torch.where(mask, self.encoder_cell(inputs.state[:, k], propagated), code)
            last = torch.where(mask[:, 0], now, last)
            codes.append(code)
        batch = torch.arange(len(time), device=time.device)[:, None]
        index = neighbours[0] + 1  # observations up to each row
        start = nn.functional.pad(inputs.time, (1, 0))[batch, index]
        code_at_start = torch.stack(codes, 1)[batch, index]
        elapsed = (time - start)[..., None]
        return self.decoder(code_at_start + elapsed * self.encoder_dynamics(code_at_start))


def odeint_bosh3(
    func: Callable[[Tensor], Tensor], y0: Tensor, time: Tensor, step: float
) -> Tensor:
    """Solve y' = func(y), y(0) = y0, by steps of fixed size and third order.

    The steps are those of Bogacki and Shampine, with three evaluations of `func` each. Between
    two steps the solution is the cubic through their states and slopes, of the same order. The
    solution at a time does not depend on the other requested times, since the steps do not.

    Args:
        func: right-hand side, of states (N, d).
        y0: (B, d).
        time: (B, T), not negative.
        step: size of a step.

    Returns:
        States (B, T, d).
    """
    count = max(1, int(torch.ceil(time.max() / step - 1e-6)))
    y, slope = y0, func(y0)
    cubics = []  # (B, 4d) coefficients of powers of the fraction of a step
    for _ in range(count):
        k2 = func(y.add(slope, alpha=step / 2))
        k3 = func(y.add(k2, alpha=step * 3 / 4))
        dy = slope.mul(2 / 9).add(k2, alpha=1 / 3).add(k3, alpha=4 / 9) * step
        y, last_slope, slope = y + dy, slope, func(y + dy)
        cubic = (slope + last_slope).mul(step).sub(dy, alpha=2)
        cubics.append(
            torch.cat([y - dy, last_slope * step, dy - last_slope * step - cubic, cubic], 1)
        )
    index = (time / step).floor().clamp(0, count - 1).long()
    row = index + torch.arange(len(time), device=time.device)[:, None] * count
    coefficients = torch.stack(cubics, 1).flatten(0, 1).index_select(0, row.flatten())
    a, b, c, d = coefficients.view(*time.shape, -1).chunk(4, 2)
    u = (time / step - index)[..., None]
    return a.addcmul(u, b.addcmul(u, c.addcmul(u, d)))
