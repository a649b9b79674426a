"""Rectified flow: what noise flows to; points on straight lines enter, samples leave.

Liu et al. 2022, arXiv 2209.03003: on the straight line x_t = (1 - t) x0 + t x1 from noise x0 to
the sample x1 a network learns the velocity v(x_t, t), equation 1:

    min over v of  E |(x1 - x0) - v(x_t, t)|^2

Following dx = v dt from noise at t = 0 to t = 1 then draws samples (equation 2).
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
        velocity: as of `follow`, at flow times (..., 1).
        x1: samples (..., n).
        generator: source of noise and times; None: that of torch.
        at_start: share of the samples at t = 0, where the velocity tells the mean.
    """
    x0, t = (
        normal_noise(x1.shape, x1, generator),
        uniform_noise(x1.shape[:-1], x1, generator)[..., None],
    )
    t = (t - start_fraction).clamp_min(0.0) / (1 - start_fraction)
    return nn.functional.mse_loss(velocity((1 - t) * x0 + t * x1, t), x1 - x0)


def integrate(velocity: Velocity, x: Tensor, num_inference_steps: int) -> Tensor:
    """Return where noise x (..., n) flows to, in steps that shorten towards the sample.

    Modes part late, so the steps are shorter there. Heun's, but for the last, an Euler step: it
    ends on the mean of what x may still become, as in Karras et al. 2022, arXiv 2206.00364.

    Args:
        velocity: at flow times (1,), 0 to 1.
        x: (..., n).
        steps: from noise to sample.
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
    """Return sines and cosines (..., 2 * (size // 2)) of a flow time (..., 1), 0 to 1."""
    frequency = torch.arange(1, dim // 2 + 1, dtype=t.dtype, device=t.device)
    angle = torch.pi * t * frequency
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)


class UNet(nn.Module):
    """Layers that narrow what they know of x and widen it again, each told what else is known."""

    def __init__(self, dim: int, condition_dim: int, down_dims: tuple[int, ...]) -> None:
        """Build layers for x (..., size) and knowledge (..., known)."""
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
        """Return numbers (..., size) of x (..., size), given knowledge (..., known)."""
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
    """A residual layer whose units are scaled and shifted (FiLM, arXiv 1709.07871)."""

    def __init__(self, in_features: int, out_features: int, condition_dim: int) -> None:
        """Build a layer from (..., inputs) to (..., outputs)."""
        super().__init__()
        self.linear1, self.linear2 = (
            nn.Linear(in_features, out_features),
            nn.Linear(out_features, out_features),
        )
        self.film, self.skip = (
            nn.Linear(condition_dim, 2 * out_features),
            nn.Linear(in_features, out_features),
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return (..., outputs) of x (..., inputs), given knowledge (..., known)."""
        scale, shift = self.film(nn.functional.silu(condition)).chunk(2, dim=-1)
        x, skip = nn.functional.silu(self.linear1(x) * (1 + scale) + shift), self.skip(x)
        return self.linear2(x) + skip


def antithetic_noise(count: int, n: int) -> Tensor:
    """Return noise (count, n) that never changes, each of it with its opposite."""
    half = torch.randn(-(-count // 2), n, generator=torch.Generator().manual_seed(0))
    return torch.cat([half, -half])[:count]


def uniform_noise(shape: torch.Size, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return numbers evenly spread over 0..1 in the type and on the device of `like`."""
    device = like.device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
