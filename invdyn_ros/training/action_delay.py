"""Identification of delay and lag of actions, and of servo compliance, with a rigid body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from invdyn_ros.data.windows import Split
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import build
from invdyn_ros.models.rigid_body_config import RigidBodyConfig
from invdyn_ros.training.action_timing import ActionTiming, TimingError, max_lateness, subsample
from invdyn_ros.training.regression_delay import estimate_delay_by_regression

MAX_DELAY = 8  # [half sample intervals] of an action before its motion
LAGS = (0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15)  # [s] candidates, of the whole effort
FILTER_TIMES = (0.0, 0.03, 0.06, 0.1, 0.15)  # [s] candidates, of Coulomb friction at a reversal
LIKELY_FILTER_TIME = 0.06  # [s] others are only tried if this one is better than none
MIN_IMPROVEMENT = 0.05  # fraction by which a filter must lower the error, against overfitting


def estimate_action_delay(meta: ModelMetadata, data: Split) -> float:
    """Estimate the action delay [s]: transport delay plus half the hold time of an action.

    The candidates are up to 4 sample intervals, or down to -`max_lateness`, in steps of half an
    interval; the result is the delay at which an identified rigid body explains the actions best,
    or where the URDF is unknown, a regression.
    """
    if not meta.urdf:
        return estimate_delay_by_regression(meta, data)
    return _estimate_delay(TimingError(meta, data))


def estimate_timing(
    meta: ModelMetadata, data: Split, action_delay: float | None = None
) -> ActionTiming:
    """Estimate delay, lag and filter of friction: those at which a rigid body explains most.

    A filter is for all joints, or one for each where that explains the validation data better.
    Only an effort that comes after its motion may have a lag.

    Args:
        meta: of the model.
        data: training and validation data.
        action_delay: known delay [s]; None: estimated.
    """
    delay = estimate_action_delay(meta, data) if action_delay is None else action_delay
    timing, n = ActionTiming(delay), len(meta.joint_names)
    # friction changes sign in slow joints, which an estimate of the delay alone leaves out
    min_velocity = meta.config.get("min_velocity", RigidBodyConfig().min_velocity)
    quick = TimingError(meta, data, min_velocity)
    likely = timing._replace(friction_filter_time=(LIKELY_FILTER_TIME,) * n)
    has_filter = quick(likely) < (1 - MIN_IMPROVEMENT) * quick(timing)
    if not has_filter and delay >= 0:
        return timing
    error, filtered = TimingError(meta, data, min_velocity, physical=True), timing
    if has_filter:
        filtered = _with_filter_time(error, timing, n)
        if action_delay is None:
            filtered = filtered._replace(action_delay=_estimate_delay(error, filtered))
    lagged = _with_lag(quick, timing, n) if action_delay is None and delay < 0 else timing
    if not lagged.effort_lag:
        return filtered
    lagged = _with_filter_time(error, lagged, n)
    return lagged if error(lagged) < (1 - MIN_IMPROVEMENT) * error(filtered) else filtered


def urdf_compliance(meta: ModelMetadata, data: Split) -> list[float]:
    """Return the compliance (n,), the target per unit of URDF torque; 1 if actions are torques.

    The list is empty if the URDF is unknown.
    """
    if not meta.urdf:
        return []
    model = build(replace(meta, family="rigid_body", config={"identify": False}, effort_lag=()))
    model.fit(*(subsample(part, meta.action_delay) for part in (data.train, data.test)))
    return [float(c) for c in model.get_buffer("compliance")]


def _estimate_delay(error: TimingError, timing: ActionTiming | None = None) -> float:
    """Return the delay of least error, with the filters of a timing.

    An error that falls up to the bound of lateness is that of a motion too slow to tell the
    delay, which is then taken for one of an action before its motion.
    """
    half, start = 0.5 / error.meta.rate, timing or ActionTiming(0.0)
    lowest = -int(max_lateness(error.meta.action_unit) / half)

    def of_delay(k: int) -> float:
        return error(start._replace(action_delay=k * half))

    candidates = range(0, MAX_DELAY + 1, 2)
    best = _search(of_delay, candidates, lowest)
    if lowest < 0 and best < lowest + MAX_DELAY:
        best = _search(of_delay, candidates, 0)
    return half * best


def _with_filter_time(error: TimingError, timing: ActionTiming, n: int) -> ActionTiming:
    """Return a timing with the best filter of friction; none, if none is as good.

    Args:
        error: of a timing.
        timing: with the other values.
        n: number of joints.
    """
    candidates = [timing._replace(friction_filter_time=(time,) * n) for time in FILTER_TIMES]
    return _best_of_joints(error, candidates, "friction_filter_time")


def _with_lag(error: TimingError, timing: ActionTiming, n: int) -> ActionTiming:
    """Return a timing with the best lag and a delay that fits it, if one is better than none.

    Args:
        error: of a timing.
        timing: without lag.
        n: number of joints.
    """
    half, best = 0.5 / error.meta.rate, timing
    for lag in LAGS:
        lagged = timing._replace(effort_lag=(lag,) * n)
        if not error.is_measurable(lagged):
            break
        middle = min(round((timing.action_delay + lag) / half), 0)
        shifted = [
            lagged._replace(action_delay=k * half) for k in (middle - 2, middle, middle + 2)
        ]
        candidate = min(shifted, key=error)
        if error(candidate) > (1 - MIN_IMPROVEMENT) * error(best):
            break  # nor is a longer one better
        best = candidate
    if not best.effort_lag:
        return timing
    delays = [best.action_delay + k * half for k in (-1, 0, 1)]
    best = min([best._replace(action_delay=delay) for delay in delays], key=error)
    candidates = [best._replace(effort_lag=(lag,) * n) for lag in LAGS]
    return _best_of_joints(error, [best, *filter(error.is_measurable, candidates)], "effort_lag")


def _best_of_joints(
    error: TimingError, candidates: Sequence[ActionTiming], field: str
) -> ActionTiming:
    """Return the candidate of least error, or one with a field of its own for each joint.

    Args:
        error: of a timing.
        candidates: timings that differ in one field.
        field: name of that field.
    """
    best = min(candidates, key=error)
    errors = [error.of_joints(candidate).tolist() for candidate in candidates]
    rows = [getattr(c, field) or (0.0,) * len(errors[0]) for c in candidates]
    values = tuple(
        rows[min(range(len(rows)), key=lambda k: errors[k][j])][j] for j in range(len(errors[0]))
    )
    each = ActionTiming(**(best._asdict() | {field: values}))
    return each if error(each) < (1 - MIN_IMPROVEMENT) * error(best) else best


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
