"""Irregular observations of motions: the input of time-series models, and its validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.data.trajectory import Trajectory


class Observations(NamedTuple):
    """B motions at T times each, of which the rows in `mask` are observed."""

    state: Tensor  # (B, T, 2n) = [q, qd]; rows outside the mask are never used
    time: Tensor  # (B, T) [s], increasing in each motion
    mask: Tensor  # (B, T) bool


class Motions(NamedTuple):
    """N complete motions of T samples: the training data of time-series models."""

    state: Tensor  # (N, T, 2n)
    time: Tensor  # (N, T) [s]

    @property
    def size(self) -> int:
        """Number of motions N."""
        return len(self.state)

    def rows(self, index: Tensor | slice) -> Motions:
        """Return a subset of the motions."""
        return Motions(self.state[index], self.time[index])


def check_observations(observations: Observations, n: int) -> None:
    """Validate observations.

    Args:
        observations: motions.
        n: joints of the model.

    Raises:
        ValueError: wrong shapes, a motion without an observation, times that do not increase or
            observations that are not finite.
    """
    state, time, mask = observations
    shape = (*time.shape, 2 * n)
    if time.ndim != 2 or state.shape != shape or mask.shape != time.shape:
        raise ValueError(
            f"state, time and mask have shapes {tuple(state.shape)}, {tuple(time.shape)} and "
            f"{tuple(mask.shape)}; expected (B, T, {2 * n}), (B, T) and (B, T)"
        )
    if len(unobserved := torch.nonzero(~mask.any(1))):
        raise ValueError(f"motion {int(unobserved[0])} has no observation; give at least one")
    not_increasing = torch.nonzero(~(time.diff(dim=1) > 0))  # also true for NaN
    if len(not_increasing) or not time.isfinite().all():
        k, row = (
            int(x)
            for x in (
                not_increasing[0] if len(not_increasing) else torch.nonzero(~time.isfinite())[0]
            )
        )
        a, b = (float(time[k, min(row + j, time.shape[1] - 1)]) for j in (0, 1))
        raise ValueError(
            f"times must increase: in motion {k}, row {row} has {a} s and the next {b} s; sort "
            "them and remove repeated times"
        )
    not_finite = torch.nonzero(mask & ~state.isfinite().all(2))
    if len(not_finite):
        k, row = (int(x) for x in not_finite[0])
        values = ", ".join(f"{x:.4g}" for x in state[k, row].tolist())
        raise ValueError(
            f"the observation in row {row} of motion {k} is [{values}]; states must be finite"
        )


def split_into_motions(trajectories: Sequence[Trajectory], length: int) -> Motions:
    """Split trajectories into pieces of `length` samples; shorter remainders are dropped.

    Raises:
        ValueError: a trajectory without velocities, or none long enough.
    """
    pieces = []
    for k, trajectory in enumerate(trajectories):
        if len(trajectory.velocity) == 0:
            raise ValueError(f"trajectory {k} has no velocity, which a time-series model needs")
        state = np.hstack([trajectory.position, trajectory.velocity])
        time = trajectory.time - trajectory.time[0]
        pieces += [
            (state[a : a + length], time[a : a + length] - time[a])
            for a in range(0, len(time) - length + 1, length)
        ]
    if not pieces:
        longest = max((len(t) for t in trajectories), default=0)
        raise ValueError(f"no trajectory has {length} samples; the longest has {longest}")
    states, times = (np.stack(column) for column in zip(*pieces, strict=True))
    return Motions(torch.as_tensor(states, dtype=torch.float32), torch.as_tensor(times))


def max_scale(state: Tensor) -> Tensor:
    """Return the maximum (2n,) of each column of states (..., 2n), the scale of Rubanova et al.

    For a column without a positive maximum, which does not occur in their data, it is the largest
    magnitude.
    """
    flat = state.flatten(0, -2)
    scale = flat.amax(0)
    scale = torch.where(scale > 0, scale, flat.abs().amax(0))
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def subsample(
    state: Tensor, time: Tensor, fraction: float, seed: int | None = None
) -> Observations:
    """Observe a random fraction of the rows of each motion.

    Args:
        state: (B, T, 2n).
        time: (B, T) [s].
        fraction: fraction of the rows that are observed; at least one row is.
        seed: of the draw; None uses torch's global generator.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    noise = torch.rand(time.shape, generator=generator).to(time.device)
    rank = noise.argsort(1).argsort(1)
    return Observations(state, time, rank < max(1, int(fraction * time.shape[1])))


def surrounding_observations(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices (B, T) of the last observed row up to each row and of the first from it.

    They are -1 and T, respectively, if there is none.
    """
    length = mask.shape[1]
    index = torch.arange(length, device=mask.device).expand_as(mask)
    before = torch.where(mask, index, -1).cummax(1).values
    after = torch.where(mask, index, length).flip(1).cummin(1).values.flip(1)
    return before, after


def insert_intermediate_times(
    observations: Observations, max_step: float
) -> tuple[Observations, Tensor]:
    """Insert unobserved rows, so that consecutive rows are at most `max_step` apart.

    Args:
        observations: motions.
        max_step: longest time between rows [s].

    Returns:
        The observations with more rows, and the indices (B, T) of the original rows in them.
    """
    intervals = observations.time.diff(dim=1)
    parts = (intervals / max_step - 1e-3).ceil().clamp(min=1).long()  # of each interval
    rows = torch.nn.functional.pad(parts.cumsum(1), (1, 0))  # (B, T)
    longest = int(rows[:, -1].max()) + 1
    if longest == observations.time.shape[1]:
        return observations, rows
    index = torch.arange(longest).expand(len(rows), -1).contiguous()
    interval = torch.searchsorted(rows, index, right=True).sub(1).clamp(max=intervals.shape[1] - 1)
    batch = torch.arange(len(rows))[:, None]
    fraction = (index - rows[batch, interval]) / parts[batch, interval]
    # motions with fewer rows than the longest one are extrapolated; these rows are not used
    time = observations.time[batch, interval] + fraction * intervals[batch, interval]
    mask = torch.zeros(time.shape, dtype=torch.bool).scatter(1, rows, observations.mask)
    state = torch.zeros(*time.shape, observations.state.shape[2]).to(observations.state)
    state[batch, rows] = observations.state
    return Observations(state, time, mask), rows
