"""A model and a dataset enter; an honest report on unseen motion leaves, beside baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

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
from invdyn_ros.models import InverseDynamics, ModelMetadata, build
from invdyn_ros.training.train import accelerated, splits

MIN_VELOCITY = 0.05  # [rad/s] a slower joint may stick
LATENCY_CALLS = 500
DRAWN = 3  # trajectories, at most
Part = Literal["test", "val"]
ActionPrediction = tuple[np.ndarray, np.ndarray | None]  # mean and spread (T, n)


class EvaluationCase(NamedTuple):
    """One test trajectory, with the motion each action makes."""

    motion: np.ndarray  # (T, F), and before it the frames without which a model knows no action
    stamps: np.ndarray  # [s] of all these
    time: np.ndarray  # (T,) [s]
    action: np.ndarray  # (T, n)
    target: np.ndarray  # (T, n) action, or for a servo its offset u - q
    source: str  # the recording it is from, if that has several


def evaluate(
    model: InverseDynamics,
    trajectories: Sequence[Trajectory],
    plots: Path | None = None,
    part: Part = "test",
) -> dict[str, Any]:
    """Judge a model on motion it has not seen.

    On the dataset it was trained on only the test part counts; any other dataset counts whole.
    nmse is the squared error as a share of the variance of the target: of the action, or for
    position servos of the offset u - q, since u itself is almost q and would flatter every model.
    Intervals are bootstrapped over trajectories, or over time blocks where there are few.

    Args:
        model: from `load`.
        trajectories: of the same joints and action unit.
        plots: folder for pictures of measured against predicted actions.
        part: of the data the model was trained on; "val", that for validation, is for choosing
            between models.

    Raises:
        ValueError: the data are of another arm or unit, hold no actions, or have no such part.
    """
    started = time.perf_counter()
    check_data(model, trajectories)
    parted = _select_split(model, accelerated(trajectories), part)
    cases = [_case(model, t) for t in parted.test if len(t) > model.warmup_frames]
    if not cases:
        raise ValueError("no test trajectory is long enough to predict an action in")
    predicted = [_predict(model, case) for case in cases]
    if plots is not None:
        longest = sorted(range(len(cases)), key=lambda k: -len(cases[k].time))
        chosen = longest if model.input_type == "pixels" else range(len(cases))
        some = sorted(chosen[:DRAWN])
        _draw(plots, model, [cases[k] for k in some], [predicted[k] for k in some])
    report = _model_summary(model, parted) | _metrics(model, cases, predicted)
    return report | {"latency_us": latency(model), "seconds": time.perf_counter() - started}


def moving_joint_metrics(
    errors: Sequence[np.ndarray], cases: Sequence[EvaluationCase]
) -> dict[str, Any]:
    """Return nmse of the samples whose joint moves, as a share of the variance of all samples.

    A joint that sticks takes any torque up to its dry friction: there its motion does not decide
    the action, and no model of the motion can know it.
    """
    n = errors[0].shape[1]
    speed = np.abs(np.concatenate([case.motion[:, n : 2 * n] for case in cases]))  # (T, n)
    error, target = (np.concatenate(x) for x in (errors, [case.target for case in cases]))
    fast = speed >= MIN_VELOCITY
    square = (error**2 * fast).sum(0) / np.maximum(fast.sum(0), 1)
    variance = target.var(0)
    known = (variance > MIN_RELATIVE_VARIANCE * (target**2).mean(0).max()) & fast.any(0)
    per_joint = np.where(known, square / np.where(known, variance, 1.0), np.nan)
    return {
        "speed": MIN_VELOCITY,
        "fraction": [float(x) for x in fast.mean(0)],
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
    stamp, taken = torch.zeros(1, model.n_obs_steps, dtype=model.dtype, device=device), []
    for _ in range(LATENCY_CALLS):
        begun = time.perf_counter()
        model.predict(motion, stamp).mean.cpu()
        taken.append(time.perf_counter() - begun)
    torch.set_num_threads(threads)
    p50, p99 = np.percentile(taken[LATENCY_CALLS // 10 :], [50, 99]) * 1e6
    return {"p50": float(p50), "p99": float(p99)}


def check_data(model: InverseDynamics, trajectories: Sequence[Trajectory]) -> None:
    """Refuse data of another arm, of another unit or without actions."""
    check_compatible(trajectories)
    first, meta = trajectories[0], model.meta
    for name in ("joint_names", "action_unit"):
        found, right = getattr(first, name), getattr(meta, name)
        if found != right:
            raise ValueError(
                f"the data have {name.replace('_', ' ')} {found}; the model has {right}"
            )
    if any(len(t.action) == 0 for t in trajectories):
        raise ValueError("the dataset has no actions to compare with; use labelled data")


def _draw(
    directory: Path,
    model: InverseDynamics,
    cases: Sequence[EvaluationCase],
    predicted: Sequence[ActionPrediction],
) -> None:
    from invdyn_ros.evaluation.plots.actions import (  # matplotlib, only where it draws
        ActionSeries,
        plot_actions,
    )

    pairs = zip(cases, predicted, strict=True)
    shown = (ActionSeries(c.time, c.target, mean - c.action + c.target) for c, (mean, _) in pairs)
    plot_actions(directory, model.meta, shown)
    if model.input_type == "pixels":
        _draw_videos(directory, model.meta, cases, predicted)


def _draw_videos(
    directory: Path,
    meta: ModelMetadata,
    cases: Sequence[EvaluationCase],
    predicted: Sequence[ActionPrediction],
) -> None:
    from invdyn_ros.evaluation.plots.action_video import write_action_video

    for k, (case, (found, _)) in enumerate(zip(cases, predicted, strict=True)):
        frames = case.motion[-len(found) :, :-1].reshape(len(found), *meta.image_size, 3)
        rate = (len(found) - 1) / max(case.time[-1] - case.time[0], 1e-9)
        title = f"{meta.family} on {case.source or meta.robot}, not seen in training"
        unit = f" [{meta.action_unit}]"
        names = [name + unit for name in meta.joint_names]
        write_action_video(
            directory / f"video_{k}.mp4", frames, (case.action, found), names, title, rate
        )


def _select_split(model: InverseDynamics, trajectories: Sequence[Trajectory], part: Part) -> Split:
    """Set aside what the model was trained on; a dataset it never saw is test as a whole."""
    data = model.meta.data
    if data.get("sha256") == fingerprint(trajectories):
        outer, inner = splits(trajectories, data["split"]["fraction"], data["split"]["seed"])
        return outer if part == "test" else inner
    if part == "val":
        raise ValueError("only the data a model was trained on have a part for validation")
    check_not_in_sketch(data.get("sketch", []), trajectories)
    return Split("dataset", [], list(trajectories))


def _model_summary(model: InverseDynamics, parted: Split) -> dict[str, Any]:
    """Return what was judged, and on what."""
    meta = model.meta
    return {
        "family": meta.family,
        "robot": meta.robot,
        "action_unit": meta.action_unit,
        "target": "setpoint offset u - q" if meta.action_unit == "rad" else "action",
        "action_delay": meta.action_delay,
        "joint_names": list(meta.joint_names),
        "split": {
            "by": parted.group_by,
            "train": _samples(parted.train) or meta.data["samples"]["train"],
            "test": sum(max(len(t) - model.warmup_frames, 0) for t in parted.test),
            # a split with any was refused; of data that are not at hand nobody can count them
            "duplicates": 0 if parted.train else None,
        },
    }


def _metrics(
    model: InverseDynamics, cases: Sequence[EvaluationCase], predicted: Sequence[ActionPrediction]
) -> dict[str, Any]:
    """Return all figures of the predictions, beside those of the baselines."""
    errors = [mean - case.action for (mean, _), case in zip(predicted, cases, strict=True)]
    targets = _by_source([case.target for case in cases], cases)
    return {
        **error_metrics(_by_source(errors, cases), targets),
        "moving": moving_joint_metrics(errors, cases) if model.input_type == "motion" else None,
        "baselines": {
            name: error_metrics(_by_source(wrong, cases), targets)
            for name, wrong in _baselines(model, cases)
        },
        "uncertainty_calibration": uncertainty_calibration(errors, [std for _, std in predicted]),
    }


def _case(model: InverseDynamics, trajectory: Trajectory) -> EvaluationCase:
    shifted = trajectory.shift(model.meta.action_delay)
    seen, skip = getattr(shifted, model.input_type), model.warmup_frames
    target = model.target(*(torch.as_tensor(x[skip:]) for x in (seen, shifted.action)))
    time, action = shifted.time[skip:], shifted.action[skip:]
    return EvaluationCase(seen, shifted.time, time, action, target.numpy(), shifted.source)


def _predict(model: InverseDynamics, case: EvaluationCase) -> ActionPrediction:
    """Return mean and spread (T, n) of the actions of one trajectory, seen as one window."""
    stamps, skip = case.stamps - case.stamps[0], model.warmup_frames
    place: dict[str, Any] = {"dtype": model.dtype, "device": model.motion_mean.device}
    mean, std = model.predict(
        torch.as_tensor(case.motion, **place)[None], torch.as_tensor(stamps, **place)[None]
    )
    both = (None if x is None else x[0, skip:].double().cpu().numpy() for x in (mean, std))
    return tuple(both)  # type: ignore[return-value]


def _baselines(
    model: InverseDynamics, cases: Sequence[EvaluationCase]
) -> list[tuple[str, list[np.ndarray]]]:
    """Return the errors (T, n) per trajectory of what needs no learning."""
    mean = np.array(model.meta.data["target_mean"])
    errors: dict[str, Callable[[EvaluationCase], np.ndarray]] = {
        "zero": lambda case: -case.target,
        "mean": lambda case: mean - case.target,
        "hold_last": lambda case: _hold_last(case, mean) - case.action,
    }
    if model.meta.urdf and model.input_type == "motion":
        rigid = build(replace(model.meta, family="rigid_body", config={"identify": False}))
        rigid.get_buffer("compliance").copy_(torch.as_tensor(model.meta.data["urdf_compliance"]))
        errors["rigid_body"] = lambda case: _predict(rigid, case)[0] - case.action
    if model.input_type == "pixels":
        fresh = untrained(model)
        errors["untrained"] = lambda case: _predict(fresh, case)[0] - case.action
    return [(name, [error(case) for case in cases]) for name, error in errors.items()]


def untrained(model: InverseDynamics) -> InverseDynamics:
    """Return a model as before training: fresh weights, and its standardisation."""
    torch.manual_seed(0)
    fresh = build(model.meta).to(model.motion_mean.device).eval()
    for name in ("motion_mean", "motion_std", "target_mean", "target_std"):
        fresh.get_buffer(name).copy_(model.get_buffer(name))
    return fresh


def _by_source(values: Sequence[np.ndarray], cases: Sequence[EvaluationCase]) -> list[np.ndarray]:
    """Join the values (T, n) of the cases of a recording in time: what resampling draws whole."""
    groups: dict[str, list[int]] = {}
    for k, case in enumerate(cases):
        groups.setdefault(case.source or f"#{k}", []).append(k)
    joined = []
    for chosen in groups.values():
        order = np.argsort(np.concatenate([cases[k].time for k in chosen]), kind="stable")
        joined.append(np.concatenate([values[k] for k in chosen])[order])
    return joined


def _hold_last(case: EvaluationCase, mean: np.ndarray) -> np.ndarray:
    """Return the action sent one sample before (T, n); the first one is the mean."""
    first = mean + case.action[:1] - case.target[:1]
    return np.concatenate([first, case.action[:-1]])


def _samples(trajectories: Sequence[Trajectory]) -> int:
    return sum(map(len, trajectories))
