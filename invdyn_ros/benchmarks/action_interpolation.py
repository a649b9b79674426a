"""Actions between what was seen of a motion: a dataset and models enter, their errors leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.benchmarks.report import Row
from invdyn_ros.control.action_interpolation import actions_at
from invdyn_ros.control.state_predictor import impute
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models import InverseDynamics
from invdyn_ros.models.timeseries.interpolation_baselines import INTERPOLATORS, interpolate
from invdyn_ros.models.timeseries.observations import Observations, split_into_motions, subsample
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel
from invdyn_ros.training.train_time_series import split_trajectories
from invdyn_ros.typing import Array, Mask

MOTION_LENGTH = 200  # samples of a piece
TEST_FRACTION = 0.2  # of the trajectories are asked about
LAST_ACTION, ZERO, ALL_STATES = "last action", "zero", "all states"

PredictStates = Callable[[Observations], Tensor]


def action_errors(
    data: Path,
    inverse: InverseDynamics,
    state_models: Mapping[str, TimeSeriesModel],
    observed_fractions: Sequence[float],
) -> dict[str, Row]:
    """Return the nMSE [%] of actions at times that were not seen, a row for each way of saying.

    Args:
        data: a dataset of the arm on a regular grid; its last trajectories are asked about.
        inverse: what turns states into actions.
        paths: what says the states, beside plain curves and all states as they were.
        shares: of the samples that are seen; a column for each.

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
    part = split_into_motions(test, MOTION_LENGTH)
    actions = np.stack([a for t in test for a in _split(t.action)])  # (N, T, n)
    says: dict[str, PredictStates] = {ALL_STATES: lambda record: record.state}
    says |= {name: _interpolator(name) for name in INTERPOLATORS}
    says |= {name: _model(model) for name, model in state_models.items()}
    rows: dict[str, Row] = {}
    for share in observed_fractions:
        column = f"nMSE {share:.0%}"
        record = subsample(part.state, part.time, share, 0)
        asked = ~record.mask.numpy()
        asked &= (part.time <= part.time[:, -1:] - meta.action_delay).numpy()
        seen = record.mask.numpy()
        rows.setdefault(ZERO, {})[column] = _nmse(np.zeros_like(actions), actions, asked)
        rows.setdefault(LAST_ACTION, {})[column] = _nmse(
            _last_observed(actions, seen), actions, asked
        )
        for name, say in says.items():
            found = np.zeros_like(actions)
            for k, states in enumerate(say(record).double().numpy()):
                at = part.time[k].numpy()[asked[k]]
                found[k, asked[k]] = actions_at(inverse, _motion(states, part.time[k]), at)
            rows.setdefault(name, {})[column] = _nmse(found, actions, asked)
    return rows


def _split(rows: Array) -> list[Array]:
    return [
        rows[a : a + MOTION_LENGTH] for a in range(0, len(rows) - MOTION_LENGTH + 1, MOTION_LENGTH)
    ]


def _interpolator(name: str) -> PredictStates:
    return lambda record: interpolate(INTERPOLATORS[name], record)


def _model(model: TimeSeriesModel) -> PredictStates:
    return lambda record: torch.cat(
        [
            impute(model, Observations(*part))
            for part in zip(*(x.split(50) for x in record), strict=True)
        ]
    )


def _motion(states: Array, time: Tensor) -> Trajectory:
    """Return a motion of states (T, 2n)."""
    q, qd = np.split(states, 2, axis=1)
    none = np.empty((0, q.shape[1]))
    names = tuple(str(k) for k in range(q.shape[1]))
    return Trajectory(time.numpy(), q, qd, none, none, names, "N m")


def _last_observed(actions: Array, seen: Mask) -> Array:
    """Return the last action at a row that was seen, before the first one that one."""
    number = np.arange(actions.shape[1])
    last = np.maximum.accumulate(np.where(seen, number, -1), axis=1)
    first = seen.argmax(1)[:, None]
    return actions[np.arange(len(actions))[:, None], np.where(last < 0, first, last)]


def _nmse(found: Array, wanted: Array, asked: Mask) -> float:
    """Return the mean over joints of squared errors over variances [%]."""
    error, actions = (found - wanted)[asked], wanted[asked]  # (M, n)
    share = (error**2).mean(0) / wanted.reshape(-1, actions.shape[1]).var(0)
    return round(100 * float(share.mean()), 4)
