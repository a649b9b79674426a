"""The interface of every family: a window of motion enters, the actions that make it leave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from invdyn_ros.config import from_mapping
from invdyn_ros.data.windows import InputType, Windows


@dataclass(frozen=True)
class ModelMetadata:
    """What a model is of and how it was made; with its tensors this is a whole checkpoint.

    Attributes:
        family: key of MODELS.
        robot: name of the arm.
        joint_names: its n joints, in the order of all columns.
        action_unit: one of `trajectory.ACTION_UNITS`.
        rate: sample rate of the data [Hz].
        action_delay: the action of time t makes the motion at t + action_delay [s].
        urdf: the arm as URDF text, without shapes; empty where nobody knows its rigid bodies.
        config: the family's own fields.
        data: where the data came from, how it was split, how it was trained.
        frame: height and width of the pictures [px], for families that read any.
    """

    family: str
    robot: str
    joint_names: tuple[str, ...]
    action_unit: str
    rate: float
    action_delay: float
    urdf: str
    config: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    image_size: tuple[int, ...] = ()


class Prediction(NamedTuple):
    """Actions (B, T, n) in the action unit, and their standard deviation if the family has one."""

    mean: Tensor
    std: Tensor | None


class InverseDynamics(nn.Module, ABC):
    """Map a window of motion (B, T, 3n) = [q, qd, qdd] at times (B, T) [s] to actions (B, T, n).

    A family writes `loss` and `forward`, or `solve` where it has a closed form. Its target is the
    torque [N m], the current [A], or for position servos the offset u - q [rad] of the setpoint: a
    servo is a spring, so the offset, unlike u itself, is what the dynamics decide.
    """

    Config: ClassVar[type]
    input_type: ClassVar[InputType] = "motion"
    dtype: ClassVar[torch.dtype] = torch.float32
    motion_mean: Tensor  # (3n,)
    motion_std: Tensor  # (3n,)
    target_mean: Tensor  # (n,)
    target_std: Tensor  # (n,)

    def __init__(self, meta: ModelMetadata) -> None:
        """Prepare an untrained model of the arm and unit in `meta`."""
        super().__init__()
        self.meta = meta
        self.config: Any = from_mapping(self.Config, meta.config, meta.family)
        n = self.n
        for name, width, value in _STANDARDISATION_BUFFERS:
            self.register_buffer(name, torch.full((width * n,), value, dtype=self.dtype))

    @property
    def n(self) -> int:
        """Number of joints."""
        return len(self.meta.joint_names)

    @property
    def input_dim(self) -> int:
        """Numbers per frame that the model reads."""
        return 3 * self.n

    @property
    def warmup_frames(self) -> int:
        """Frames at the start of a sequence whose action the model cannot know."""
        return 0

    @property
    def n_obs_steps(self) -> int:
        """Frames of motion that a prediction looks at, its own among them."""
        return 1

    @property
    def window(self) -> int:
        """Frames of a training window."""
        return self.n_obs_steps

    @property
    def stride(self) -> int:
        """Frames from the start of a training window to that of the next."""
        return 1

    @abstractmethod
    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return what training makes small, a scalar; motion and action in SI units."""

    @abstractmethod
    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions of a motion, SI in and SI out: tensors only, as an export needs.

        Args:
            motion: (B, T, 3n) in `dtype`.
            time: (B, T) [s] from any origin, in `dtype`.
        """

    @torch.inference_mode()
    def predict(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions of a motion, SI in and SI out; the same in training as after it.

        Args:
            motion: (B, T, 3n); each prediction looks at `history` frames, fewer at the start.
            time: (B, T) [s], in double precision where the origin is far away.
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
        """Draw actions (count, B, T, n); a family without a spread always draws its mean.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
            count: actions per frame.
            temperature: scale of the noise; 0 takes all of it away.
            generator: source of the noise, so that the same seed draws the same actions.
            **how: what the family's `drawn` takes beside the noise.

        Raises:
            ValueError: no draws, or a negative temperature.
        """
        if num_samples < 1 or not temperature >= 0:
            raise ValueError(
                f"count is {num_samples} and temperature {temperature}; "
                "right are at least 1 and a number from 0 up"
            )
        motion, time = self._prepare_inputs(motion, time)
        noise = normal_noise((num_samples, *motion.shape[:2], self.n), motion, generator)
        return self.sample_from_noise(motion, time, temperature * noise, **kwargs)

    def sample_from_noise(self, motion: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """Return the actions (count, B, T, n) that normal noise of that shape makes."""
        mean, std = self.predict(motion, time)
        return mean + (0.0 if std is None else std) * noise

    def _prepare_inputs(self, motion: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return a motion in the type of the model."""
        # seconds since 1970 have no milliseconds in single precision
        return motion.to(self.dtype), (time - time[..., -1:]).to(self.dtype)

    def fit(self, train: Windows, val: Windows) -> bool:
        """Fit in closed form and return True; False asks for gradient descent on `loss`."""
        return False

    def input_stats(self) -> tuple[Tensor, Tensor]:
        """Return mean and spread (width,) of what the model was trained on."""
        return self.motion_mean, self.motion_std

    def calibrate(self, val: Iterable[Windows]) -> None:
        """Fit to whole recordings, one window each, what training data show too well.

        That is the standard deviation, of a family that has one, or how far to trust an answer.
        """

    def standardise(self, train: Windows) -> None:
        """Take mean and spread of motion and target from the training data."""
        motion, target = (
            train.motion.flatten(0, 1),
            self.target(train.motion, train.action).flatten(0, 1),
        )
        for name, values in (("motion", motion), ("target", target)):
            std = values.std(0, correction=0)
            # a column that never changes carries nothing: scale 1 keeps it finite
            std = torch.where(std > 1e-9, std, torch.ones_like(std))
            getattr(self, f"{name}_mean").copy_(values.mean(0))
            getattr(self, f"{name}_std").copy_(std)

    def target(self, motion: Tensor, action: Tensor) -> Tensor:
        """Return what the family models: the action, or for a servo its offset u - q [rad]."""
        return action - motion[..., : self.n] if self.meta.action_unit == "rad" else action

    def action(self, motion: Tensor, target: Tensor) -> Tensor:
        """Undo `target`."""
        return target + motion[..., : self.n] if self.meta.action_unit == "rad" else target


def normal_noise(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return standard normal noise in the type and on the device of `like`.

    It is drawn where the generator lives, so that a seed means the same on every device.
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
