"""Identification of delay and lag of actions, and of servo compliance, with a rigid body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split, Windows, windows
from invdyn_ros.models.least_squares_identification import NormalEquations, mean_squared_error
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.parameter_identification import identify
from invdyn_ros.models.registry import build
from invdyn_ros.models.rigid_body import RigidBody

MAX_DELAY = 8  # [half sample intervals] of an action before its motion
MAX_LATENESS = 0.2  # [s] of a recorded effort after its motion
MAX_FRAMES = 4000  # enough to distinguish half intervals
MIN_VELOCITY = 0.1  # [rad/s] slower joints may stick, and are not informative about the delay
LAGS = (0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15)  # [s] candidates
MIN_IMPROVEMENT = 0.05  # fraction by which a lag must lower the error, against overfitting
MIN_UNEXPLAINED = 1e-9  # fraction of the target power; less is a rounding error


class ActionTiming(NamedTuple):
    """Delay and lag of actions, see `ModelMetadata`."""

    action_delay: float
    effort_lag: tuple[float, ...] = ()


def estimate_action_delay(meta: ModelMetadata, data: Split) -> float:
    """Estimate the action delay [s]: transport delay plus half the hold time of an action.

    The candidates are up to 4 sample intervals, or down to -MAX_LATENESS, in steps of half an
    interval; the result is the delay at which an identified rigid body explains the actions best.
    Joints that may stick have little weight, because their torque rises before they move, which
    looks like a delay.

    Raises:
        ValueError: the URDF is unknown.
    """
    if not meta.urdf:
        raise ValueError(
            f"estimating the action delay takes the rigid-body model of '{meta.robot}', whose "
            "URDF is unknown; give --urdf FILE, or --action-delay SECONDS (0 if the action of a "
            "row causes the acceleration of the same row)"
        )
    half = 0.5 / meta.rate

    def error(k: int) -> float:
        return _mean_error(_unexplained_fractions(meta, data, k * half))

    return _search(error, range(0, MAX_DELAY + 1, 2), -int(MAX_LATENESS / half)) * half


def estimate_timing(meta: ModelMetadata, data: Split) -> ActionTiming:
    """Estimate the action delay, and the lag if the recorded effort is a filtered one.

    Only an effort that comes after its motion is taken for a filtered one. The lag is common to
    all joints, or one for each where that explains the validation data better.

    Raises:
        ValueError: the URDF is unknown.
    """
    delay = estimate_action_delay(meta, data)
    if delay >= 0:
        return ActionTiming(delay)
    half, n = 0.5 / meta.rate, len(meta.joint_names)
    best, lowest_error = (
        ActionTiming(delay),
        _mean_error(_unexplained_fractions(meta, data, delay)),
    )
    for lag in LAGS:
        lagged = replace(meta, effort_lag=(lag,) * n)
        if not _has_windows(lagged, data):
            break
        middle = min(round((delay + lag) / half), 0)
        errors = {
            k: _mean_error(_unexplained_fractions(lagged, data, k * half))
            for k in (middle - 2, middle, middle + 2)
        }
        k = min(errors, key=lambda k: errors[k])
        if errors[k] >= (1 - MIN_IMPROVEMENT) * lowest_error:
            break  # a longer lag is no better, either
        best, lowest_error = ActionTiming(k * half, lagged.effort_lag), errors[k]
    if not best.effort_lag:
        return best
    return _with_lag_per_joint(meta, data, _refined(meta, data, best))


def _refined(meta: ModelMetadata, data: Split, timing: ActionTiming) -> ActionTiming:
    """Return the lag with the best delay among those half an interval around it.

    Args:
        meta: of the model.
        data: training and validation data.
        timing: delay and lag.
    """
    half, lagged = 0.5 / meta.rate, replace(meta, effort_lag=timing.effort_lag)
    delays = [timing.action_delay + k * half for k in (-1, 0, 1)]
    errors = [_mean_error(_unexplained_fractions(lagged, data, delay)) for delay in delays]
    return timing._replace(action_delay=delays[int(np.argmin(errors))])


def _with_lag_per_joint(meta: ModelMetadata, data: Split, common: ActionTiming) -> ActionTiming:
    """Return the best lag of each joint, if all together they are better than a common one.

    Args:
        meta: of the model.
        data: training and validation data.
        common: delay, and lag of all joints.
    """
    n, candidates = len(meta.joint_names), [(0.0,), *((lag,) for lag in LAGS)]
    metas = [replace(meta, effort_lag=candidate * n) for candidate in candidates]
    metas = [m for m in metas if _has_windows(m, data)]
    errors = torch.stack(
        [_unexplained_fractions(m, data, common.action_delay) for m in metas]
    )  # (lags, n)
    lag = tuple(metas[int(k)].effort_lag[0] for k in errors.argmin(0))
    each = replace(meta, effort_lag=lag)
    before, after = (
        _mean_error(_unexplained_fractions(m, data, common.action_delay))
        for m in (replace(meta, effort_lag=common.effort_lag), each)
    )
    return common._replace(effort_lag=lag) if after < (1 - MIN_IMPROVEMENT) * before else common


def urdf_compliance(meta: ModelMetadata, data: Split) -> list[float]:
    """Return the compliance (n,), the target per unit of URDF torque; 1 if actions are torques.

    The list is empty if the URDF is unknown.
    """
    if not meta.urdf:
        return []
    model = build(replace(meta, family="rigid_body", config={"identify": False}, effort_lag=()))
    model.fit(*(_subsample(part, meta.action_delay) for part in (data.train, data.test)))
    return [float(c) for c in model.get_buffer("compliance")]


def _search(error: Callable[[int], float], candidates: Sequence[int], lowest: int) -> int:
    """Return an integer of least error near the best of some candidates.

    Below the first candidate the search takes long steps and then halves them.

    Args:
        error: to minimise.
        candidates: in increasing order.
        lowest: bound of the search.
    """
    errors = {k: error(k) for k in candidates}
    best = min(errors, key=lambda k: errors[k])
    step = MAX_DELAY if best == candidates[0] else 1
    while step:
        for k in (best - step, best + step):
            if k not in errors and lowest <= k <= MAX_DELAY:
                errors[k] = error(k)
        better = min(errors, key=lambda k: errors[k])
        step = step if better < best and step > 1 else step // 2
        best = better
    return best


def _has_windows(meta: ModelMetadata, data: Split) -> bool:
    """Return whether training and validation data have a window of a model."""
    size = _rigid_body(meta).window_size + int(np.ceil(MAX_LATENESS * meta.rate))
    return all(max(map(len, part)) >= size for part in (data.train, data.test))


def _rigid_body(meta: ModelMetadata) -> RigidBody:
    return RigidBody(replace(meta, family="rigid_body", config={"min_velocity": MIN_VELOCITY}))


def _subsample(
    trajectories: Sequence[Trajectory], action_delay: float, size: int = 1, stride: int = 1
) -> Windows:
    """Return at most MAX_FRAMES evenly spaced frames in windows of some size.

    Args:
        trajectories: to draw from.
        action_delay: [s].
        size: frames of a window.
        stride: frames between the starts of two windows.
    """
    data = windows(trajectories, size, action_delay, stride=stride)
    count = min(max(MAX_FRAMES // size, 1), data.size)
    return data.rows(torch.linspace(0, data.size - 1, count).long())


def _unexplained_fractions(meta: ModelMetadata, data: Split, action_delay: float) -> Tensor:
    """Return the fraction (n,) of the target power that no identified rigid body explains."""
    model = _rigid_body(meta)
    train, val = (
        model.normal_equations(_subsample(part, action_delay, model.window_size, model.stride))
        for part in (data.train, data.test)
    )
    return _validation_error(model, train, val)


def _validation_error(model: RigidBody, train: NormalEquations, val: NormalEquations) -> Tensor:
    """Return the part (n,) of the power of `val` that a fit to `train` does not explain."""
    bounds = model.bounds._replace(physical=False)
    parameters = identify(train, val, model.tree.inertial.flatten(), bounds)
    power = (val.target_power / val.num_rows).clamp_min(1e-30)
    return mean_squared_error(val, parameters) / power


def _mean_error(fractions: Tensor) -> float:
    """Return the geometric mean over the joints, so that a noisy joint does not decide alone."""
    return float(fractions.clamp_min(MIN_UNEXPLAINED).log().mean().exp())
