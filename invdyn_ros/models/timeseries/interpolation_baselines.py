"""Interpolation baselines: curves through the observations, without learning."""

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
    """Return the last observed state; before the first observation, the first one.

    Args:
        time: (T,) times of the observations.
        state: (T, 2n) observed states.
        query: (M,) times of the result (M, 2n).
    """
    return state[np.maximum(np.searchsorted(time, query, side="right") - 1, 0)]


def linear(time: Array, state: Array, query: Array) -> Array:
    """Return linearly interpolated states (M, k), constant outside.

    Args:
        time: (T,) times of the observations [s].
        state: (T, k) observed states.
        query: (M,) times of the result [s].
    """
    return np.stack([np.interp(query, time, column) for column in state.T], 1)


def pchip(time: Array, state: Array, query: Array) -> Array:
    """Return states on monotone cubics (Fritsch and Carlson 1980), constant outside.

    Args:
        time: (T,) times of the observations [s].
        state: (T, k) observed states.
        query: (M,) times of the result [s].
    """
    if len(time) < 2:
        return hold(time, state, query)
    inside = np.clip(query, time[0], time[-1])
    return np.asarray(PchipInterpolator(time, state, axis=0)(inside))


def hermite(time: Array, state: Array, query: Array) -> Array:
    """Return positions on cubics with the observed velocities, and linear velocities.

    Outside, velocities are constant.

    Args:
        time: (T,) times of the observations [s].
        state: (T, k) observed states.
        query: (M,) times of the result [s].
    """
    q, v = np.split(state, 2, axis=1)
    inside = np.clip(query, time[0], time[-1])
    velocity = linear(time, v, query)
    if len(time) < 2:
        position = np.repeat(q, len(query), axis=0)
    else:
        position = np.asarray(CubicHermiteSpline(time, q, v, axis=0)(inside))
    return np.hstack([position + (query - inside)[:, None] * velocity, velocity])


INTERPOLATORS: dict[str, Interpolator] = {
    "hold": hold,
    "linear": linear,
    "pchip": pchip,
    "hermite": hermite,
}


def interpolate(interpolator: Interpolator, observations: Observations) -> Tensor:
    """Return the states (B, T, 2n) of a curve through the observations of each motion.

    Raises:
        ValueError: the observations are invalid.
    """
    check_observations(observations, observations.state.shape[-1] // 2)
    states = []
    for state, time, mask in zip(*(x.double().numpy() for x in observations), strict=True):
        observed = mask.astype(bool)
        states.append(interpolator(time[observed], state[observed], time))
    return torch.as_tensor(np.stack(states), dtype=observations.state.dtype)
