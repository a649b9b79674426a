"""Some states of a motion, at any times: what path models read, checked here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.data.trajectory import Trajectory


class Observations(NamedTuple):
    """B motions at T times of their own; only the rows that are `seen` are known."""

    state: Tensor  # (B, T, 2n) = [q, qd]; what stands in rows not seen is never read
    time: Tensor  # (B, T) [s], increasing in each motion
    mask: Tensor  # (B, T) bool


class Motions(NamedTuple):
    """N whole motions of T samples, what path models learn from."""

    state: Tensor  # (N, T, 2n)
    time: Tensor  # (N, T) [s]

    @property
    def size(self) -> int:
        """Number of motions N."""
        return len(self.state)

    def rows(self, index: Tensor | slice) -> Motions:
        """Return some of the motions."""
        return Motions(self.state[index], self.time[index])


def check_observations(observations: Observations, n: int) -> None:
    """Refuse what no path goes through.

    Args:
        record: motions.
        n: joints of the model.

    Raises:
        ValueError: shapes that do not fit, a motion never seen, times that do not increase or
            observations that are not finite; names motion and row.
    """
    state, time, seen = observations
    shape = (*time.shape, 2 * n)
    if time.ndim != 2 or state.shape != shape or seen.shape != time.shape:
        raise ValueError(
            f"state, time and seen have shapes {tuple(state.shape)}, {tuple(time.shape)} and "
            f"{tuple(seen.shape)}; right are (B, T, {2 * n}), (B, T) and (B, T)"
        )
    if len(never := torch.nonzero(~seen.any(1))):
        raise ValueError(f"motion {int(never[0])} has no observation; it takes at least one")
    still = torch.nonzero(~(time.diff(dim=1) > 0))  # also true for NaN
    if len(still) or not time.isfinite().all():
        k, row = (int(x) for x in (still[0] if len(still) else torch.nonzero(~time.isfinite())[0]))
        a, b = (float(time[k, min(row + j, time.shape[1] - 1)]) for j in (0, 1))
        raise ValueError(
            f"times must increase: in motion {k}, row {row} has {a} s and the next {b} s; sort "
            "them and leave repeats out"
        )
    wrong = torch.nonzero(seen & ~state.isfinite().all(2))
    if len(wrong):
        k, row = (int(x) for x in wrong[0])
        values = ", ".join(f"{x:.4g}" for x in state[k, row].tolist())
        raise ValueError(f"motion {k} is seen in row {row} at [{values}]; only numbers are states")


def split_into_motions(trajectories: Sequence[Trajectory], length: int) -> Motions:
    """Cut trajectories into pieces of `length` samples; shorter rests are left out.

    Raises:
        ValueError: a trajectory without velocities, or none long enough.
    """
    pieces = []
    for k, trajectory in enumerate(trajectories):
        if len(trajectory.velocity) == 0:
            raise ValueError(f"trajectory {k} has no velocity, which a path model reads")
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
    """Return the maximum of each column (2n,) of states (..., 2n), as Rubanova et al. scale them.

    Where that is not positive, which their data never have, the largest magnitude stands for it.
    """
    flat = state.flatten(0, -2)
    most = flat.amax(0)
    most = torch.where(most > 0, most, flat.abs().amax(0))
    return torch.where(most > 0, most, torch.ones_like(most))


def subsample(
    state: Tensor, time: Tensor, fraction: float, seed: int | None = None
) -> Observations:
    """Show a share of the rows of each motion (B, T, 2n), drawn anew for each of them.

    With a seed the same ones are drawn each time, else those that torch draws next.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    chance = torch.rand(time.shape, generator=generator).to(time.device)
    rank = chance.argsort(1).argsort(1)
    return Observations(state, time, rank < max(1, int(fraction * time.shape[1])))


def surrounding_observations(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return of each row the last seen row up to it and the first from it on, (B, T) each.

    Where there is none, -1 and T.
    """
    length = mask.shape[1]
    number = torch.arange(length, device=mask.device).expand_as(mask)
    before = torch.where(mask, number, -1).cummax(1).values
    after = torch.where(mask, number, length).flip(1).cummin(1).values.flip(1)
    return before, after


def insert_intermediate_times(
    observations: Observations, max_step: float
) -> tuple[Observations, Tensor]:
    """Put rows between those of a record, so that none is farther than a step from the next.

    Args:
        record: motions.
        step: longest time between rows [s].

    Returns:
        The record with more rows, and where its own rows are in it, (B, T).
    """
    gaps = observations.time.diff(dim=1)
    parts = (gaps / max_step - 1e-3).ceil().clamp(min=1).long()  # of each interval
    rows = torch.nn.functional.pad(parts.cumsum(1), (1, 0))  # (B, T)
    longest = int(rows[:, -1].max()) + 1
    if longest == observations.time.shape[1]:
        return observations, rows
    number = torch.arange(longest).expand(len(rows), -1).contiguous()
    place = torch.searchsorted(rows, number, right=True).sub(1).clamp(max=gaps.shape[1] - 1)
    each = torch.arange(len(rows))[:, None]
    share = (number - rows[each, place]) / parts[each, place]
    # motions with fewer rows than the longest go on for some steps that nobody asks for
    time = observations.time[each, place] + share * gaps[each, place]
    seen = torch.zeros(time.shape, dtype=torch.bool).scatter(1, rows, observations.mask)
    state = torch.zeros(*time.shape, observations.state.shape[2]).to(observations.state)
    state[each, rows] = observations.state
    return Observations(state, time, seen), rows
