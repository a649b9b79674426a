"""Base class of the network families of motion: standardisation, features and loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


class NeuralNetwork(InverseDynamics):
    """A family whose network predicts the standardised target in `predict_standardised`.

    Its config has the field `angles`: sin q and cos q are additional features.
    """

    @abstractmethod
    def predict_standardised(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the standardised target (B, T, n) of a motion (B, T, 3n) at times (B, T) [s]."""

    @property
    def feature_dim(self) -> int:
        """Number of `features` per frame."""
        return (5 if self.config.angles else 3) * self.n

    def features(self, motion: Tensor) -> Tensor:
        """Return the standardised motion (..., 3n), followed by sin q and cos q if configured."""
        inputs = (motion - self.motion_mean) / self.motion_std
        if self.config.angles:
            q = motion[..., : self.n]
            inputs = torch.cat([inputs, torch.sin(q), torch.cos(q)], dim=-1)
        return inputs

    def standardised_target(self, motion: Tensor, action: Tensor) -> Tensor:
        """Return the standardised target of an action (..., n)."""
        return (self.target(motion, action) - self.target_mean) / self.target_std

    def destandardised_action(self, motion: Tensor, standardised_target: Tensor) -> Tensor:
        """Return the action (..., n) of a standardised target."""
        target = torch.addcmul(self.target_mean, standardised_target, self.target_std)
        return self.action(motion, target)

    def interval_deviation(self, time: Tensor) -> Tensor:
        """Return the relative deviation of the sample intervals (..., H) from 1 / rate.

        It is zero for the first frame of a window and for a frame that repeats the previous one.
        """
        step = torch.cat([0 * time[..., :1], time[..., 1:] - time[..., :-1]], dim=-1)  # [s]
        return torch.where(step > 0, step * self.meta.rate - 1, torch.zeros_like(step))

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error in units of the target's variance.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
            action: (B, T, n).
        """
        return nn.functional.mse_loss(
            self.predict_standardised(motion, time), self.standardised_target(motion, action)
        )

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions; a plain network has no standard deviation."""
        return Prediction(
            self.destandardised_action(motion, self.predict_standardised(motion, time)), None
        )


def stack_observations(frames: Tensor, n_obs_steps: int) -> Tensor:
    """Return the last `n_obs_steps` frames of each frame, (B, T, n_obs_steps, ...) of (B, T, ...).

    The start of a sequence is padded with its first frame.
    """
    length = frames.shape[1]
    padded = torch.cat([frames[:, :1]] * (n_obs_steps - 1) + [frames], dim=1)
    return torch.stack([padded[:, k : k + length] for k in range(n_obs_steps)], dim=2)
