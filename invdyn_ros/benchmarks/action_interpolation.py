"""Errors of actions between irregular observations of a motion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.benchmarks.report import Row
from invdyn_ros.control.action_interpolation import actions_at
from invdyn_ros.control.learned_state_predictor import impute
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.predictor import Runtime
from invdyn_ros.models.timeseries.interpolation_baselines import INTERPOLATORS, interpolate
from invdyn_ros.models.timeseries.observations import Observations, split_into_motions, subsample
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel
from invdyn_ros.training.train_time_series import split_trajectories
from invdyn_ros.typing import Array, Mask

MOTION_LENGTH = 200  # samples of a motion
TEST_FRACTION = 0.2  # of the trajectories
LAST_ACTION, ZERO, ALL_STATES = "last action", "zero", "all states"

PredictStates = Callable[[Observations], Tensor]


def action_errors(
    data: Path,
    inverse: Runtime,
    state_models: Mapping[str, TimeSeriesModel],
    observed_fractions: Sequence[float],
) -> dict[str, Row]:
    """Return the nMSE [%] of actions at unobserved times, a row for each method.

    Args:
        data: dataset of the arm on a regular grid; its last trajectories are the test data.
        inverse: inverse-dynamics model.
        state_models: time-series models by name; interpolators and the true states are added.
        observed_fractions: fractions of the samples that are observed; a column for each.

    Raises:
        ValueError: bad data, or data of other joints or another unit.
    """
    dataset, meta = read_dataset(data), inverse.meta
    info = dataset.info
    if (info.joint_names, info.action_unit) != (meta.joint_names, meta.action_unit):
        raise ValueError(
            f"{data} is of {', '.join(info.joint_names)} in {info.action_unit}; the inverse model "
            f"of {', '.join(meta.joint_names)} in {meta.action_unit}"
        )
    test = split_trajectories(dataset.trajectories, TEST_FRACTION)[2]
    motions = split_into_motions(test, MOTION_LENGTH)
    actions = np.stack([a for t in test for a in _split(t.action)])  # (N, T, n)
    methods: dict[str, PredictStates] = {ALL_STATES: lambda observations: observations.state}
    methods |= {name: _interpolator(name) for name in INTERPOLATORS}
    methods |= {name: _imputation(model) for name, model in state_models.items()}
    rows: dict[str, Row] = {name: {} for name in (ZERO, LAST_ACTION, *methods)}
    for fraction in observed_fractions:
        observations = subsample(motions.state, motions.time, fraction, 0)
        mask = observations.mask.numpy()
        evaluated = ~mask & (motions.time <= motions.time[:, -1:] - meta.action_delay).numpy()
        predicted = {ZERO: np.zeros_like(actions), LAST_ACTION: _last_observed(actions, mask)}
        for name, predict in methods.items():
            predicted[name] = _actions(inverse, predict(observations), motions.time, evaluated)
        for name, values in predicted.items():
            rows[name][f"nMSE {fraction:.0%}"] = _nmse(values, actions, evaluated)
    return rows


def _actions(inverse: Runtime, states: Tensor, time: Tensor, evaluated: Mask) -> Array:
    """Return the actions of motions (N, T, n) where `evaluated` (N, T), and zero elsewhere."""
    actions = np.zeros((*evaluated.shape, states.shape[-1] // 2))
    for k, motion in enumerate(states.double().numpy()):
        times = time[k].numpy()[evaluated[k]]
        actions[k, evaluated[k]] = actions_at(inverse, _motion(motion, time[k]), times)
    return actions


def _split(rows: Array) -> list[Array]:
    return [
        rows[a : a + MOTION_LENGTH] for a in range(0, len(rows) - MOTION_LENGTH + 1, MOTION_LENGTH)
    ]


def _interpolator(name: str) -> PredictStates:
    return lambda observations: interpolate(INTERPOLATORS[name], observations)


def _imputation(model: TimeSeriesModel) -> PredictStates:
    return lambda observations: torch.cat(
        [
            impute(model, Observations(*part))
            for part in zip(*(x.split(50) for x in observations), strict=True)
        ]
    )


def _motion(states: Array, time: Tensor) -> Trajectory:
    """Return a trajectory of states (T, 2n)."""
    q, qd = np.split(states, 2, axis=1)
    empty = np.empty((0, q.shape[1]))
    names = tuple(str(k) for k in range(q.shape[1]))
    return Trajectory(time.numpy(), q, qd, empty, empty, names, "N m")


def _last_observed(actions: Array, mask: Mask) -> Array:
    """Return the action at the last observation (N, T, n); before the first one, at the first."""
    index = np.arange(actions.shape[1])
    last = np.maximum.accumulate(np.where(mask, index, -1), axis=1)
    first = mask.argmax(1)[:, None]
    return actions[np.arange(len(actions))[:, None], np.where(last < 0, first, last)]


def _nmse(predicted: Array, actions: Array, evaluated: Mask) -> float:
    """Return the mean over joints of squared errors divided by variances [%]."""
    error, targets = (predicted - actions)[evaluated], actions[evaluated]  # (M, n)
    ratio = (error**2).mean(0) / actions.reshape(-1, targets.shape[1]).var(0)
    return round(100 * float(ratio.mean()), 4)
