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

from invdyn_ros.models.inverse_dynamics import normal

MOST_STEPS = 100

Velocity = Callable[[Tensor, Tensor], Tensor]  # dx/dt (..., n) at x (..., n) and flow time


def flow_loss(
    velocity: Velocity, x1: Tensor, generator: torch.Generator | None, at_start: float = 0.0
) -> Tensor:
    """Return the mean squared error of a velocity, at random noise and flow times.

    Args:
        velocity: as of `follow`, at flow times (..., 1).
        x1: samples (..., n).
        generator: source of noise and times; None: that of torch.
        at_start: share of the samples at t = 0, where the velocity tells the mean.
    """
    x0, t = normal(x1.shape, x1, generator), uniform(x1.shape[:-1], x1, generator)[..., None]
    t = (t - at_start).clamp_min(0.0) / (1 - at_start)
    return nn.functional.mse_loss(velocity((1 - t) * x0 + t * x1, t), x1 - x0)


def follow(velocity: Velocity, x: Tensor, steps: int) -> Tensor:
    """Return where noise x (..., n) flows to, in steps that shorten towards the sample.

    Modes part late, so the steps are shorter there. Heun's, but for the last, an Euler step: it
    ends on the mean of what x may still become, as in Karras et al. 2022, arXiv 2206.00364.

    Args:
        velocity: at flow times (1,), 0 to 1.
        x: (..., n).
        steps: from noise to sample.
    """
    grid = [1 - (1 - k / steps) ** 2 for k in range(steps + 1)]
    for t, end in pairwise(grid):
        slope = velocity(x, x.new_full((1,), t))
        if end < 1:
            ahead = x + (end - t) * slope
            slope = 0.5 * (slope + velocity(ahead, x.new_full((1,), end)))
        x = x + (end - t) * slope
    return x


def fourier(t: Tensor, size: int) -> Tensor:
    """Return sines and cosines (..., 2 * (size // 2)) of a flow time (..., 1), 0 to 1."""
    order = torch.arange(1, size // 2 + 1, dtype=t.dtype, device=t.device)
    angle = torch.pi * t * order
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)


class UNet(nn.Module):
    """Layers that narrow what they know of x and widen it again, each told what else is known."""

    def __init__(self, size: int, known: int, widths: tuple[int, ...]) -> None:
        """Build layers for x (..., size) and knowledge (..., known)."""
        super().__init__()
        self.first = nn.Linear(size, widths[0])
        self.down = nn.ModuleList(Layer(a, b, known) for a, b in pairwise(widths))
        self.middle = Layer(widths[-1], widths[-1], known)
        self.up = nn.ModuleList(Layer(2 * b, a, known) for a, b in reversed([*pairwise(widths)]))
        self.last = nn.Linear(2 * widths[0], size)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Return numbers (..., size) of x (..., size), given knowledge (..., known)."""
        x = self.first(x)
        passed = [x]
        for layer in self.down:
            x = layer(x, known)
            passed.append(x)
        x = self.middle(x, known)
        for layer in self.up:
            x = layer(torch.cat([x, passed.pop()], dim=-1), known)
        return self.last(torch.cat([x, passed.pop()], dim=-1))


class Layer(nn.Module):
    """A residual layer whose units are scaled and shifted (FiLM, arXiv 1709.07871)."""

    def __init__(self, inputs: int, outputs: int, known: int) -> None:
        """Build a layer from (..., inputs) to (..., outputs)."""
        super().__init__()
        self.inner, self.outer = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs)
        self.film, self.past = nn.Linear(known, 2 * outputs), nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Return (..., outputs) of x (..., inputs), given knowledge (..., known)."""
        scale, shift = self.film(nn.functional.silu(known)).chunk(2, dim=-1)
        x, past = nn.functional.silu(self.inner(x) * (1 + scale) + shift), self.past(x)
        return self.outer(x) + past


def antithetic(count: int, n: int) -> Tensor:
    """Return noise (count, n) that never changes, each of it with its opposite."""
    half = torch.randn(-(-count // 2), n, generator=torch.Generator().manual_seed(0))
    return torch.cat([half, -half])[:count]


def uniform(shape: torch.Size, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return numbers evenly spread over 0..1 in the type and on the device of `like`."""
    device = like.device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
