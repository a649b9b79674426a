"""Rectified flow: loss, integration and network.

Liu et al. 2022, arXiv 2209.03003: on the straight line x_t = (1 - t) x0 + t x1 from noise x0 to
the sample x1 a network predicts the velocity v(x_t, t), equation 1:

    min over v of  E |(x1 - x0) - v(x_t, t)|^2

Integrating dx = v dt from noise at t = 0 to t = 1 then draws samples (equation 2).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from invdyn_ros.models.inverse_dynamics import normal_noise

MAX_INFERENCE_STEPS = 100

Velocity = Callable[[Tensor, Tensor], Tensor]  # dx/dt (..., n) at x (..., n) and flow time


def flow_loss(
    velocity: Velocity, x1: Tensor, generator: torch.Generator | None, start_fraction: float = 0.0
) -> Tensor:
    """Return the mean squared error of a velocity, at random noise and flow times.

    Args:
        velocity: dx/dt at x and flow times (..., 1), 0 to 1.
        x1: samples (..., n).
        generator: source of noise and times; None: torch's default.
        start_fraction: fraction of the samples at t = 0, where the velocity gives the mean.
    """
    x0, t = (
        normal_noise(x1.shape, x1, generator),
        uniform_noise(x1.shape[:-1], x1, generator)[..., None],
    )
    t = (t - start_fraction).clamp_min(0.0) / (1 - start_fraction)
    return nn.functional.mse_loss(velocity((1 - t) * x0 + t * x1, t), x1 - x0)


def integrate(velocity: Velocity, x: Tensor, num_inference_steps: int) -> Tensor:
    """Return the sample for noise x (..., n).

    Modes separate late, so the steps become shorter towards t = 1. They are those of Heun's method
    except for a final Euler step, which returns the mean given x (Karras et al. 2022,
    arXiv 2206.00364).

    Args:
        velocity: dx/dt at x and flow times (1,), 0 to 1.
        x: (..., n).
        num_inference_steps: steps from noise to sample.
    """
    grid = [1 - (1 - k / num_inference_steps) ** 2 for k in range(num_inference_steps + 1)]
    for t, end in pairwise(grid):
        slope = velocity(x, x.new_full((1,), t))
        if end < 1:
            predicted = x + (end - t) * slope
            slope = 0.5 * (slope + velocity(predicted, x.new_full((1,), end)))
        x = x + (end - t) * slope
    return x


def fourier_features(t: Tensor, dim: int) -> Tensor:
    """Return sines and cosines (..., 2 * (dim // 2)) of a flow time (..., 1), 0 to 1."""
    frequency = torch.arange(1, dim // 2 + 1, dtype=t.dtype, device=t.device)
    angle = torch.pi * t * frequency
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)


class UNet(nn.Module):
    """Fully connected U-Net, conditioned in every layer."""

    def __init__(self, dim: int, condition_dim: int, down_dims: tuple[int, ...]) -> None:
        """Build layers for x (..., dim) and a condition (..., condition_dim).

        Args:
            dim: size of x.
            condition_dim: size of the condition.
            down_dims: units of each level, outermost first.
        """
        super().__init__()
        self.input_layer = nn.Linear(dim, down_dims[0])
        self.down = nn.ModuleList(
            FiLMResidualBlock(a, b, condition_dim) for a, b in pairwise(down_dims)
        )
        self.mid = FiLMResidualBlock(down_dims[-1], down_dims[-1], condition_dim)
        self.up = nn.ModuleList(
            FiLMResidualBlock(2 * b, a, condition_dim) for a, b in reversed([*pairwise(down_dims)])
        )
        self.output_layer = nn.Linear(2 * down_dims[0], dim)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return values (..., dim) for x (..., dim) and a condition (..., condition_dim)."""
        x = self.input_layer(x)
        skips = [x]
        for layer in self.down:
            x = layer(x, condition)
            skips.append(x)
        x = self.mid(x, condition)
        for layer in self.up:
            x = layer(torch.cat([x, skips.pop()], dim=-1), condition)
        return self.output_layer(torch.cat([x, skips.pop()], dim=-1))


class FiLMResidualBlock(nn.Module):
    """Residual layer with conditional scale and shift (FiLM, arXiv 1709.07871)."""

    def __init__(self, in_features: int, out_features: int, condition_dim: int) -> None:
        """Build a layer from (..., in_features) to (..., out_features).

        Args:
            in_features: size of the input.
            out_features: size of the output.
            condition_dim: size of the condition.
        """
        super().__init__()
        self.linear1 = nn.Linear(in_features, out_features)
        self.linear2 = nn.Linear(out_features, out_features)
        self.film = nn.Linear(condition_dim, 2 * out_features)
        self.skip = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return (..., out_features) for x (..., in_features) and a condition."""
        scale, shift = self.film(nn.functional.silu(condition)).chunk(2, dim=-1)
        x, skip = nn.functional.silu(self.linear1(x) * (1 + scale) + shift), self.skip(x)
        return self.linear2(x) + skip


def antithetic_noise(count: int, n: int) -> Tensor:
    """Return constant noise (count, n); the second half is the negative of the first."""
    half = torch.randn(-(-count // 2), n, generator=torch.Generator().manual_seed(0))
    return torch.cat([half, -half])[:count]


def uniform_noise(shape: torch.Size, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return random numbers from 0 to 1 with the type and device of `like`.

    Args:
        shape: of the numbers.
        like: determines type and device.
        generator: source of the numbers; None: torch's default.
    """
    device = like.device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
