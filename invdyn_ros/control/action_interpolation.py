"""Actions at arbitrary times from irregularly sampled states.

A time-series model predicts the states on the regular grid that an inverse-dynamics model needs.
Any time-series model can be combined with any inverse-dynamics model.
"""

from __future__ import annotations

import numpy as np
import torch

from invdyn_ros.control.learned_state_predictor import impute
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.predictor import Runtime
from invdyn_ros.models.timeseries.observations import Observations
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel
from invdyn_ros.typing import Array

TIME_TOLERANCE = 1e-6  # [s] within which a stamp equals a time of the grid


def interpolate_actions(
    state_model: TimeSeriesModel, inverse: Runtime, observed: Trajectory, times: Array
) -> Array:
    """Return the actions (M, n) at times (M,) [s] within a recording of an arm.

    Args:
        state_model: time-series model of the arm's joints.
        inverse: inverse-dynamics model of the same joints.
        observed: states at any times, with velocities.
        times: times of the actions; the motion that they cause, which is later by the action
            delay, must lie within the recording.

    Raises:
        ValueError: the joints differ, the recording has no velocities or is too short for an
            acceleration, or a time is outside of it.
    """
    names = {state_model.meta.joint_names, inverse.meta.joint_names, observed.joint_names}
    if len(names) > 1:
        raise ValueError(f"joints differ: {' and '.join(', '.join(n) for n in sorted(names))}")
    return actions_at(inverse, resample_motion(state_model, observed), times)


def resample_motion(state_model: TimeSeriesModel, observed: Trajectory) -> Trajectory:
    """Return the motion between the first and the last observation, at the model's rate.

    Raises:
        ValueError: the recording has no velocities.
    """
    if len(observed.velocity) == 0:
        raise ValueError("the recording has no velocity, which a time-series model needs")
    start, period = observed.time[0], state_model.sample_period
    num_periods = int((observed.time[-1] - start) / period + TIME_TOLERANCE)
    grid = start + period * np.arange(num_periods + 1)
    nearest = np.clip(np.searchsorted(observed.time, grid - TIME_TOLERANCE), 0, len(observed) - 1)
    is_observed = np.abs(observed.time[nearest] - grid) <= TIME_TOLERANCE
    grid = np.where(is_observed, observed.time[nearest], grid)
    time = np.union1d(observed.time, grid)
    mask, state = np.isin(time, observed.time), np.zeros((len(time), 2 * observed.n))
    state[mask] = np.hstack([observed.position, observed.velocity])
    parts = (torch.from_numpy(x)[None] for x in (state, time, mask))
    q, qd = np.split(impute(state_model, Observations(*parts))[0].double().numpy(), 2, axis=1)
    rows, empty = np.isin(time, grid), np.empty((0, observed.n))
    return Trajectory(
        grid, q[rows], qd[rows], empty, empty, observed.joint_names, observed.action_unit
    )


def actions_at(inverse: Runtime, motion: Trajectory, times: Array) -> Array:
    """Return the actions (M, n) at times (M,) [s] that cause a motion on a regular grid.

    Args:
        inverse: inverse-dynamics model.
        motion: states on a regular grid.
        times: times of the actions.

    Raises:
        ValueError: a time plus the action delay is outside the motion, or the motion has too few
            samples.
    """
    meta, times = inverse.meta, np.asarray(times, float)
    steps_back = np.arange(inverse.n_obs_steps - 1, -1, -1) / meta.rate
    window = times[:, None] + meta.action_delay - steps_back  # (M, n_obs_steps)
    # windows that begin before the motion are padded with its first sample
    padded = np.maximum(window, np.minimum(motion.time[0], times[:, None] + meta.action_delay))
    unique, index = np.unique(padded, return_inverse=True)
    frames = motion.differentiate().interpolate(unique).motion[index.reshape(window.shape)]
    return inverse.predict(frames, window).mean[:, -1]
