"""Evaluation of an inverse dynamics model on held-out motion, beside baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from invdyn_ros.data.action_units import conversion_remedy
from invdyn_ros.data.leakage import check_not_in_sketch, fingerprint
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split, check_compatible
from invdyn_ros.evaluation.metrics import (
    MIN_RELATIVE_VARIANCE,
    error_metrics,
    finite_mean,
    finite_or_none,
)
from invdyn_ros.evaluation.uncertainty_calibration import uncertainty_calibration
from invdyn_ros.models.drive_check import DRIVE_CHECK_KEY
from invdyn_ros.models.effort_lag import as_recorded
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.registry import build
from invdyn_ros.training.train import split_train_val_test, with_acceleration

MIN_VELOCITY = 0.05  # [rad/s] a slower joint may stick
LATENCY_CALLS = 500
Part = Literal["test", "val"]


class EvaluationCase(NamedTuple):
    """One test trajectory, with the motion that each action causes.

    Attributes:
        motion: (W + T, F), W being the frames that the model needs before its first prediction.
        stamps: (W + T,) time of `motion` [s].
        time: (T,) [s].
        action: (T, n) in the action unit.
        target: (T, n) the action, or its offset u - q for a position servo.
        source: recording of the trajectory; empty if there is only one trajectory per recording.
    """

    motion: np.ndarray
    stamps: np.ndarray
    time: np.ndarray
    action: np.ndarray
    target: np.ndarray
    source: str


class PredictedActions(NamedTuple):
    """Predicted actions of one trajectory, (T, n) in the action unit; std is None if unknown."""

    mean: np.ndarray
    std: np.ndarray | None


class SplitPredictions(NamedTuple):
    """Predictions of a model on a split of a dataset: an entry of each list per trajectory."""

    split: Split
    cases: list[EvaluationCase]
    predictions: list[PredictedActions]
    seconds: float
    """Time that the predictions took [s]."""


def evaluate(
    model: InverseDynamics, trajectories: Sequence[Trajectory], part: Part = "test"
) -> dict[str, Any]:
    """Evaluate a model on held-out motion and return the report; see `evaluation_report`.

    Args:
        model: the model, as returned by `load`.
        trajectories: a dataset with the joints and the action unit of the model.
        part: split of the dataset that the model was trained on: "test", or "val" to choose
            between models. Any other dataset is used as a whole.

    Raises:
        ValueError: the data are of another arm or unit, hold no actions, or have no such split.
    """
    return evaluation_report(model, predict_split(model, trajectories, part))


def predict_split(
    model: InverseDynamics, trajectories: Sequence[Trajectory], part: Part = "test"
) -> SplitPredictions:
    """Predict the actions of a split of a dataset.

    Args:
        model: the model.
        trajectories: a dataset with the joints and the action unit of the model.
        part: as in `evaluate`.

    Raises:
        ValueError: as `evaluate`.
    """
    started = time.perf_counter()
    check_data(model, trajectories)
    split = _select_split(model, with_acceleration(trajectories), part)
    cases = [_case(model, t) for t in split.test if len(t) > model.warmup_frames]
    if not cases:
        raise ValueError("no test trajectory is long enough to predict an action in")
    predictions = [_predict(model, case) for case in cases]
    return SplitPredictions(split, cases, predictions, time.perf_counter() - started)


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


def moving_joint_metrics(
    errors: Sequence[np.ndarray], cases: Sequence[EvaluationCase]
) -> dict[str, Any]:
    """Return nmse of the samples in which a joint moves, relative to the variance of all samples.

    The torque of a sticking joint can have any value up to its dry friction and cannot be computed
    from the motion.
    """
    n = errors[0].shape[1]
    velocity = np.abs(np.concatenate([case.motion[:, n : 2 * n] for case in cases]))  # (T, n)
    error, target = (np.concatenate(x) for x in (errors, [case.target for case in cases]))
    moves = velocity >= MIN_VELOCITY
    square = (error**2 * moves).sum(0) / np.maximum(moves.sum(0), 1)
    variance = target.var(0)
    valid = (variance > MIN_RELATIVE_VARIANCE * (target**2).mean(0).max()) & moves.any(0)
    per_joint = np.where(valid, square / np.where(valid, variance, 1.0), np.nan)
    return {
        "min_velocity": MIN_VELOCITY,
        "fraction": [float(x) for x in moves.mean(0)],
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


def check_data(model: InverseDynamics, trajectories: Sequence[Trajectory]) -> None:
    """Check that the data have the joints and the action unit of the model, and actions.

    Raises:
        ValueError: they do not.
    """
    check_compatible(trajectories)
    first, meta = trajectories[0], model.meta
    for name in ("joint_names", "action_unit"):
        value, expected = getattr(first, name), getattr(meta, name)
        if value != expected:
            remedy = conversion_remedy(value, expected) if name == "action_unit" else ""
            raise ValueError(
                f"the data have {name.replace('_', ' ')} {value}; the model has {expected}{remedy}"
            )
    if any(len(t.action) == 0 for t in trajectories):
        raise ValueError("the dataset has no actions to compare with; use labelled data")


def _select_split(model: InverseDynamics, trajectories: Sequence[Trajectory], part: Part) -> Split:
    """Return the split of the training dataset, or any other dataset as a test set.

    Raises:
        ValueError: another dataset has no validation split, or shares samples with the training
            data.
    """
    data = model.meta.data
    if data.get("sha256") == fingerprint(trajectories):
        outer, inner = split_train_val_test(
            trajectories, data["split"]["fraction"], data["split"]["seed"]
        )
        return outer if part == "test" else inner
    if part == "val":
        raise ValueError("only the dataset that a model was trained on has a validation split")
    check_not_in_sketch(data.get("sketch", []), trajectories)
    return Split("dataset", [], list(trajectories))


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
        "identification": meta.data.get("identification"),
        "unit_warning": meta.data.get("unit_warning"),
        "joint_names": list(meta.joint_names),
        "split": {
            "group_by": split.group_by,
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
    targets = _by_source([case.target for case in cases], cases)
    return {
        **error_metrics(_by_source(errors, cases), targets),
        "moving": moving_joint_metrics(errors, cases) if model.input_type == "motion" else None,
        "baselines": {
            name: error_metrics(_by_source(baseline_errors, cases), targets)
            for name, baseline_errors in _baselines(model, cases)
        },
        "uncertainty_calibration": uncertainty_calibration(
            errors, [std for _, std in predictions]
        ),
    }


def _case(model: InverseDynamics, trajectory: Trajectory) -> EvaluationCase:
    shifted = trajectory.shift(model.meta.action_delay)
    motion, warmup = getattr(shifted, model.input_type), model.warmup_frames
    target = model.target(*(torch.as_tensor(x[warmup:]) for x in (motion, shifted.action)))
    time, action = shifted.time[warmup:], shifted.action[warmup:]
    return EvaluationCase(motion, shifted.time, time, action, target.numpy(), shifted.source)


def _predict(model: InverseDynamics, case: EvaluationCase) -> PredictedActions:
    """Predict the recorded actions of one trajectory, given to the model as one window."""
    stamps, warmup = case.stamps - case.stamps[0], model.warmup_frames
    options: dict[str, Any] = {"dtype": model.dtype, "device": model.motion_mean.device}
    mean, std = model.predict(
        torch.as_tensor(case.motion, **options)[None], torch.as_tensor(stamps, **options)[None]
    )
    return PredictedActions(
        as_recorded(mean, model.meta)[0, warmup:].double().cpu().numpy(),
        None if std is None else std[0, warmup:].double().cpu().numpy(),
    )


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
        rigid_body = build(replace(model.meta, family="rigid_body", config={"identify": False}))
        compliance = torch.as_tensor(model.meta.data["urdf_compliance"])
        rigid_body.get_buffer("compliance").copy_(compliance)
        errors["rigid_body"] = lambda case: _predict(rigid_body, case).mean - case.action
    if model.input_type == "pixels":
        initial = untrained_copy(model)
        errors["untrained"] = lambda case: _predict(initial, case).mean - case.action
    return [(name, [error(case) for case in cases]) for name, error in errors.items()]


def untrained_copy(model: InverseDynamics) -> InverseDynamics:
    """Return a model with randomly initialised weights and the standardisation of `model`."""
    torch.manual_seed(0)
    initial = build(model.meta).to(model.motion_mean.device).eval()
    for name in ("motion_mean", "motion_std", "target_mean", "target_std"):
        initial.get_buffer(name).copy_(model.get_buffer(name))
    return initial


def _by_source(values: Sequence[np.ndarray], cases: Sequence[EvaluationCase]) -> list[np.ndarray]:
    """Join the values (T, n) of all cases of a recording, in the order of time.

    The bootstrap resamples recordings, not parts of them.
    """
    groups: dict[str, list[int]] = {}
    for k, case in enumerate(cases):
        groups.setdefault(case.source or f"#{k}", []).append(k)
    joined = []
    for indices in groups.values():
        order = np.argsort(np.concatenate([cases[k].time for k in indices]), kind="stable")
        joined.append(np.concatenate([values[k] for k in indices])[order])
    return joined


def _hold_last(case: EvaluationCase, mean: np.ndarray) -> np.ndarray:
    """Return the action of the previous sample (T, n); the mean for the first sample."""
    first = mean + case.action[:1] - case.target[:1]
    return np.concatenate([first, case.action[:-1]])


def _num_samples(trajectories: Sequence[Trajectory]) -> int:
    return sum(map(len, trajectories))
