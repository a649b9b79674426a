"""Training data of planners: states of trajectories, each with the sequence that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.data.trajectory import Trajectory


class PlanSegments(NamedTuple):
    """N segments: a state, a condition, and the sequence of T steps that follows."""

    state: Tensor  # (N, S) = [q, qd]
    condition: Tensor  # (N, C) what the sequence achieves
    sequence: Tensor  # (N, T, D) later states relative to `state`, or actions

    @property
    def size(self) -> int:
        """Number of segments N."""
        return len(self.state)

    def rows(self, index: Any) -> PlanSegments:
        """Return a subset of the segments."""
        return PlanSegments(*(values[index] for values in self))

    def to(self, device: str | torch.device) -> PlanSegments:
        """Return the segments on a device."""
        return PlanSegments(*(values.to(device) for values in self))


def state_segments(trajectories: Sequence[Trajectory], horizon: int) -> PlanSegments:
    """Return each state with the sequence of states of the next `horizon` samples.

    The condition is the last state of the sequence relative to the first one: the state that was
    reached serves as the goal (hindsight, Andrychowicz et al. 2017, arXiv 1707.01495).

    Raises:
        ValueError: a trajectory has no velocity, or none is long enough.
    """
    return _segments(trajectories, horizon, actions=False)


def action_segments(trajectories: Sequence[Trajectory], horizon: int) -> PlanSegments:
    """Return the states and conditions of `state_segments`, with sequences of actions.

    Raises:
        ValueError: a trajectory has no velocity or no action, or none is long enough.
    """
    return _segments(trajectories, horizon, actions=True)


def _segments(trajectories: Sequence[Trajectory], horizon: int, actions: bool) -> PlanSegments:
    parts = []
    for trajectory in trajectories:
        for name in ("velocity", "action")[: 1 + actions]:
            if not len(getattr(trajectory, name)):
                raise ValueError(f"a trajectory has no {name}, which a planner needs")
        state = np.concatenate([trajectory.position, trajectory.velocity], axis=1)  # (L, S)
        index = np.arange(len(state) - horizon)[:, None] + np.arange(horizon)  # (N, T)
        current, following = state[: len(index)], state[index + 1]
        sequence = trajectory.action[index] if actions else following - current[:, None]
        parts.append((current, following[:, -1] - current, sequence))
    if not any(len(current) for current, *_ in parts):
        longest = max(map(len, trajectories), default=0)
        raise ValueError(
            f"no trajectory has {horizon + 1} samples, a state and {horizon} after it; "
            f"the longest has {longest}"
        )
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return PlanSegments(*(torch.as_tensor(column, dtype=torch.float32) for column in columns))
