"""A wide, regularised network, alone or on top of a converted one; may say how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import FractionBelowOne, Validated
from invdyn_ros.models.gru import GRU
from invdyn_ros.models.inverse_dynamics import ModelMetadata, Prediction
from invdyn_ros.models.mlp import MLP
from invdyn_ros.models.neural_network import ACTIVATIONS, NeuralNetwork, stack_observations

LOG_STD_LIMITS = (-5.0, 2.0)  # limits of the logarithm of the standardised spread
BASE_FAMILIES: dict[str, type[NeuralNetwork]] = {"mlp": MLP, "gru": GRU}


@dataclass(frozen=True)
class EnhancedConfig(Validated):
    """Shape and regularisation of the network."""

    width: PositiveInt = 512
    """Units per hidden layer."""
    depth: PositiveInt = 4
    """Hidden layers."""
    activation: Literal["tanh", "relu", "silu", "gelu"] = "gelu"
    """What bends between layers."""
    layer_norm: bool = True
    """Normalise the units of each layer."""
    dropout: FractionBelowOne = 0.1
    """Share of units left out at random in training."""
    angles: bool = True
    """Also give the network sin q and cos q, in which gravity is almost linear."""
    n_obs_steps: PositiveInt = 1
    """Frames that a prediction looks at, its own among them."""
    std_type: Literal["none", "independent", "state"] = "none"
    """Standard deviation: none, one per joint, or one that depends on the motion."""
    smoothness_time: NonNegativeFloat = 0.0
    """[s] Changes of the action within less than this cost as much as errors; 0: nothing."""
    base: dict[str, Any] | None = None
    """Family and config of the network this one was converted from and corrects."""

    def __post_init__(self) -> None:
        """Check that there is a network, and that it is one of those known."""
        super().__post_init__()
        if self.base is not None and (
            set(self.base) != {"family", "config"} or self.base["family"] not in BASE_FAMILIES
        ):
            raise ValueError(
                f"base is {self.base}; it needs a family ({' or '.join(BASE_FAMILIES)}) and its config"
            )


class Enhanced(NeuralNetwork):
    """Linear, LayerNorm, GELU and dropout, several times; mean squared error or Gaussian.

    With a `base` the network's output is added to that of the base, which came from another
    checkpoint; its last layer starts at zero, so at first the two are one function. Causal.
    """

    Config = EnhancedConfig
    config: EnhancedConfig

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with fresh weights."""
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
        # as in `Gru`: regular stamps leave the columns of the time steps without effect
        zero_initialised = [self.net.get_parameter("0.weight")[:, features:]]
        for layer in (self.std_head, self.head if self.base is not None else None):
            zero_initialised += [] if layer is None else [layer.weight, layer.bias]
        for values in zero_initialised:
            nn.init.zeros_(values)

    @property
    def n_obs_steps(self) -> int:
        """Frames of motion that a prediction looks at."""
        return max(self.config.n_obs_steps, self.base.n_obs_steps if self.base is not None else 1)

    @property
    def window(self) -> int:
        """Frames of a training window; a second derivative takes three."""
        return max(self.n_obs_steps, 3 if self.config.smoothness_time > 0 else 1)

    def predict_standardised(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the standardised target (B, T, n) of a motion (B, T, 3n) at times (B, T) [s]."""
        return self.distribution(motion, time)[0]

    def distribution(self, motion: Tensor, time: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the standardised target (B, T, n) and the log of its spread (B, T, n)."""
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
        """Return the mean squared error in units of variance, or the Gaussian's log likelihood.

        In training also `smooth`^4 times the mean square of the target's second derivative [1/s2],
        as in a smoothing spline: what noise in the motion does to the action is fast.
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
        return loss

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions, and their spread where there is one."""
        mean, log_std = self.distribution(motion, time)
        std = None if log_std is None else torch.exp(log_std) * self.target_std
        return Prediction(self.destandardised_action(motion, mean), std)


def _build_base(meta: ModelMetadata, base: dict[str, Any]) -> NeuralNetwork:
    """Build the untrained network that a converted one stands on."""
    return BASE_FAMILIES[base["family"]](replace(meta, **base))
