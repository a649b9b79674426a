"""Evaluation of an inverse dynamics model on held-out motion, beside baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split
from invdyn_ros.evaluation.metrics import (
    MIN_RELATIVE_VARIANCE,
    error_metrics,
    finite_mean,
    finite_or_none,
)
from invdyn_ros.evaluation.prediction import (
    EvaluationCase,
    Part,
    PredictedActions,
    SplitPredictions,
    predict_case,
    predict_split,
)
from invdyn_ros.evaluation.uncertainty_calibration import uncertainty_calibration
from invdyn_ros.models.drive_check import DRIVE_CHECK_KEY
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.registry import build

MIN_VELOCITY = 0.05  # [rad/s] a slower joint may stick
LATENCY_CALLS = 500


def evaluate(
    model: InverseDynamics, trajectories: Sequence[Trajectory], part: Part = "test"
) -> dict[str, Any]:
    """Evaluate a model on held-out motion and return the report; see `evaluation_report`.

    Args:
        model: the model, as returned by `load`.
        trajectories: a dataset with the joints and the action unit of the model.
        part: as in `predict_split`.

    Raises:
        ValueError: as `predict_split`.
    """
    return evaluation_report(model, predict_split(model, trajectories, part))


def evaluation_report(model: InverseDynamics, predicted: SplitPredictions) -> dict[str, Any]:
    """Return error metrics of predictions and baselines, calibration, drive check and latency.

    nmse is the squared error divided by the variance of the target. The target is the action or,
    for position servos, the offset u - q: u itself is almost equal to q, so that its variance
    would make every model look accurate. Intervals are bootstrapped over trajectories, or over
    blocks of time if there are few trajectories.
    """
    started = time.perf_counter()
    report = _model_summary(model, predicted.split)
    report |= _metrics(model, predicted.cases, predicted.predictions)
    report["drive_check"] = model.meta.data.get(DRIVE_CHECK_KEY)
    report["latency_us"] = latency(model)
    return report | {"seconds": predicted.seconds + time.perf_counter() - started}


def joint_metrics(
    errors: Sequence[np.ndarray], cases: Sequence[EvaluationCase], moving: bool
) -> dict[str, Any]:
    """Return nmse of the samples in which a joint moves or stands, by the variance of all samples.

    The torque of a sticking joint can have any value up to its dry friction and cannot be computed
    from the motion of the moment.

    Args:
        errors: (T, n) of each case.
        cases: test trajectories.
        moving: whether the joint moves.
    """
    n = errors[0].shape[1]
    velocity = np.abs(np.concatenate([case.motion[:, n : 2 * n] for case in cases]))  # (T, n)
    error, target = (np.concatenate(x) for x in (errors, [case.target for case in cases]))
    counted = (velocity >= MIN_VELOCITY) == moving
    square = (error**2 * counted).sum(0) / np.maximum(counted.sum(0), 1)
    variance = target.var(0)
    valid = (variance > MIN_RELATIVE_VARIANCE * (target**2).mean(0).max()) & counted.any(0)
    per_joint = np.where(valid, square / np.where(valid, variance, 1.0), np.nan)
    return {
        "min_velocity": MIN_VELOCITY,
        "fraction": [float(x) for x in counted.mean(0)],
        "nmse": {
            "mean": finite_or_none(finite_mean(per_joint)),
            "per_joint": [finite_or_none(x) for x in per_joint],
        },
    }


def latency(model: InverseDynamics) -> dict[str, float]:
    """Return p50 and p99 [us] of predicting one frame, as a controller does, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    device = model.motion_mean.device
    motion = torch.zeros(1, model.n_obs_steps, model.input_dim, dtype=model.dtype, device=device)
    stamp = torch.zeros(1, model.n_obs_steps, dtype=model.dtype, device=device)
    seconds = []
    for _ in range(LATENCY_CALLS):
        start = time.perf_counter()
        model.predict(motion, stamp).mean.cpu()
        seconds.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    p50, p99 = np.percentile(seconds[LATENCY_CALLS // 10 :], [50, 99]) * 1e6
    return {"p50": float(p50), "p99": float(p99)}


def _model_summary(model: InverseDynamics, split: Split) -> dict[str, Any]:
    """Return the part of the report that describes the model and the split."""
    meta = model.meta
    return {
        "family": meta.family,
        "robot": meta.robot,
        "action_unit": meta.action_unit,
        "target": "setpoint offset u - q" if meta.action_unit == "rad" else "action",
        "action_delay": meta.action_delay,
        "effort_lag": list(meta.effort_lag) or None,
        "gear_friction": [list(row) for row in meta.gear_friction] or None,
        "presliding": [list(pair) for pair in meta.presliding] or None,
        "identification": meta.data.get("identification"),
        "unit_warning": meta.data.get("unit_warning"),
        "joint_names": list(meta.joint_names),
        "split": {
            "group_by": split.group_by,
            "train_recordings": _recordings(split.train),
            "test_recordings": _recordings(split.test),
            "train": _num_samples(split.train) or meta.data["samples"]["train"],
            "test": sum(max(len(t) - model.warmup_frames, 0) for t in split.test),
            # training refuses a split with duplicates; without the training data it is unknown
            "duplicates": 0 if split.train else None,
        },
    }


def _metrics(
    model: InverseDynamics,
    cases: Sequence[EvaluationCase],
    predictions: Sequence[PredictedActions],
) -> dict[str, Any]:
    """Return the metrics of the predictions and those of the baselines."""
    errors = [mean - case.action for (mean, _), case in zip(predictions, cases, strict=True)]
    has_joints = model.input_type == "motion"
    targets = _by_recording([case.target for case in cases], cases)
    return {
        **error_metrics(_by_recording(errors, cases), targets),
        "moving": joint_metrics(errors, cases, True) if has_joints else None,
        "standing": joint_metrics(errors, cases, False) if has_joints else None,
        "baselines": {
            name: error_metrics(_by_recording(baseline_errors, cases), targets)
            for name, baseline_errors in _baselines(model, cases)
        },
        "uncertainty_calibration": uncertainty_calibration(
            errors, [std for _, std in predictions]
        ),
    }


def _baselines(
    model: InverseDynamics, cases: Sequence[EvaluationCase]
) -> list[tuple[str, list[np.ndarray]]]:
    """Return the errors (T, n) per trajectory of each baseline."""
    mean = np.array(model.meta.data["target_mean"])
    errors: dict[str, Callable[[EvaluationCase], np.ndarray]] = {
        "zero": lambda case: -case.target,
        "mean": lambda case: mean - case.target,
        "hold_last": lambda case: _hold_last(case, mean) - case.action,
    }
    if model.meta.urdf and model.input_type == "motion":
        meta = replace(model.meta, family="rigid_body", config={"identify": False})
        rigid_body = build(replace(meta, presliding=(), gear_friction=()))
        compliance = torch.as_tensor(model.meta.data["urdf_compliance"])
        rigid_body.get_buffer("compliance").copy_(compliance)
        errors["rigid_body"] = lambda case: predict_case(rigid_body, case).mean - case.action
    if model.input_type == "pixels":
        initial = untrained_copy(model)
        errors["untrained"] = lambda case: predict_case(initial, case).mean - case.action
    return [(name, [error(case) for case in cases]) for name, error in errors.items()]


def untrained_copy(model: InverseDynamics) -> InverseDynamics:
    """Return a model with randomly initialised weights and the standardisation of `model`."""
    torch.manual_seed(0)
    initial = build(model.meta).to(model.motion_mean.device).eval()
    for name in ("motion_mean", "motion_std", "target_mean", "target_std"):
        initial.get_buffer(name).copy_(model.get_buffer(name))
    return initial


def _by_recording(
    values: Sequence[np.ndarray], cases: Sequence[EvaluationCase]
) -> list[np.ndarray]:
    """Join the values (T, n) of all cases of a recording, in the order of time.

    The bootstrap resamples recordings, not parts of them.
    """
    groups: dict[str, list[int]] = {}
    for k, case in enumerate(cases):
        groups.setdefault(case.recording or f"#{k}", []).append(k)
    joined = []
    for indices in groups.values():
        order = np.argsort(np.concatenate([cases[k].time for k in indices]), kind="stable")
        joined.append(np.concatenate([values[k] for k in indices])[order])
    return joined


def _hold_last(case: EvaluationCase, mean: np.ndarray) -> np.ndarray:
    """Return the action of the previous sample (T, n); the mean for the first sample."""
    first = mean + case.action[:1] - case.target[:1]
    return np.concatenate([first, case.action[:-1]])


def _recordings(trajectories: Sequence[Trajectory]) -> list[str]:
    return sorted({t.recording for t in trajectories} - {""})


def _num_samples(trajectories: Sequence[Trajectory]) -> int:
    return sum(map(len, trajectories))
