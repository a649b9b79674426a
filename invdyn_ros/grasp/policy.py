"""A learned policy by itself: observations enter, actions leave; torch is all that it needs.

What trained it is not known here, so a node or a script runs a policy without any learner.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from invdyn_ros.config import Checked, Count, Sizes, from_mapping
from invdyn_ros.grasp.steering import SteeringConfig
from invdyn_ros.models.checkpoint import META, NEXT, WEIGHTS, write_tensors

FORMAT = "invdyn_ros policy 1"
MAKES = "'invdyn train_grasp' makes one"


@dataclass(frozen=True)
class PolicyMeta(Checked):
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
    observation_size: Count
    action_size: Count
    hidden: Sizes
    bound: Literal["tanh", "clip"]
    algorithm: str
    control: str = "joint"
    steering: SteeringConfig = field(default_factory=SteeringConfig)
    data: dict[str, Any] = field(default_factory=dict)


class Policy(nn.Module):
    """A network of rectified linear units between a fixed standardisation and a bound."""

    mean: Tensor
    scale: Tensor

    def __init__(self, meta: PolicyMeta) -> None:
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
        return x.tanh() if self.meta.bound == "tanh" else x.clip(-1, 1)

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


def save_policy(policy: Policy, directory: str | Path) -> None:
    """Write a policy; a crash leaves the old one or the new one."""
    write_tensors(policy.state_dict(), policy.meta, directory, FORMAT)


def load_policy(
    directory: str | Path,
    arm: str | None = None,
    observation_size: int | None = None,
    action_size: int | None = None,
) -> Policy:
    """Read a policy, ready to act.

    Args:
        directory: a folder that `save_policy` wrote.
        arm: refuse a policy of any other.
        observation_size: refuse a policy that takes any other.
        action_size: refuse a policy that gives any other.

    Raises:
        ValueError: no policy, a damaged one, or one of something else.
    """
    directory = Path(directory)
    values = _read_meta(directory)
    sha256 = values.pop("sha256", None)
    meta = from_mapping(PolicyMeta, values, str(directory / META))
    _check(meta, directory, arm, observation_size, action_size)
    contents = [f.read_bytes() for f in (directory / NEXT, directory / WEIGHTS) if f.is_file()]
    for content in contents:
        if hashlib.sha256(content).hexdigest() == sha256:
            return _filled(Policy(meta), content, directory)
    raise ValueError(f"{directory / WEIGHTS} is not the one {META} describes; copy both again")


def _check(
    meta: PolicyMeta, where: Path, arm: str | None, observation: int | None, action: int | None
) -> None:
    """Refuse a policy of another arm or of other sizes."""
    if arm is not None and meta.arm != arm:
        raise ValueError(f"{where} is a policy of '{meta.arm}', not of '{arm}'")
    if observation is not None and meta.observation_size != observation:
        raise ValueError(
            f"{where} is a policy for observations of {meta.observation_size} entries, "
            f"not of {observation}"
        )
    if action is not None and meta.action_size != action:
        raise ValueError(
            f"{where} is a policy with actions of {meta.action_size} entries, not of {action}"
        )


def _read_meta(directory: Path) -> dict[str, Any]:
    path = directory / META
    if not path.is_file():
        raise ValueError(f"{directory} is no policy: it has no {META}; {MAKES}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); copy it again") from error
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise ValueError(f'{path} is of no policy; expected "format": "{FORMAT}"; {MAKES}')
    return values


def _filled(policy: Policy, content: bytes, directory: Path) -> Policy:
    try:
        policy.load_state_dict(load_tensors(content))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{directory / WEIGHTS} does not fit {META}: {error}") from error
    return policy.eval()
