"""Trajectories enter; tensors to learn from leave, split by trajectory and never by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.leak import check_leak
from invdyn_ros.trajectory import Trajectory


class Windows(NamedTuple):
    """N windows of T consecutive samples of n joints, none across two trajectories."""

    motion: Tensor  # (N, T, 3 n) [q rad, qd rad/s, qdd rad/s^2]
    time: Tensor  # (N, T) [s], 0 at the last sample of each window
    action: Tensor  # (N, T, n) in the action unit of the data

    @property
    def size(self) -> int:
        """Number of windows N."""
        return len(self.motion)

    def rows(self, index: Tensor | slice) -> Windows:
        """Return some of the windows."""
        return Windows(*(values[index] for values in self))

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> Windows:
        """Return the windows on a device, in a floating type."""
        return Windows(*(values.to(device=device, dtype=dtype) for values in self))


class Split(NamedTuple):
    """Data to learn from and data to judge by, with no sample in both."""

    by: str  # "trajectory", "time" or, where the data to learn from are others, "dataset"
    train: list[Trajectory]
    test: list[Trajectory]


def split(trajectories: Sequence[Trajectory], fraction: float = 0.2, seed: int = 0) -> Split:
    """Set `fraction` of the trajectories aside for test; of a single one, its last part in time.

    Neighbouring samples are almost equal, so a split by row would test on what was trained on.

    Raises:
        ValueError: nothing to split, or moments of motion stand in both parts.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"test fraction is {fraction}; it must be between 0 and 1")
    if not trajectories:
        raise ValueError("no trajectories to split; the dataset is empty")
    if len(trajectories) == 1:
        by, (train, test) = "time", _split_in_time(trajectories[0], fraction)
    else:
        order = np.random.default_rng(seed).permutation(len(trajectories))
        count = min(max(round(fraction * len(order)), 1), len(order) - 1)
        chosen = set(order[:count].tolist())
        by = "trajectory"
        train = [t for i, t in enumerate(trajectories) if i not in chosen]
        test = [t for i, t in enumerate(trajectories) if i in chosen]
    check_leak(train, test)
    return Split(by, train, test)


def windows(
    trajectories: Sequence[Trajectory],
    history: int = 1,
    lead: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> Windows:
    """Cut trajectories into windows of `history` consecutive samples.

    Args:
        trajectories: with velocity, acceleration and action, all of the same joints and unit.
        history: samples per window; trajectories shorter than that give none.
        lead: the action of time t is paired with the motion at t + lead [s].
        dtype: floating type of the tensors.

    Raises:
        ValueError: units or joints differ, an action is absent, or no trajectory is long enough.
    """
    check_alike(trajectories)
    if any(len(trajectory.action) == 0 for trajectory in trajectories):
        raise ValueError("a trajectory has no action; a model learns from labelled data only")
    shifted = (t.shift(lead) for t in trajectories if t.time[-1] - t.time[0] >= abs(lead))
    blocks = [_cut(trajectory, history) for trajectory in shifted if len(trajectory) >= history]
    if not blocks:
        longest = max((len(t) for t in trajectories), default=0)
        raise ValueError(
            f"no trajectory holds {history} samples and a lead of {lead} s; "
            f"the longest has {longest} samples"
        )
    columns = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return Windows(*(torch.as_tensor(column, dtype=dtype) for column in columns))


def _cut(trajectory: Trajectory, history: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return motion, time and action of all windows of a trajectory, as in `Windows`."""
    index = np.arange(len(trajectory) - history + 1)[:, None] + np.arange(history)  # (N, T)
    time = trajectory.time[index] - trajectory.time[index[:, -1:]]
    return trajectory.motion[index], time, trajectory.action[index]


def check_alike(trajectories: Sequence[Trajectory]) -> None:
    """Refuse to mix joints or action units."""
    for trajectory in trajectories[1:]:
        for name in ("joint_names", "action_unit"):
            first, other = getattr(trajectories[0], name), getattr(trajectory, name)
            if first != other:
                raise ValueError(
                    f"trajectories of different {name.replace('_', ' ')}: {first} and {other}"
                )


def _split_in_time(
    trajectory: Trajectory, fraction: float
) -> tuple[list[Trajectory], list[Trajectory]]:
    cut = round(len(trajectory) * (1 - fraction))
    if not 0 < cut < len(trajectory):
        raise ValueError(
            f"a trajectory of {len(trajectory)} samples cannot be split; record a longer one"
        )
    return [trajectory[:cut]], [trajectory[cut:]]
