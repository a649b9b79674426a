"""Interface of inverse dynamics models: from a window of motion to the actions that cause it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from invdyn_ros.config import from_mapping
from invdyn_ros.data.windows import InputType, Windows
from invdyn_ros.models.effort_lag import filter_actions
from invdyn_ros.models.model_metadata import ModelMetadata


class Prediction(NamedTuple):
    """Actions (B, T, n) in the action unit, and their standard deviation if the family has one."""

    mean: Tensor
    std: Tensor | None


class InverseDynamics(nn.Module, ABC):
    """Map a window of motion (B, T, 3n) = [q, qd, qdd] at times (B, T) [s] to actions (B, T, n).

    A family implements `loss` and `forward`, or `fit` if it has a closed form. Its target is the
    torque [N m], the current [A], or for position servos the offset u - q [rad] of the setpoint: a
    servo acts as a spring, so the dynamics determine the offset, not u itself.
    """

    Config: ClassVar[type]
    input_type: ClassVar[InputType] = "motion"
    dtype: ClassVar[torch.dtype] = torch.float32
    identifies_lag: ClassVar[bool] = False
    """Whether `fit` takes the lag of recorded actions into account, `ModelMetadata.effort_lag`."""
    motion_mean: Tensor  # (3n,)
    motion_std: Tensor  # (3n,)
    target_mean: Tensor  # (n,)
    target_std: Tensor  # (n,)

    def __init__(self, meta: ModelMetadata) -> None:
        """Create an untrained model of the arm and unit in `meta`."""
        super().__init__()
        self.meta = meta
        self.config: Any = from_mapping(self.Config, meta.config, meta.family)
        self.identification: dict[str, Any] | None = None  # report of the family's own fit
        n = self.n
        for name, width, value in _STANDARDISATION_BUFFERS:
            self.register_buffer(name, torch.full((width * n,), value, dtype=self.dtype))

    @property
    def n(self) -> int:
        """Number of joints."""
        return len(self.meta.joint_names)

    @property
    def input_dim(self) -> int:
        """Number of inputs per frame."""
        return 3 * self.n

    @property
    def warmup_frames(self) -> int:
        """Frames at the start of a sequence without a prediction."""
        return 0

    @property
    def n_obs_steps(self) -> int:
        """Number of frames that a prediction depends on, including its own."""
        return 1

    @property
    def window_size(self) -> int:
        """Number of frames of a training window."""
        return self.n_obs_steps

    @property
    def stride(self) -> int:
        """Number of frames from the start of a training window to that of the next."""
        return 1

    @abstractmethod
    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the training loss, a scalar; motion and action are in SI units.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
            action: (B, T, n).
        """

    @abstractmethod
    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions of a motion in SI units; tensor operations only, for ONNX export.

        Args:
            motion: (B, T, 3n) in `dtype`.
            time: (B, T) [s] from any origin, in `dtype`.
        """

    @torch.inference_mode()
    def predict(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions of a motion in SI units, always in evaluation mode.

        Args:
            motion: (B, T, 3n); a prediction depends on `n_obs_steps` frames, fewer at the start.
            time: (B, T) [s], in double precision if the origin is far away.
        """
        training = self.training
        if training:
            self.eval()
        try:
            return self.forward(*self._prepare_inputs(motion, time))
        finally:
            if training:
                self.train()

    @torch.inference_mode()
    def sample(
        self,
        motion: Tensor,
        time: Tensor,
        num_samples: int = 1,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Draw actions (num_samples, B, T, n); without a standard deviation all equal the mean.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
            num_samples: actions per frame.
            temperature: scale of the noise; 0: no noise.
            generator: source of the noise.
            **kwargs: passed to the family's `sample_from_noise`.

        Raises:
            ValueError: no samples, or a negative temperature.
        """
        if num_samples < 1 or not temperature >= 0:
            raise ValueError(
                f"num_samples is {num_samples} and temperature {temperature}; "
                "they must be at least 1 and at least 0"
            )
        motion, time = self._prepare_inputs(motion, time)
        noise = normal_noise((num_samples, *motion.shape[:2], self.n), motion, generator)
        return self.sample_from_noise(motion, time, temperature * noise, **kwargs)

    def sample_from_noise(self, motion: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """Return the actions (num_samples, B, T, n) for standard normal noise of that shape.

        Args:
            motion: (B, T, 3n) in `dtype`.
            time: (B, T) [s] in `dtype`.
            noise: (num_samples, B, T, n).
        """
        mean, std = self.predict(motion, time)
        return mean + (0.0 if std is None else std) * noise

    def _prepare_inputs(self, motion: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Convert motion and time to the model's `dtype`."""
        # Unix time has no milliseconds in single precision
        return motion.to(self.dtype), (time - time[..., -1:]).to(self.dtype)

    def fit(self, train: Windows, val: Windows) -> bool:
        """Fit in closed form and return True, or return False to request gradient descent."""
        return False

    def input_stats(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation (input_dim,) of the training inputs."""
        return self.motion_mean, self.motion_std

    def calibrate(self, val: Iterable[Windows]) -> None:
        """Calibrate the trained model on validation recordings.

        This fits quantities that the training data would bias: the standard deviation of an
        ensemble, or the smoothing weights of a video family.

        Args:
            val: recordings, one window each.
        """

    def standardise(self, train: Windows) -> None:
        """Compute mean and standard deviation of motion and target from the training data."""
        motion, target = (
            train.motion.flatten(0, 1),
            self.target(train.motion, train.action).flatten(0, 1),
        )
        for name, values in (("motion", motion), ("target", target)):
            std = values.std(0, correction=0)
            # a constant column is scaled by 1 to avoid a division by zero
            std = torch.where(std > 1e-9, std, torch.ones_like(std))
            getattr(self, f"{name}_mean").copy_(values.mean(0))
            getattr(self, f"{name}_std").copy_(std)

    def as_recorded(self, actions: Tensor, motion: Tensor) -> Tensor:
        """Return actions (..., T, n) of successive frames as a robot would record them.

        Args:
            actions: of this model.
            motion: (..., T, F) of these frames.
        """
        return filter_actions(actions, self.meta)

    def target(self, motion: Tensor, action: Tensor) -> Tensor:
        """Return the target of the family: the action, or for a servo its offset u - q [rad]."""
        return action - motion[..., : self.n] if self.meta.action_unit == "rad" else action

    def action(self, motion: Tensor, target: Tensor) -> Tensor:
        """Invert `target`."""
        return target + motion[..., : self.n] if self.meta.action_unit == "rad" else target


def normal_noise(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return standard normal noise with the type and device of `like`.

    It is drawn on the generator's device, so that a seed gives the same noise on every device.

    Args:
        shape: of the noise.
        like: determines type and device.
        generator: source of the noise; None: torch's default.
    """
    device = like.device if generator is None else generator.device
    noise = torch.randn(tuple(shape), generator=generator, device=device, dtype=like.dtype)
    return noise.to(like.device)


_STANDARDISATION_BUFFERS = (
    ("motion_mean", 3, 0.0),
    ("motion_std", 3, 1.0),
    ("target_mean", 1, 0.0),
    ("target_std", 1, 1.0),
)
