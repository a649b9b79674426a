"""Neural-network policies as stored on disk; inference needs only PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
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
from invdyn_ros.models.checkpoint import load_weights, write_checkpoint
from invdyn_ros.models.checkpoint_files import CheckpointType, read_metadata

POLICY = CheckpointType("policy", "invdyn_ros policy 1", "train_grasp")


@dataclass(frozen=True)
class PolicyMetadata(Validated):
    """Metadata of a policy.

    Attributes:
        arm: name of the arm.
        observation_size: size of an observation.
        action_size: size of an action.
        hidden: units of each hidden layer.
        squash: function that maps the output to [-1, 1].
        algorithm: algorithm that trained it.
        control_mode: meaning of its actions: joint or cartesian.
        action_space: time step and scale of its actions.
        data: training settings and results, for information.
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
    """Protocol of policies, which map observations to actions, one after the other."""

    @property
    def meta(self) -> PolicyMetadata:
        """Metadata."""

    def reset(self) -> None:
        """Start an episode."""

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the actions (..., a) for observations (..., o)."""


class MLPPolicy(nn.Module):
    """Multilayer perceptron with ReLU activations on standardized observations."""

    mean: Tensor
    scale: Tensor

    def __init__(self, meta: PolicyMetadata) -> None:
        """Create a policy with random weights."""
        super().__init__()
        self.meta = meta
        self.register_buffer("mean", torch.zeros(meta.observation_size))
        self.register_buffer("scale", torch.ones(meta.observation_size))
        sizes = (meta.observation_size, *meta.hidden, meta.action_size)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, observation: Tensor) -> Tensor:
        """Return the actions (..., a) in [-1, 1] for observations (..., o)."""
        *hidden, last = self.layers
        x = (observation - self.mean) / self.scale
        for layer in hidden:
            x = layer(x).relu()
        x = last(x)
        return x.tanh() if self.meta.squash == "tanh" else x.clip(-1, 1)

    def reset(self) -> None:
        """Start an episode; the policy is memoryless."""

    @torch.no_grad()
    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the actions (..., a) for observations (..., o).

        Raises:
            ValueError: observations of the wrong size.
        """
        if observation.shape[-1] != self.meta.observation_size:
            raise ValueError(
                f"the observation has {observation.shape[-1]} entries; the policy of "
                f"'{self.meta.arm}' takes {self.meta.observation_size}"
            )
        return np.asarray(self(torch.as_tensor(observation, dtype=torch.float32)))


def save_policy(policy: MLPPolicy, directory: str | Path) -> None:
    """Write a policy atomically: after a crash, the old or the new one is complete."""
    write_checkpoint(policy.state_dict(), policy.meta, directory, POLICY)


def load_policy(directory: str | Path, arm: str | None = None) -> MLPPolicy:
    """Read a policy for inference.

    Args:
        directory: a folder that `save_policy` wrote.
        arm: name of the arm that the policy must have been trained for; None: any.

    Raises:
        ValueError: no policy, a damaged one, or one for another arm.
    """
    meta, sha256 = read_metadata(PolicyMetadata, directory, POLICY)
    if arm is not None and meta.arm != arm:
        raise ValueError(f"{directory} is a policy for '{meta.arm}', not for '{arm}'")
    return load_weights(partial(MLPPolicy, meta), directory, sha256, POLICY).eval()
