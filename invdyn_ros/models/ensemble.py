"""Deep ensemble: mean and disagreement of networks with different initial weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from invdyn_ros.config import Validated
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.variance_components import fit_variance_components


@dataclass(frozen=True)
class EnsembleConfig(Validated):
    """Members of the ensemble."""

    member_family: str = "mlp"
    """Family of the members; it must be trained by gradient descent."""
    num_members: Annotated[int, Field(ge=2)] = 5
    """Number of members."""
    member_config: dict[str, Any] = field(default_factory=dict)
    """Config of each member."""

    def __post_init__(self) -> None:
        """Check that the members are not ensembles."""
        super().__post_init__()
        if self.member_family == "ensemble":
            raise ValueError(
                "member_family is 'ensemble'; give the family of the members, such as 'mlp'"
            )


class Ensemble(InverseDynamics):
    """Ensemble of networks (Lakshminarayanan et al. 2017) that differ in their initial weights.

    The variance is noise_j + scale_j times the variance of the members, both fitted to
    validation data.
    """

    Config = EnsembleConfig
    config: EnsembleConfig
    variance_weights: Tensor  # (n, 2): noise [unit^2], scale of the members' variance

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the members with random weights."""
        super().__init__(meta)
        from invdyn_ros.models.registry import build  # not at the top: it imports this module

        member_meta = replace(
            meta, family=self.config.member_family, config=self.config.member_config
        )
        self.members = nn.ModuleList(build(member_meta) for _ in range(self.config.num_members))
        self.register_buffer("variance_weights", torch.tensor([[0.0, 1.0]]).repeat(self.n, 1))

    @property
    def _members(self) -> list[InverseDynamics]:
        return [member for member in self.members if isinstance(member, InverseDynamics)]

    @property
    def n_obs_steps(self) -> int:
        """Number of frames that a prediction depends on."""
        return self._members[0].n_obs_steps

    @property
    def window_size(self) -> int:
        """Number of frames of a member's training window."""
        return self._members[0].window_size

    def standardise(self, train: Windows) -> None:
        """Compute mean and standard deviation of motion and target, the same for all members."""
        super().standardise(train)
        for member in self._members:
            member.standardise(train)

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error of the mean, in units of the target's variance.

        Its gradient is that of the mean of the members' losses, because joint training would make
        the members alike.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
            action: (B, T, n).
        """
        member_loss = torch.stack([m.loss(motion, time, action) for m in self._members]).mean()
        with torch.no_grad():
            error = (self.predict(motion, time).mean - action) / self.target_std
            ensemble_loss = error.square().mean().clone()
        return member_loss + (ensemble_loss - member_loss.detach())

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the mean of the members' actions and its standard deviation."""
        means = torch.stack([member.forward(motion, time).mean for member in self._members])
        terms = torch.stack([torch.ones_like(means[0]), means.var(0)], dim=-1)
        return Prediction(means.mean(0), (terms * self.variance_weights).sum(-1).sqrt())

    def calibrate(self, val: Iterable[Windows]) -> None:
        """Fit the noise and the scale of the variance to the errors on validation data."""
        terms, errors = [], []
        for recording in val:
            predictions = torch.stack(
                [m.predict(recording.motion, recording.time).mean for m in self._members]
            )
            means = predictions.flatten(1, 2).double()  # (count, N, n)
            errors.append(recording.action.flatten(0, 1).double() - means.mean(0))
            terms.append(torch.stack([torch.ones_like(means[0]), means.var(0)], dim=-1))
        self.variance_weights.copy_(fit_variance_components(torch.cat(terms), torch.cat(errors)))
