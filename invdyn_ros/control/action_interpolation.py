"""Actions at any times: states seen now and then enter, what made the motion leaves.

A path model says the states on the regular grid that an inverse model reads; both stay what they
are, so any of the one goes with any of the other.
"""

from __future__ import annotations

import numpy as np
import torch

from invdyn_ros.control.state_predictor import impute
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.timeseries.observations import Observations
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel
from invdyn_ros.typing import Array

SAME = 1e-6  # [s] from a stamp that a grid's time is taken for it


def actions(path: TimeSeriesModel, inverse: InverseDynamics, seen: Trajectory, at: Array) -> Array:
    """Return the actions (M, n) at times (M,) [s] within a record of an arm.

    Args:
        path: a path model of the arm's joints.
        inverse: an inverse model of the same ones.
        seen: what was seen, at any times, with velocities.
        at: at which the actions are asked for; the motion they make, later by the action delay, must lie
            within the record.

    Raises:
        ValueError: other joints, no velocities, a record too short for an acceleration, or times
            outside of it.
    """
    names = {path.meta.joint_names, inverse.meta.joint_names, seen.joint_names}
    if len(names) > 1:
        raise ValueError(f"joints differ: {' and '.join(', '.join(n) for n in sorted(names))}")
    return acted(inverse, regular(path, seen), at)


def regular(path: TimeSeriesModel, seen: Trajectory) -> Trajectory:
    """Return the motion between the first and the last time seen, at the model's rate.

    Raises:
        ValueError: no velocities.
    """
    if len(seen.velocity) == 0:
        raise ValueError("the record has no velocity, which a path model reads")
    start = seen.time[0]
    grid = start + path.step * np.arange(int((seen.time[-1] - start) / path.step + SAME) + 1)
    near = np.clip(np.searchsorted(seen.time, grid - SAME), 0, len(seen) - 1)
    grid = np.where(np.abs(seen.time[near] - grid) <= SAME, seen.time[near], grid)
    time = np.union1d(seen.time, grid)
    known, state = np.isin(time, seen.time), np.zeros((len(time), 2 * seen.n))
    state[known] = np.hstack([seen.position, seen.velocity])
    parts = (torch.from_numpy(x)[None] for x in (state, time, known))
    q, qd = np.split(impute(path, Observations(*parts))[0].double().numpy(), 2, axis=1)
    rows, none = np.isin(time, grid), np.empty((0, seen.n))
    return Trajectory(grid, q[rows], qd[rows], none, none, seen.joint_names, seen.action_unit)


def acted(inverse: InverseDynamics, motion: Trajectory, at: Array) -> Array:
    """Return the actions (M, n) at times (M,) [s] that make a motion on a regular grid.

    Raises:
        ValueError: times whose motion, later by the action delay, lies outside; too few samples.
    """
    meta, at = inverse.meta, np.asarray(at, float)
    back = np.arange(inverse.n_obs_steps - 1, -1, -1) / meta.rate
    time = at[:, None] + meta.action_delay - back  # (M, history)
    # before the start there is nothing to look at: the first sample stands for it
    inside = np.maximum(time, np.minimum(motion.time[0], at[:, None] + meta.action_delay))
    times, place = np.unique(inside, return_inverse=True)
    frames = motion.differentiate().interpolate(times).motion[place.reshape(time.shape)]
    found = inverse.predict(torch.from_numpy(frames), torch.from_numpy(time)).mean
    return found[:, -1].double().numpy()
