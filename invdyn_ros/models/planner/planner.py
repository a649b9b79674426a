"""Planners: a state and a condition enter, N plans (N, T, S) that begin in that state leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from invdyn_ros.config import Validated
from invdyn_ros.models.checkpoint import (
    CheckpointType,
    load_weights,
    read_metadata,
    write_checkpoint,
)
from invdyn_ros.models.planner.flow_matching import FlowMatchingConfig, SequenceFlowMatching

PLANNER = CheckpointType("planner", "invdyn_ros planner 1", "train_planner")


class Planner(Protocol):
    """Proposes what the state may do."""

    def __call__(
        self, state: Tensor, condition: Tensor, count: int, generator: torch.Generator
    ) -> Tensor:
        """Return plans (count, T, S), one state after the other at the planner's rate.

        Args:
            state: (S,) = [q, qd] at the moment, the first state of every plan.
            condition: (C,) what the plans shall bring about.
            count: how many.
            generator: source of what is random in them.
        """


@dataclass(frozen=True)
class PlannerMetadata(Validated):
    """What a planner is of.

    Attributes:
        robot: name of the machine.
        joint_names: its n joints; a state has 2 n numbers, positions and velocities.
        condition_size: entries of a condition.
        rate: planned states per second [Hz].
        network: shape of the network.
        task: what states and conditions are of, where they are not those of any motion.
        data: where the data came from, how it was trained, for people.
    """

    robot: str
    joint_names: tuple[str, ...]
    condition_size: PositiveInt
    rate: PositiveFloat
    network: FlowMatchingConfig = field(default_factory=FlowMatchingConfig)
    task: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


class FlowPlanner(SequenceFlowMatching):
    """Flow matching over state sequences; a `Planner`."""

    def __init__(self, meta: PlannerMetadata) -> None:
        """Make a planner whose weights are still to be filled."""
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
        """Return plans (count, T + 1, S); the temperature scales the noise they flow from.

        Raises:
            ValueError: a state or a condition of another size.
        """
        sizes = (2 * self.joints,), (self.meta.condition_size,)
        if (state.shape, condition.shape) != sizes:
            raise ValueError(
                f"state and condition have shapes {tuple(state.shape)} and "
                f"{tuple(condition.shape)}; the planner takes {sizes[0]} and {sizes[1]}"
            )
        after = state + self.sample(state, condition, count, temperature, generator)
        return torch.cat([state.expand(count, 1, -1), after], dim=1)


def save_planner(planner: FlowPlanner, directory: str | Path) -> None:
    """Write a planner and what it is of; a crash leaves the old one or the new one."""
    write_checkpoint(planner.state_dict(), planner.meta, directory, PLANNER)


def load_planner(directory: str | Path) -> FlowPlanner:
    """Read a planner, ready to plan.

    Raises:
        ValueError: none there, damaged or of another kind.
    """
    meta, sha256 = read_metadata(PlannerMetadata, directory, PLANNER)
    return load_weights(FlowPlanner(meta), directory, sha256, PLANNER).eval()
