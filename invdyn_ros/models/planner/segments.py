"""Trajectories enter; moments of them, each with what came next, leave for a planner to learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.data.trajectory import Trajectory


class PlanSegments(NamedTuple):
    """N moments: S numbers of state, C of condition, and the T steps of D numbers after each."""

    state: Tensor  # (N, S) = [q, qd]
    condition: Tensor  # (N, C) what the steps bring about
    sequence: Tensor  # (N, T, D) states less the state at the moment, or actions

    @property
    def size(self) -> int:
        """Number of moments N."""
        return len(self.state)

    def rows(self, index: Any) -> PlanSegments:
        """Return some of the moments."""
        return PlanSegments(*(values[index] for values in self))

    def to(self, device: str | torch.device) -> PlanSegments:
        """Return the moments on a device."""
        return PlanSegments(*(values.to(device) for values in self))


def state_segments(trajectories: Sequence[Trajectory], horizon: int) -> PlanSegments:
    """Return all moments with the states of the next `horizon` samples.

    The condition is the whole move, the last of these states less the present one: whatever was
    reached is taken for what was wanted (hindsight, Andrychowicz et al. 2017, arXiv 1707.01495).

    Raises:
        ValueError: a trajectory has no velocity, or none is long enough.
    """
    return _segments(trajectories, horizon, actions=False)


def action_segments(trajectories: Sequence[Trajectory], horizon: int) -> PlanSegments:
    """Return the same moments with the actions sent from each on.

    Raises:
        ValueError: a trajectory has no velocity or no action, or none is long enough.
    """
    return _segments(trajectories, horizon, actions=True)


def _segments(trajectories: Sequence[Trajectory], horizon: int, actions: bool) -> PlanSegments:
    parts = []
    for trajectory in trajectories:
        for name in ("velocity", "action")[: 1 + actions]:
            if not len(getattr(trajectory, name)):
                raise ValueError(f"a trajectory has no {name}; a planner learns from it")
        state = np.concatenate([trajectory.position, trajectory.velocity], axis=1)  # (L, S)
        index = np.arange(len(state) - horizon)[:, None] + np.arange(horizon)  # (N, T)
        now, after = state[: len(index)], state[index + 1]
        ahead = trajectory.action[index] if actions else after - now[:, None]
        parts.append((now, after[:, -1] - now, ahead))
    if not any(len(now) for now, *_ in parts):
        longest = max(map(len, trajectories), default=0)
        raise ValueError(
            f"no trajectory holds {horizon + 1} samples, a state and {horizon} after it; "
            f"the longest has {longest}"
        )
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return PlanSegments(*(torch.as_tensor(column, dtype=torch.float32) for column in columns))
