"""Conditional flow matching of the distribution of actions given a motion.

Rectified flow (Liu et al. 2022, arXiv 2209.03003): on the straight line x_t = (1 - t) e + t a from
noise e to the action a, the network predicts the velocity a - e, given the motion. Integrating it
from noise at t = 0 to t = 1 draws a sample of p(a | motion), which may have several modes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import PositiveInts
from invdyn_ros.models.inverse_dynamics import Prediction
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.neural_network import FeatureConfig, NeuralNetwork, stack_observations
from invdyn_ros.models.rectified_flow import (
    MAX_INFERENCE_STEPS,
    UNet,
    antithetic_noise,
    flow_loss,
    fourier_features,
    integrate,
)

START_FRACTION = 0.1  # of the training rows at t = 0, where the velocity gives the mean


@dataclass(frozen=True)
class FlowConfig(FeatureConfig):
    """Size of the network, and sampling."""

    down_dims: PositiveInts = (16, 32, 64)
    """Units of each level of the U-Net, outermost first."""
    width: PositiveInt = 64
    """Units of the encoders of motion and flow time."""
    step_dim: Annotated[int, Field(ge=2)] = 16
    """Fourier features of the flow time."""
    num_inference_steps: Annotated[int, Field(ge=1, le=MAX_INFERENCE_STEPS)] = 4
    """Integration steps from noise to action, 1 to 100."""
    num_samples: Annotated[int, Field(ge=2)] = 16
    """Actions sampled for the standard deviation of a prediction."""
    n_obs_steps: PositiveInt = 1
    """Number of frames that a prediction depends on, including its own."""


class Flow(NeuralNetwork):
    """Causal conditional flow matching of p(a | motion), the only family with several modes.

    At t = 0 the noise is independent of the action, so the velocity there is E[a | motion] - e.
    The mean of `predict` is one evaluation at e = 0, exact for the optimal network; the standard
    deviation is that of actions sampled with constant noise.
    """

    Config = FlowConfig
    config: FlowConfig
    noise: Tensor  # (num_samples, n)

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the network with random weights."""
        super().__init__(meta)
        config = self.config
        inputs = config.n_obs_steps * self.feature_dim + config.n_obs_steps - 1
        self.encoder = nn.Sequential(
            nn.Linear(inputs, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
        )
        # as in `GRU`: with regular sampling, the weights of the intervals stay zero
        steps = self.encoder.get_parameter("0.weight")[:, config.n_obs_steps * self.feature_dim :]
        nn.init.zeros_(steps)
        self.time_embedding = nn.Sequential(
            nn.Linear(2 * (config.step_dim // 2), config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
        )
        self.unet = UNet(self.n, config.width, config.down_dims)
        self.register_buffer("noise", antithetic_noise(config.num_samples, self.n))

    @property
    def n_obs_steps(self) -> int:
        """Number of frames that a prediction depends on."""
        return self.config.n_obs_steps

    def encode(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the embedding (B, T, width) of a motion (B, T, 3n) at times (B, T) [s]."""
        n_obs_steps = self.config.n_obs_steps
        frames = stack_observations(self.features(motion), n_obs_steps).flatten(-2)
        steps = self.interval_deviation(stack_observations(time, n_obs_steps))[..., 1:]
        return self.encoder(torch.cat([frames, steps], dim=-1))

    def velocity(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Return dx/dt (..., n).

        Args:
            x: (..., n).
            t: flow time (..., 1) or (1,), 0 to 1.
            condition: embedding of the motion (..., width).
        """
        embedding = self.time_embedding(fourier_features(t, self.config.step_dim))
        return self.unet(x, condition + embedding) - x

    def predict_standardised(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the mean of the standardised target (B, T, n)."""
        condition = self.encode(motion, time)
        start = torch.zeros_like(motion[..., : self.n])
        return self.velocity(start, start.new_zeros(1), condition)

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error of the velocity, at random noise and flow times.

        In evaluation mode noise and times are constant, so that losses can be compared.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
            action: (B, T, n).
        """
        x1 = self.standardised_target(motion, action)
        generator = None if self.training else torch.Generator().manual_seed(0)
        condition = self.encode(motion, time)
        error = flow_loss(
            lambda x, t: self.velocity(x, t, condition), x1, generator, START_FRACTION
        )
        return error + self.inertia_penalty(motion, time)

    def integrate(self, x: Tensor, condition: Tensor, num_inference_steps: int) -> Tensor:
        """Return the standardised target for noise x (..., n).

        Args:
            x: noise (..., n).
            condition: embedding of the motion (..., width).
            num_inference_steps: integration steps.
        """
        return integrate(lambda at, t: self.velocity(at, t, condition), x, num_inference_steps)

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the mean of the actions, and their standard deviation over constant noise."""
        noise = self.noise[:, None, None].expand(-1, *motion.shape[:2], -1)
        samples = self.integrate(noise, self.encode(motion, time), self.config.num_inference_steps)
        std = samples.std(0, correction=0) * self.target_std
        return Prediction(
            self.destandardised_action(motion, self.predict_standardised(motion, time)), std
        )

    def sample_from_noise(
        self, motion: Tensor, time: Tensor, noise: Tensor, num_inference_steps: int | None = None
    ) -> Tensor:
        """Return the actions (num_samples, B, T, n) for noise of that shape.

        Args:
            motion: (B, T, 3n) in `dtype`.
            time: (B, T) [s] in `dtype`.
            noise: (num_samples, B, T, n).
            num_inference_steps: integration steps; None: those of the config.

        Raises:
            ValueError: fewer than 1 step, or more than 100.
        """
        config = (
            self.config
            if num_inference_steps is None
            else replace(self.config, num_inference_steps=num_inference_steps)
        )
        return self.destandardised_action(
            motion, self.integrate(noise, self.encode(motion, time), config.num_inference_steps)
        )
