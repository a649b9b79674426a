"""Several networks of one family that started apart: their mean, and how far they disagree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from invdyn_ros.config import Validated
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.inverse_dynamics import InverseDynamics, ModelMetadata, Prediction
from invdyn_ros.models.variance_components import variances


@dataclass(frozen=True)
class EnsembleConfig(Validated):
    """Who votes."""

    member: str = "mlp"
    """Family of the members, one that is trained by gradient descent."""
    count: Annotated[int, Field(ge=2)] = 5
    """Number of members; one alone cannot disagree."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Fields of each member's config."""

    def __post_init__(self) -> None:
        """Check that members can disagree."""
        super().__post_init__()
        if self.member == "ensemble":
            raise ValueError("member is 'ensemble'; name the family the ensemble is made of")


class Ensemble(InverseDynamics):
    """Lakshminarayanan, Pritzel, Blundell 2017: members differ in their first weights only.

    The variance is noise_j + trust_j times the members' own, both fitted to validation data.
    """

    Config = EnsembleConfig
    config: EnsembleConfig
    spread: Tensor  # (n, 2): noise [unit^2], trust

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the members with fresh weights."""
        super().__init__(meta)
        from invdyn_ros.models import build  # it knows all families, this one among them

        own = replace(meta, family=self.config.member, config=self.config.fields)
        self.members = nn.ModuleList(build(own) for _ in range(self.config.count))
        self.register_buffer("spread", torch.tensor([[0.0, 1.0]]).repeat(self.n, 1))

    @property
    def _members(self) -> list[InverseDynamics]:
        return [member for member in self.members if isinstance(member, InverseDynamics)]

    @property
    def n_obs_steps(self) -> int:
        """Frames of motion that a member looks at."""
        return self._members[0].n_obs_steps

    @property
    def window(self) -> int:
        """Frames of a member's training window."""
        return self._members[0].window

    def standardise(self, train: Windows) -> None:
        """Take mean and spread of motion and target, for all members alike."""
        super().standardise(train)
        for member in self._members:
            member.standardise(train)

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error of the mean, in units of the target's variance.

        Its gradient is that of the members' own losses: together they would stop to disagree.
        """
        apart = torch.stack([m.loss(motion, time, action) for m in self._members]).mean()
        with torch.no_grad():
            error = (self.predict(motion, time).mean - action) / self.target_std
            together = error.square().mean().clone()
        return apart + (together - apart.detach())

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the mean of the members' actions and its standard deviation."""
        means = torch.stack([member.forward(motion, time).mean for member in self._members])
        terms = torch.stack([torch.ones_like(means[0]), means.var(0)], dim=-1)
        return Prediction(means.mean(0), (terms * self.spread).sum(-1).sqrt())

    def calibrate(self, valid: Iterable[Windows]) -> None:
        """Fit noise and trust to the errors on data that no weight was fitted to."""
        terms, errors = [], []
        for known in valid:
            found = torch.stack([m.predict(known.motion, known.time).mean for m in self._members])
            means = found.flatten(1, 2).double()  # (count, N, n)
            errors.append(known.action.flatten(0, 1).double() - means.mean(0))
            terms.append(torch.stack([torch.ones_like(means[0]), means.var(0)], dim=-1))
        self.spread.copy_(variances(torch.cat(terms), torch.cat(errors)))
