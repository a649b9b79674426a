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

TIME_TOLERANCE = 1e-6  # [s] from a stamp that a grid's time is taken for it


def interpolate_actions(
    state_model: TimeSeriesModel, inverse: InverseDynamics, observed: Trajectory, times: Array
) -> Array:
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
    names = {state_model.meta.joint_names, inverse.meta.joint_names, observed.joint_names}
    if len(names) > 1:
        raise ValueError(f"joints differ: {' and '.join(', '.join(n) for n in sorted(names))}")
    return actions_at(inverse, resample_motion(state_model, observed), times)


def resample_motion(state_model: TimeSeriesModel, observed: Trajectory) -> Trajectory:
    """Return the motion between the first and the last time seen, at the model's rate.

    Raises:
        ValueError: no velocities.
    """
    if len(observed.velocity) == 0:
        raise ValueError("the record has no velocity, which a path model reads")
    start = observed.time[0]
    grid = start + state_model.sample_period * np.arange(
        int((observed.time[-1] - start) / state_model.sample_period + TIME_TOLERANCE) + 1
    )
    near = np.clip(np.searchsorted(observed.time, grid - TIME_TOLERANCE), 0, len(observed) - 1)
    grid = np.where(
        np.abs(observed.time[near] - grid) <= TIME_TOLERANCE, observed.time[near], grid
    )
    time = np.union1d(observed.time, grid)
    known, state = np.isin(time, observed.time), np.zeros((len(time), 2 * observed.n))
    state[known] = np.hstack([observed.position, observed.velocity])
    parts = (torch.from_numpy(x)[None] for x in (state, time, known))
    q, qd = np.split(impute(state_model, Observations(*parts))[0].double().numpy(), 2, axis=1)
    rows, none = np.isin(time, grid), np.empty((0, observed.n))
    return Trajectory(
        grid, q[rows], qd[rows], none, none, observed.joint_names, observed.action_unit
    )


def actions_at(inverse: InverseDynamics, motion: Trajectory, times: Array) -> Array:
    """Return the actions (M, n) at times (M,) [s] that make a motion on a regular grid.

    Raises:
        ValueError: times whose motion, later by the action delay, lies outside; too few samples.
    """
    meta, times = inverse.meta, np.asarray(times, float)
    back = np.arange(inverse.n_obs_steps - 1, -1, -1) / meta.rate
    time = times[:, None] + meta.action_delay - back  # (M, history)
    # before the start there is nothing to look at: the first sample stands for it
    inside = np.maximum(time, np.minimum(motion.time[0], times[:, None] + meta.action_delay))
    times, place = np.unique(inside, return_inverse=True)
    frames = motion.differentiate().interpolate(times).motion[place.reshape(time.shape)]
    found = inverse.predict(torch.from_numpy(frames), torch.from_numpy(time)).mean
    return found[:, -1].double().numpy()
