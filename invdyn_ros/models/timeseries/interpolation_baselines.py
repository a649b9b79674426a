"""Plain curves through what was seen: the rows beside every path model that learns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator
from torch import Tensor

from invdyn_ros.models.timeseries.observations import Observations, check_observations
from invdyn_ros.typing import Array

Interpolator = Callable[[Array, Array, Array], Array]


def hold(time: Array, state: Array, query: Array) -> Array:
    """Return the last state seen (M, 2n) at times (M,), before the first one that one."""
    return state[np.maximum(np.searchsorted(time, query, side="right") - 1, 0)]


def linear(time: Array, state: Array, query: Array) -> Array:
    """Return states on straight lines; the outer ones hold."""
    return np.stack([np.interp(query, time, column) for column in state.T], 1)


def pchip(time: Array, state: Array, query: Array) -> Array:
    """Return states on monotone cubics (Fritsch and Carlson 1980); the outer ones hold."""
    if len(time) < 2:
        return hold(time, state, query)
    inside = np.clip(query, time[0], time[-1])
    return np.asarray(PchipInterpolator(time, state, axis=0)(inside))


def hermite(time: Array, state: Array, query: Array) -> Array:
    """Return positions on cubics with the velocities seen, and velocities on straight lines.

    Outside, velocities hold and positions move on with them.
    """
    q, v = np.split(state, 2, axis=1)
    inside = np.clip(query, time[0], time[-1])
    along = linear(time, v, query)
    if len(time) < 2:
        place = np.repeat(q, len(query), axis=0)
    else:
        place = np.asarray(CubicHermiteSpline(time, q, v, axis=0)(inside))
    return np.hstack([place + (query - inside)[:, None] * along, along])


INTERPOLATORS: dict[str, Interpolator] = {
    "hold": hold,
    "linear": linear,
    "pchip": pchip,
    "hermite": hermite,
}


def interpolate(interpolator: Interpolator, observations: Observations) -> Tensor:
    """Return the states (B, T, 2n) of a curve through each motion of a record.

    Raises:
        ValueError: a bad record.
    """
    check_observations(observations, observations.state.shape[-1] // 2)
    found = []
    for state, time, seen in zip(*(x.double().numpy() for x in observations), strict=True):
        known = seen.astype(bool)
        found.append(interpolator(time[known], state[known], time))
    return torch.as_tensor(np.stack(found), dtype=observations.state.dtype)
