"""Flow matching over sequences, conditioned on a state and a goal.

A sequence (T, D) is standardised and projected on its first principal components, scaled to
variance 1. Since motion is smooth, a few components represent it, and the errors of the network
are smooth too. On these components a rectified flow (`models.rectified_flow`) models
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

MIN_STD = 1e-6  # standard deviation below which a column counts as constant


@dataclass(frozen=True)
class FlowMatchingConfig(Validated):
    """Shape of the network, and settings of sampling."""

    horizon: PositiveInt = 50
    """Steps of a sequence."""
    num_components: PositiveInt = 12
    """Principal components of a sequence, at most."""
    down_dims: PositiveInts = (128, 64)
    """Units of each level of the U-Net, outermost first."""
    width: PositiveInt = 128
    """Units of the encoders of the features and of the flow time."""
    step_dim: Annotated[int, Field(ge=2)] = 16
    """Fourier features of the flow time."""
    num_inference_steps: Annotated[int, Field(ge=1, le=MAX_INFERENCE_STEPS)] = 4
    """Integration steps from noise to sequence, 1 to 100."""


class SequenceFlowMatching(nn.Module):
    """Distribution of sequences (T, D) after a state (S,) = [q, qd], given a condition (C,).

    The inputs are sines and cosines of joint positions, so the output is invariant to full turns.
    """

    feature_mean: Tensor  # (F,)
    feature_std: Tensor  # (F,)
    mean: Tensor  # (T D,)
    components: Tensor  # (K, T D) scaled by their standard deviations
    projection: Tensor  # (T D, K)

    def __init__(
        self, config: FlowMatchingConfig, joints: int, condition_size: int, step_size: int
    ) -> None:
        """Create an untrained network.

        Args:
            config: shape of the network.
            joints: n, half of the size of a state.
            condition_size: C.
            step_size: D.
        """
        super().__init__()
        self.config, self.joints = config, joints
        self.shape = config.horizon, step_size
        size, num_features = config.horizon * step_size, 3 * joints + condition_size
        count = min(config.num_components, size)
        shapes = {"feature_mean": (num_features,), "mean": (size,), "components": (count, size)}
        for name, shape in (shapes | {"projection": (size, count)}).items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("feature_std", torch.ones(num_features))
        self.encoder = _mlp(num_features, config.width, 2)
        self.time_embedding = _mlp(2 * (config.step_dim // 2), config.width, 1)
        self.unet = UNet(count, config.width, config.down_dims)

    def standardise(self, segments: PlanSegments) -> None:
        """Set the components, and mean and standard deviation of the features, from data."""
        features, flat = (
            self._features(segments.state, segments.condition),
            segments.sequence.flatten(1),
        )
        self.feature_mean.copy_(features.mean(0))
        self.feature_std.copy_(_column_std(features))
        mean, std = flat.double().mean(0), _column_std(flat).double()
        scaled = (flat - mean) / std
        values, vectors = torch.linalg.eigh(scaled.T @ scaled / len(scaled))  # ascending
        count = len(self.components)
        vectors, scale = vectors[:, -count:].flip(1), values[-count:].flip(0).clamp_min(0).sqrt()
        scale = scale.clamp_min(MIN_STD)
        self.mean.copy_(mean)
        self.components.copy_((vectors * scale).T * std)
        self.projection.copy_(vectors / scale / std[:, None])

    def loss(self, state: Tensor, condition: Tensor, sequence: Tensor) -> Tensor:
        """Return the mean squared error of the velocity, at random noise and flow times.

        In evaluation mode noise and times are constant, so that losses can be compared.

        Args:
            state: (B, S).
            condition: (B, C).
            sequence: (B, T, D).
        """
        x1 = (sequence.flatten(1) - self.mean) @ self.projection
        generator = None if self.training else torch.Generator().manual_seed(0)
        code = self._encode(state, condition)
        return flow_loss(lambda x, t: self._velocity(x, t, code), x1, generator)

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
            count: number of sequences.
            temperature: scale of the noise; 0 removes it.
            generator: random number generator of the noise.
        """
        noise = temperature * normal_noise((count, len(self.components)), self.mean, generator)
        code = self._encode(state[None], condition[None])
        x = integrate(
            lambda at, t: self._velocity(at, t, code), noise, self.config.num_inference_steps
        )
        return (self.mean + x @ self.components).unflatten(-1, self.shape)

    def _features(self, state: Tensor, condition: Tensor) -> Tensor:
        """Return the features (B, F) of states (B, S) and conditions (B, C)."""
        q, qd = state[:, : self.joints], state[:, self.joints :]
        return torch.cat([torch.sin(q), torch.cos(q), qd, condition], dim=-1)

    def _encode(self, state: Tensor, condition: Tensor) -> Tensor:
        return self.encoder(
            (self._features(state, condition) - self.feature_mean) / self.feature_std
        )

    def _velocity(self, x: Tensor, t: Tensor, code: Tensor) -> Tensor:
        """Return dx/dt (B, K) at x and flow time t (B, 1) or (1,)."""
        return (
            self.unet(x, code + self.time_embedding(fourier_features(t, self.config.step_dim))) - x
        )


def _mlp(inputs: int, width: int, hidden: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(hidden):
        layers += [nn.Linear(width if k else inputs, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width, width))


def _column_std(values: Tensor) -> Tensor:
    """Return the standard deviations of columns, 1 for a constant one."""
    std = values.std(0, correction=0)
    return torch.where(std > MIN_STD, std, torch.ones_like(std))
