"""Deep regularised network with optional Gaussian output and an optional base network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import FractionBelowOne
from invdyn_ros.models.gru import GRU
from invdyn_ros.models.inverse_dynamics import Prediction
from invdyn_ros.models.mlp import MLP
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.neural_network import (
    ACTIVATIONS,
    FeatureConfig,
    NeuralNetwork,
    stack_observations,
)

LOG_STD_LIMITS = (-5.0, 2.0)  # of the logarithm of the standardised standard deviation
BASE_FAMILIES: dict[str, type[NeuralNetwork]] = {"mlp": MLP, "gru": GRU}


@dataclass(frozen=True)
class EnhancedConfig(FeatureConfig):
    """Size and regularisation of the network."""

    width: PositiveInt = 512
    """Units per hidden layer."""
    depth: PositiveInt = 4
    """Number of hidden layers."""
    activation: Literal["tanh", "relu", "silu", "gelu"] = "gelu"
    """Activation function."""
    layer_norm: bool = True
    """Whether each layer is followed by LayerNorm."""
    dropout: FractionBelowOne = 0.1
    """Dropout probability in training."""
    n_obs_steps: PositiveInt = 1
    """Number of frames that a prediction depends on, including its own."""
    std_type: Literal["none", "independent", "state"] = "none"
    """Standard deviation: none, one per joint, or a function of the motion."""
    smoothness_time: NonNegativeFloat = 0.0
    """[s] Time constant of the penalty on the action's second derivative; 0: no penalty."""
    base: dict[str, Any] | None = None
    """Family and config of the base network that this one was converted from and corrects."""

    def __post_init__(self) -> None:
        """Check family and config of the base network."""
        super().__post_init__()
        if self.base is not None and (
            set(self.base) != {"family", "config"} or self.base["family"] not in BASE_FAMILIES
        ):
            raise ValueError(
                f"base is {self.base}; it needs a family "
                f"({' or '.join(BASE_FAMILIES)}) and its config"
            )


class Enhanced(NeuralNetwork):
    """Causal deep MLP with LayerNorm and dropout, trained on squared error or likelihood.

    With a `base`, the output is added to that of the base network, whose weights come from
    another checkpoint. The last layer is initialised to zero, so that the converted model computes
    the same function as the base network.
    """

    Config = EnhancedConfig
    config: EnhancedConfig

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with random weights."""
        super().__init__(meta)
        config, n = self.config, self.n
        self.base = None if config.base is None else _build_base(meta, config.base)
        features, steps = config.n_obs_steps * self.feature_dim, config.n_obs_steps - 1
        layers: list[nn.Module] = []
        for k in range(config.depth):
            layers.append(nn.Linear(config.width if k else features + steps, config.width))
            layers += [nn.LayerNorm(config.width)] if config.layer_norm else []
            layers += [ACTIVATIONS[config.activation](), nn.Dropout(config.dropout)]
        self.net = nn.Sequential(*layers)
        self.head = nn.Linear(config.width, n)
        self.log_std = nn.Parameter(torch.zeros(n)) if config.std_type == "independent" else None
        self.std_head = nn.Linear(config.width, n) if config.std_type == "state" else None
        # as in `GRU`: with regular sampling, the weights of the intervals stay zero
        zero_initialised = [self.net.get_parameter("0.weight")[:, features:]]
        for layer in (self.std_head, self.head if self.base is not None else None):
            zero_initialised += [] if layer is None else [layer.weight, layer.bias]
        for values in zero_initialised:
            nn.init.zeros_(values)

    @property
    def n_obs_steps(self) -> int:
        """Number of frames that a prediction depends on."""
        return max(self.config.n_obs_steps, self.base.n_obs_steps if self.base is not None else 1)

    @property
    def window_size(self) -> int:
        """Number of frames of a training window; a second derivative needs three."""
        return max(self.n_obs_steps, 3 if self.config.smoothness_time > 0 else 1)

    def predict_standardised(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the standardised target (B, T, n) of a motion (B, T, 3n) at times (B, T) [s]."""
        return self.distribution(motion, time)[0]

    def distribution(self, motion: Tensor, time: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the standardised target and the log of its standard deviation, each (B, T, n)."""
        n_obs_steps = self.config.n_obs_steps
        frames = stack_observations(self.features(motion), n_obs_steps).flatten(-2)
        steps = self.interval_deviation(stack_observations(time, n_obs_steps))[..., 1:]
        hidden = self.net(torch.cat([frames, steps], dim=-1))
        mean = self.head(hidden)
        if self.base is not None:
            scale = self.base.target_std / self.target_std
            offset = (self.base.target_mean - self.target_mean) / self.target_std
            mean = mean + (self.base.predict_standardised(motion, time) * scale + offset)
        log_std = self.log_std if self.std_head is None else self.std_head(hidden)
        return mean, None if log_std is None else log_std.clamp(*LOG_STD_LIMITS).expand_as(mean)

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error in units of variance, or the negative log likelihood.

        In training, `smoothness_time`^4 times the mean square of the target's second derivative
        [1/s2] is added, as in a smoothing spline: measurement noise in the motion has high
        frequencies.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
            action: (B, T, n).
        """
        mean, log_std = self.distribution(motion, time)
        error = mean - self.standardised_target(motion, action)
        loss = error.square().mean()
        if log_std is not None:
            loss = (0.5 * (error * torch.exp(-log_std)).square() + log_std).mean()
        if self.training and self.config.smoothness_time > 0:
            step = torch.diff(time, dim=1)[..., None]  # [s]
            second_derivative = torch.diff(torch.diff(mean, dim=1) / step, dim=1)
            second_derivative = second_derivative / (0.5 * (step[:, 1:] + step[:, :-1]))
            loss = loss + (self.config.smoothness_time**2 * second_derivative).square().mean()
        return loss + self.inertia_penalty(motion, time)

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions, and their standard deviation if there is one."""
        mean, log_std = self.distribution(motion, time)
        std = None if log_std is None else torch.exp(log_std) * self.target_std
        return Prediction(self.destandardised_action(motion, mean), std)


def _build_base(meta: ModelMetadata, base: dict[str, Any]) -> NeuralNetwork:
    """Build the base network with random weights."""
    return BASE_FAMILIES[base["family"]](replace(meta, **base))
