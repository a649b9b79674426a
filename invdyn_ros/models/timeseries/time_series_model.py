"""Interface of time-series models for irregularly sampled motion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from invdyn_ros.config import Validated, from_mapping
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    check_observations,
    max_scale,
)
from invdyn_ros.typing import Names, Rate

FORWARD, BACKWARD = 1, -1  # direction in time of a rollout


@dataclass(frozen=True)
class TimeSeriesMetadata(Validated):
    """Metadata of a time-series model.

    Attributes:
        family: key of `TIME_SERIES_MODELS`.
        robot: name of the robot.
        joint_names: its n joints; a state has 2 n numbers, positions and velocities.
        rate: sampling rate of the training data [Hz].
        config: fields of the family's config.
        data: dataset and training, for information.
    """

    family: str
    robot: str
    joint_names: Names
    rate: Rate
    config: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


class TimeSeriesModel(nn.Module, ABC):
    """Prediction of the states of a motion at unobserved times.

    A family implements `loss` and `forward`. Each motion has its own times [s]; there is no
    common grid. Unobserved states are never used, and observed states are returned unchanged.
    """

    Config: ClassVar[type]
    scale: Tensor  # (2n,) by which errors of each column are divided

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Create an untrained model of the robot in `meta`."""
        super().__init__()
        self.meta = meta
        self.config: Any = from_mapping(self.Config, meta.config, meta.family)
        self.register_buffer("scale", torch.ones(2 * self.n))

    @property
    def n(self) -> int:
        """Number of joints."""
        return len(self.meta.joint_names)

    @property
    def sample_period(self) -> float:
        """Time between two samples of the training data [s]."""
        return 1 / self.meta.rate

    @property
    def history_length(self) -> int:
        """Number of past observations to keep for a prediction."""
        return 16

    @abstractmethod
    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return the training loss, a scalar, of motions as in `Motions`."""

    @abstractmethod
    def forward(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n) at all times of valid observations."""

    def fit(self, train: Motions, val: Motions) -> bool:
        """Fit in closed form and return True, or return False to request gradient descent."""
        return False

    def standardise(self, train: Motions) -> None:
        """Set the scales from the training data."""
        self.scale.copy_(max_scale(train.state))

    @torch.inference_mode()
    def predict(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n) at all times, the observed ones unchanged.

        Raises:
            ValueError: the observations are invalid.
        """
        check_observations(observations, self.n)
        mask = observations.mask
        state = torch.where(mask[..., None], observations.state, 0.0).to(self.scale)
        predicted = self.forward(Observations(state, observations.time, mask))
        return torch.where(mask[..., None], state, predicted)
