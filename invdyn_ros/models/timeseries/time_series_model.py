"""The interface of path models: motions seen now and then enter, all their states leave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from invdyn_ros.config import Validated, from_mapping
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    check_observations,
    max_scale,
)


@dataclass(frozen=True)
class TimeSeriesMetadata(Validated):
    """What a path model is of.

    Attributes:
        family: key of PATHS.
        robot: name of the machine.
        joint_names: its n joints; a state has 2 n numbers, positions and velocities.
        rate: samples per second of the motions it learned from [Hz].
        config: the family's own fields.
        data: where the data came from and how it was trained, for people.
    """

    family: str
    robot: str
    joint_names: tuple[str, ...]
    rate: PositiveFloat
    config: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


class TimeSeriesModel(nn.Module, ABC):
    """Says where motions were at times at which nobody looked; a family writes `loss` and `forward`.

    Times are real seconds, of each motion its own; nothing is on a common grid. What is not seen
    is never read, and what is seen is given back as it is.
    """

    Config: ClassVar[type]
    scale: Tensor  # (2n,) by which errors of each column are divided

    def __init__(self, meta: TimeSeriesMetadata) -> None:
        """Prepare an untrained model of the machine in `meta`."""
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
        """Time between two samples of the motions it learned from [s]."""
        return 1 / self.meta.rate

    @property
    def history_length(self) -> int:
        """Observations before a time that are worth telling it."""
        return 16

    @abstractmethod
    def loss(self, state: Tensor, time: Tensor) -> Tensor:
        """Return what training makes small, a scalar, of motions as in `Motions`."""

    @abstractmethod
    def forward(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n) at all times of a checked record."""

    def fit(self, train: Motions, val: Motions) -> bool:
        """Fit in closed form where the family has one, and say whether it has."""
        return False

    def standardise(self, train: Motions) -> None:
        """Take the scales of the motions to learn from."""
        self.scale.copy_(max_scale(train.state))

    @torch.inference_mode()
    def predict(self, observations: Observations) -> Tensor:
        """Return states (B, T, 2n) at all times of a record, those seen as they are.

        Raises:
            ValueError: a record that no path goes through.
        """
        check_observations(observations, self.n)
        state = torch.where(observations.mask[..., None], observations.state, 0.0).to(self.scale)
        found = self.forward(Observations(state, observations.time, observations.mask))
        return torch.where(observations.mask[..., None], state, found)
