"""A learned policy by itself: observations enter, actions leave; torch is all that it needs.

What trained it is not known here, so a node or a script runs a policy without any learner.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from torch import Tensor, nn

from invdyn_ros.config import PositiveInts, Validated
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.models.checkpoint import (
    CheckpointType,
    load_weights,
    read_metadata,
    write_checkpoint,
)

POLICY = CheckpointType("policy", "invdyn_ros policy 1", "train_grasp")


@dataclass(frozen=True)
class PolicyMetadata(Validated):
    """What a policy is of.

    Attributes:
        arm: name of the arm it moves.
        observation_size: entries of an observation.
        action_size: entries of an action.
        hidden: units of each hidden layer.
        bound: how actions are kept in [-1, 1].
        algorithm: that trained it.
        control: what its actions mean: joint or cartesian.
        steering: how far one of its actions goes.
        data: how it was trained and how well it did, for people.
    """

    arm: str
    observation_size: PositiveInt
    action_size: PositiveInt
    hidden: PositiveInts
    squash: Literal["tanh", "clip"]
    algorithm: str
    control_mode: str = "joint"
    action_space: ActionSpaceConfig = field(default_factory=ActionSpaceConfig)
    data: dict[str, Any] = field(default_factory=dict)


class Policy(Protocol):
    """Turns observations into actions, one after the other."""

    @property
    def meta(self) -> PolicyMetadata:
        """What it is of."""

    def reset(self) -> None:
        """Begin an episode."""

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the actions (..., a) for observations (..., o)."""


class MLPPolicy(nn.Module):
    """A network of rectified linear units between a fixed standardisation and a bound."""

    mean: Tensor
    scale: Tensor

    def __init__(self, meta: PolicyMetadata) -> None:
        """Make a policy whose weights are still to be filled."""
        super().__init__()
        self.meta = meta
        self.register_buffer("mean", torch.zeros(meta.observation_size))
        self.register_buffer("scale", torch.ones(meta.observation_size))
        sizes = (meta.observation_size, *meta.hidden, meta.action_size)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, observation: Tensor) -> Tensor:
        """Return the actions (..., a) in [-1, 1] that follow observations (..., o)."""
        *hidden, last = self.layers
        x = (observation - self.mean) / self.scale
        for layer in hidden:
            x = layer(x).relu()
        x = last(x)
        return x.tanh() if self.meta.squash == "tanh" else x.clip(-1, 1)

    def reset(self) -> None:
        """Begin an episode; it has no memory."""

    @torch.no_grad()
    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the actions (..., a) for observations (..., o).

        Raises:
            ValueError: an observation of another size.
        """
        if observation.shape[-1] != self.meta.observation_size:
            raise ValueError(
                f"the observation has {observation.shape[-1]} entries; the policy of "
                f"'{self.meta.arm}' takes {self.meta.observation_size}"
            )
        return np.asarray(self(torch.as_tensor(observation, dtype=torch.float32)))


def save_policy(policy: MLPPolicy, directory: str | Path) -> None:
    """Write a policy; a crash leaves the old one or the new one."""
    write_checkpoint(policy.state_dict(), policy.meta, directory, POLICY)


def load_policy(directory: str | Path, arm: str | None = None) -> MLPPolicy:
    """Read a policy, ready to act.

    Args:
        directory: a folder that `save_policy` wrote.
        arm: refuse a policy of any other.

    Raises:
        ValueError: no policy, a damaged one, or one of another arm.
    """
    meta, sha256 = read_metadata(PolicyMetadata, directory, POLICY)
    if arm is not None and meta.arm != arm:
        raise ValueError(f"{directory} is a policy of '{meta.arm}', not of '{arm}'")
    return load_weights(MLPPolicy(meta), directory, sha256, POLICY).eval()
