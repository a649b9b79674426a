"""Planner interface, the flow-matching planner and its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import PositiveInt
from torch import Tensor

from invdyn_ros.config import Validated
from invdyn_ros.models.checkpoint import load_weights, write_checkpoint
from invdyn_ros.models.checkpoint_files import CheckpointType, read_metadata
from invdyn_ros.models.planner.flow_matching import FlowMatchingConfig, SequenceFlowMatching
from invdyn_ros.typing import Names, Rate

PLANNER = CheckpointType("planner", "invdyn_ros planner 1", "train_planner")


class Planner(Protocol):
    """Generator of plans from a state and a condition."""

    def __call__(
        self, state: Tensor, condition: Tensor, count: int, generator: torch.Generator
    ) -> Tensor:
        """Return plans (count, T, S), sequences of states at the planner's rate.

        Args:
            state: (S,) = [q, qd], the current state and the first one of every plan.
            condition: (C,) goal of the plans.
            count: number of plans.
            generator: random number generator.
        """


@dataclass(frozen=True)
class PlannerMetadata(Validated):
    """Metadata of a planner.

    Attributes:
        robot: name of the robot.
        joint_names: its n joints; a state has 2 n numbers, positions and velocities.
        condition_size: size of a condition.
        rate: rate of the planned states [Hz].
        network: shape of the network.
        task: description of the task that defines states and conditions; empty without one.
        data: dataset and training, for information.
    """

    robot: str
    joint_names: Names
    condition_size: PositiveInt
    rate: Rate
    network: FlowMatchingConfig = field(default_factory=FlowMatchingConfig)
    task: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


class FlowPlanner(SequenceFlowMatching):
    """Flow matching over state sequences; a `Planner`."""

    def __init__(self, meta: PlannerMetadata) -> None:
        """Create an untrained planner."""
        n = len(meta.joint_names)
        super().__init__(meta.network, n, meta.condition_size, 2 * n)
        self.meta = meta

    def __call__(
        self,
        state: Tensor,
        condition: Tensor,
        count: int,
        generator: torch.Generator,
        temperature: float = 1.0,
    ) -> Tensor:
        """Return plans (count, T + 1, S).

        Args:
            state: (S,) = [q, qd], the current state and the first one of every plan.
            condition: (C,) goal of the plans.
            count: number of plans.
            generator: random number generator.
            temperature: scale of the noise from which plans are generated.

        Raises:
            ValueError: a state or a condition of another size.
        """
        sizes = (2 * self.joints,), (self.meta.condition_size,)
        if (state.shape, condition.shape) != sizes:
            raise ValueError(
                f"state and condition have shapes {tuple(state.shape)} and "
                f"{tuple(condition.shape)}; the planner takes {sizes[0]} and {sizes[1]}"
            )
        following = state + self.sample(state, condition, count, temperature, generator)
        return torch.cat([state.expand(count, 1, -1), following], dim=1)


def save_planner(planner: FlowPlanner, directory: str | Path) -> None:
    """Write the checkpoint of a planner atomically."""
    write_checkpoint(planner.state_dict(), planner.meta, directory, PLANNER)


def load_planner(directory: str | Path) -> FlowPlanner:
    """Read a planner in evaluation mode.

    Raises:
        ValueError: no checkpoint, damaged or of another type.
    """
    meta, sha256 = read_metadata(PlannerMetadata, directory, PLANNER)
    return load_weights(partial(FlowPlanner, meta), directory, sha256, PLANNER).eval()
