"""A flow from noise to sequences: a state and a condition enter, what may follow leaves.

A sequence of T steps of D numbers is standardised and turned into its first principal components,
scaled to variance 1: motion is smooth, so a few of them hold all of it, and whatever the network
errs by is as smooth. On these components a rectified flow (`models.rectified_flow`) learns
p(sequence | state, condition), as Janner et al. 2022 (arXiv 2205.09991) plan by diffusion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import PositiveInts, Validated
from invdyn_ros.models.inverse_dynamics import normal_noise
from invdyn_ros.models.planner.segments import PlanSegments
from invdyn_ros.models.rectified_flow import (
    MAX_INFERENCE_STEPS,
    UNet,
    flow_loss,
    fourier_features,
    integrate,
)

MIN_STD = 1e-6  # standard deviation that still is one


@dataclass(frozen=True)
class FlowMatchingConfig(Validated):
    """Shape of the network, and how it is sampled."""

    horizon: PositiveInt = 50
    """Steps of a sequence."""
    num_components: PositiveInt = 12
    """Principal components that make up a sequence, at most."""
    down_dims: PositiveInts = (128, 64)
    """Units of each level of the U-Net, outermost first."""
    width: PositiveInt = 128
    """Units of the encoders of what is known and of flow time."""
    step_dim: Annotated[int, Field(ge=2)] = 16
    """Fourier features of the flow time."""
    steps: Annotated[int, Field(ge=1, le=MAX_INFERENCE_STEPS)] = 4
    """Steps from noise to sequence, 1 to 100."""


class SequenceFlowMatching(nn.Module):
    """Sequences (T, D) that follow a state (S,) = [q, qd], given a condition (C,).

    Positions enter as their sine and cosine only: whole turns change nothing.
    """

    feature_mean: Tensor  # (F,)
    feature_std: Tensor  # (F,)
    mean: Tensor  # (T D,)
    components: Tensor  # (modes, T D) each of one standard deviation
    projection: Tensor  # (T D, modes)

    def __init__(
        self, config: FlowMatchingConfig, joints: int, condition_size: int, step_size: int
    ) -> None:
        """Build the network with fresh weights.

        Args:
            config: its shape.
            joints: n, half of a state.
            condition: C.
            numbers: D.
        """
        super().__init__()
        self.config, self.joints = config, joints
        self.shape = config.horizon, step_size
        size, known = config.horizon * step_size, 3 * joints + condition_size
        modes = min(config.num_components, size)
        shapes = {"feature_mean": (known,), "mean": (size,), "components": (modes, size)}
        for name, shape in (shapes | {"projection": (size, modes)}).items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("feature_std", torch.ones(known))
        self.encoder = _mlp(known, config.width, 2)
        self.time_embedding = _mlp(2 * (config.step_dim // 2), config.width, 1)
        self.unet = UNet(modes, config.width, config.down_dims)

    def standardise(self, segments: PlanSegments) -> None:
        """Take the components, and mean and spread of what is known, from the training data."""
        known, flat = (
            self._features(segments.state, segments.condition),
            segments.sequence.flatten(1),
        )
        self.feature_mean.copy_(known.mean(0))
        self.feature_std.copy_(_column_std(known))
        mean, std = flat.double().mean(0), _column_std(flat).double()
        scaled = (flat - mean) / std
        values, vectors = torch.linalg.eigh(scaled.T @ scaled / len(scaled))  # ascending
        modes = len(self.components)
        vectors, width = vectors[:, -modes:].flip(1), values[-modes:].flip(0).clamp_min(0).sqrt()
        width = width.clamp_min(MIN_STD)
        self.mean.copy_(mean)
        self.components.copy_((vectors * width).T * std)
        self.projection.copy_(vectors / width / std[:, None])

    def loss(self, state: Tensor, condition: Tensor, sequence: Tensor) -> Tensor:
        """Return the mean squared error of the velocity, at random noise and flow times.

        Outside training noise and times are always the same, so that losses can be compared.
        """
        x1 = (sequence.flatten(1) - self.mean) @ self.projection
        same = None if self.training else torch.Generator().manual_seed(0)
        seen = self._encode(state, condition)
        return flow_loss(lambda x, t: self._velocity(x, t, seen), x1, same)

    @torch.inference_mode()
    def sample(
        self,
        state: Tensor,
        condition: Tensor,
        count: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw sequences (count, T, D).

        Args:
            state: (S,).
            condition: (C,).
            count: how many.
            temperature: scale of the noise; 0 takes all of it away.
            generator: source of the noise.
        """
        noise = temperature * normal_noise((count, len(self.components)), self.mean, generator)
        seen = self._encode(state[None], condition[None])
        x = integrate(lambda at, t: self._velocity(at, t, seen), noise, self.config.steps)
        return (self.mean + x @ self.components).unflatten(-1, self.shape)

    def _features(self, state: Tensor, condition: Tensor) -> Tensor:
        """Return all that is known (B, F) of states (B, S) and conditions (B, C)."""
        q, qd = state[:, : self.joints], state[:, self.joints :]
        return torch.cat([torch.sin(q), torch.cos(q), qd, condition], dim=-1)

    def _encode(self, state: Tensor, condition: Tensor) -> Tensor:
        return self.encoder(
            (self._features(state, condition) - self.feature_mean) / self.feature_std
        )

    def _velocity(self, x: Tensor, t: Tensor, seen: Tensor) -> Tensor:
        """Return dx/dt (B, modes) at x and flow time t (B, 1) or (1,)."""
        return (
            self.unet(x, seen + self.time_embedding(fourier_features(t, self.config.step_dim))) - x
        )


def _mlp(inputs: int, width: int, hidden: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(hidden):
        layers += [nn.Linear(width if k else inputs, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width, width))


def _column_std(values: Tensor) -> Tensor:
    """Return standard deviations of columns, 1 for one that never changes."""
    std = values.std(0, correction=0)
    return torch.where(std > MIN_STD, std, torch.ones_like(std))
