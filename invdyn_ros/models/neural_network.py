"""Base class of the network families of motion: standardisation, features and loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from invdyn_ros.config import Validated
from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.robots.urdf import UrdfTree

MIN_POWER = 0.02  # of a change of acceleration, in standard deviations
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


@dataclass(frozen=True)
class FeatureConfig(Validated):
    """Features of a frame of motion, beside the standardised positions and their derivatives.

    The defaults are those of checkpoints that lack the fields.
    """

    angles: bool = True
    """sin q and cos q as additional features; gravity is almost linear in them."""
    periodic: bool = False
    """Leave out q beside sin q and cos q, so that a whole turn of a joint changes nothing; not for
    prismatic joints."""
    coulomb_velocity: NonNegativeFloat = 0.0
    """[rad/s] Velocity at which Coulomb friction is fully developed: tanh of the velocity divided
    by it as additional features; 0: none."""
    inertia_weight: NonNegativeFloat = 0.0
    """Weight of a penalty on states in which more acceleration does not take more action, such as
    10; 0: none."""

    def __post_init__(self) -> None:
        """Check that the positions have features."""
        super().__post_init__()
        if self.periodic and not self.angles:
            raise ValueError("periodic is true and angles false; periodic features are angles")


class NeuralNetwork(InverseDynamics):
    """A family whose network predicts the standardised target in `predict_standardised`.

    Its config is a `FeatureConfig`.
    """

    def __init__(self, meta: ModelMetadata) -> None:
        """Check the features.

        Raises:
            ValueError: periodic features of a prismatic joint.
        """
        super().__init__(meta)
        turns = zip(meta.joint_names, turning_joints(meta), strict=True)
        sliding = [name for name, turning in turns if not turning]
        if self.config.periodic and sliding:
            raise ValueError(
                f"periodic is true, but joint '{sliding[0]}' is prismatic; set periodic to false"
            )

    @abstractmethod
    def predict_standardised(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the standardised target (B, T, n) of a motion (B, T, 3n) at times (B, T) [s]."""

    @property
    def feature_dim(self) -> int:
        """Number of `features` per frame."""
        config: FeatureConfig = self.config
        blocks = 3 + 2 * config.angles - config.periodic + (config.coulomb_velocity > 0)
        return blocks * self.n

    def features(self, motion: Tensor) -> Tensor:
        """Return the features (..., feature_dim) of a motion (..., 3n).

        They are the standardised motion, and sin q, cos q and the direction of the velocity as
        configured.
        """
        config: FeatureConfig = self.config
        n = self.n
        inputs = (motion - self.motion_mean) / self.motion_std
        parts = [inputs[..., n:] if config.periodic else inputs]
        if config.angles:
            q = motion[..., :n]
            parts += [torch.sin(q), torch.cos(q)]
        if config.coulomb_velocity > 0:
            parts.append(torch.tanh(motion[..., n : 2 * n] / config.coulomb_velocity))
        return torch.cat(parts, dim=-1)

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
        """Return the mean squared error in units of the target's variance, and the penalty.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
            action: (B, T, n).
        """
        mean = self.predict_standardised(motion, time)
        error = nn.functional.mse_loss(mean, self.standardised_target(motion, action))
        return error + self.inertia_penalty(motion, time)

    def inertia_penalty(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the penalty where the derivative of the action by acceleration is not positive.

        The last frame is accelerated in a random direction, and the power of the change of the
        action along it should be positive, as that of an inertia. In evaluation mode the
        directions are constant, so that losses can be compared.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
        """
        config: FeatureConfig = self.config
        if config.inertia_weight == 0:
            return motion.new_zeros(())
        generator = None if self.training else torch.Generator().manual_seed(0)
        acceleration_std = self.motion_std[2 * self.n :]
        scale = (acceleration_std * self.target_std).sqrt()
        scale = scale.mean() / scale  # so that all joints count alike
        direction = torch.randn(len(motion), self.n, generator=generator).to(motion)
        change = torch.zeros_like(motion)
        change[:, -1, 2 * self.n :] = direction * scale * acceleration_std
        moved, still = (self.predict_standardised(x, time) for x in (motion + change, motion))
        power = (direction * (moved - still)[:, -1] / scale).sum(-1) / direction.square().sum(-1)
        return config.inertia_weight * (MIN_POWER - power).clamp_min(0.0).square().mean()

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


def turning_joints(meta: ModelMetadata) -> list[bool]:
    """Return whether each joint (n,) turns and does not slide; without a URDF all turn."""
    if not meta.urdf:
        return [True] * len(meta.joint_names)
    joints = UrdfTree(meta.urdf).joints
    return [name not in joints or joints[name].type != "prismatic" for name in meta.joint_names]
