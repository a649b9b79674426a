"""A flow from noise to actions: a window of motion enters, all actions that could make it leave.

Rectified flow (Liu et al. 2022, arXiv 2209.03003): on the straight line x_t = (1 - t) e + t a from
noise e to the action a, the network learns the velocity a - e, given the motion. Following it from
noise at t = 0 to t = 1 draws from p(a | motion), which may have several modes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn

from invdyn_ros.config import Checked, Count, Sizes, at_least, within
from invdyn_ros.models.inverse_dynamics import Meta, Prediction, normal
from invdyn_ros.models.network import Network, stacked

MOST_STEPS = 100
MEAN_SHARE = 0.1  # of the training rows at t = 0, where the velocity tells the mean


@dataclass(frozen=True)
class FlowConfig(Checked):
    """Shape of the network, and how it is sampled."""

    down_dims: Sizes = (16, 32, 64)
    """Units of each level of the U-Net, outermost first."""
    width: Count = 64
    """Units of the encoders of motion and flow time."""
    step_dim: Annotated[int, at_least(2)] = 16
    """Fourier features of the flow time."""
    steps: Annotated[int, within(1, MOST_STEPS)] = 4
    """Steps from noise to action, 1 to 100."""
    draws: Annotated[int, at_least(2)] = 16
    """Actions drawn for the spread of a prediction."""
    history: Count = 1
    """Frames that a prediction looks at, its own among them."""
    angles: bool = True
    """Also give the network sin q and cos q, in which gravity is almost linear."""


class Flow(Network):
    """Conditional flow matching p(a | motion): causal, and the only family with several modes.

    At t = 0 the noise says nothing about the action, so the velocity there is E[a | motion] - e:
    `predict` takes its mean from one look at e = 0, exact for the best network, and its standard
    deviation from actions drawn with noise that never changes.
    """

    Config = FlowConfig
    config: FlowConfig
    noise: Tensor  # (draws, n)

    def __init__(self, meta: Meta) -> None:
        """Build the network with fresh weights."""
        super().__init__(meta)
        config = self.config
        inputs = config.history * self.feature_width + config.history - 1
        self.encoder = nn.Sequential(
            nn.Linear(inputs, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
        )
        # as in `Gru`: regular stamps leave the columns of the time steps without effect
        steps = self.encoder.get_parameter("0.weight")[:, config.history * self.feature_width :]
        nn.init.zeros_(steps)
        self.clock = nn.Sequential(
            nn.Linear(2 * (config.step_dim // 2), config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
        )
        self.net = UNet(self.n, config.width, config.down_dims)
        self.register_buffer("noise", antithetic(config.draws, self.n))

    @property
    def history(self) -> int:
        """Frames of motion that a prediction looks at."""
        return self.config.history

    def encode(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return what the network sees of a motion (B, T, 3n) at times (B, T) [s]."""
        history = self.config.history
        frames = stacked(self.features(motion), history).flatten(-2)
        steps = self.late(stacked(time, history))[..., 1:]
        return self.encoder(torch.cat([frames, steps], dim=-1))

    def velocity(self, x: Tensor, t: Tensor, seen: Tensor) -> Tensor:
        """Return dx/dt (..., n) at x (..., n) and flow time t (..., 1) or (1,), 0..1."""
        order = torch.arange(1, self.config.step_dim // 2 + 1, dtype=t.dtype, device=t.device)
        angle = torch.pi * t * order
        fourier = torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)
        return self.net(x, seen + self.clock(fourier)) - x

    def forward(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the mean of the standardised target (B, T, n)."""
        seen = self.encode(motion, time)
        start = torch.zeros_like(motion[..., : self.n])
        return self.velocity(start, start.new_zeros(1), seen)

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error of the velocity, at random noise and flow times.

        Outside training noise and times are always the same, so that losses can be compared.
        """
        x1 = self.standardised(motion, action)
        same = None if self.training else torch.Generator().manual_seed(0)
        x0, t = normal(x1.shape, x1, same), uniform(x1.shape[:-1], x1, same)[..., None]
        t = (t - MEAN_SHARE).clamp_min(0.0) / (1 - MEAN_SHARE)
        velocity = self.velocity((1 - t) * x0 + t * x1, t, self.encode(motion, time))
        return nn.functional.mse_loss(velocity, x1 - x0)

    def follow(self, x: Tensor, seen: Tensor, steps: int) -> Tensor:
        """Return where noise x (..., n) flows to, in steps that shorten towards the action.

        Modes part late, so the steps are shorter there. Heun's, but for the last, an Euler step:
        it ends on the mean of what x may still become, as in Karras et al. 2022, arXiv 2206.00364.
        """
        grid = [1 - (1 - k / steps) ** 2 for k in range(steps + 1)]
        for t, end in pairwise(grid):
            slope = self.velocity(x, x.new_full((1,), t), seen)
            if end < 1:
                ahead = x + (end - t) * slope
                slope = 0.5 * (slope + self.velocity(ahead, x.new_full((1,), end), seen))
            x = x + (end - t) * slope
        return x

    def infer(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the mean of the actions, and the spread of those drawn with fixed noise."""
        noise = self.noise[:, None, None].expand(-1, *motion.shape[:2], -1)
        drawn = self.follow(noise, self.encode(motion, time), self.config.steps)
        std = drawn.std(0, correction=0) * self.target_std
        return Prediction(self.restored(motion, self(motion, time)), std)

    def drawn(
        self, motion: Tensor, time: Tensor, noise: Tensor, steps: int | None = None
    ) -> Tensor:
        """Return the actions (count, B, T, n) that noise of that shape flows to.

        Args:
            motion: (B, T, 3n) in `dtype`.
            time: (B, T) [s] in `dtype`.
            noise: (count, B, T, n); none flows to the one action that no noise leads to.
            steps: from noise to action; default: those of the config.

        Raises:
            ValueError: no steps, or more than 100.
        """
        config = self.config if steps is None else replace(self.config, steps=steps)
        return self.restored(motion, self.follow(noise, self.encode(motion, time), config.steps))


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
