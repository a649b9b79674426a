"""Predictions of an inverse dynamics model on held-out motion."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from invdyn_ros.data.action_units import conversion_remedy
from invdyn_ros.data.leakage import check_not_in_sketch, fingerprint
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split, check_compatible, continuous_recording
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.training.data_preparation import (
    SplitConfig,
    split_train_val_test,
    with_acceleration,
)

Part = Literal["test", "val"]


class EvaluationCase(NamedTuple):
    """One test trajectory, with the motion that each action causes.

    Attributes:
        motion: (W + T, F), W being the frames that the model needs before its first prediction.
        stamps: (W + T,) time of `motion` [s].
        time: (T,) [s].
        action: (T, n) in the action unit.
        target: (T, n) the action, or its offset u - q for a position servo.
        recording: recording that must not be resampled in parts; empty if none.
    """

    motion: np.ndarray
    stamps: np.ndarray
    time: np.ndarray
    action: np.ndarray
    target: np.ndarray
    recording: str


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


def predict_split(
    model: InverseDynamics, trajectories: Sequence[Trajectory], part: Part = "test"
) -> SplitPredictions:
    """Predict the actions of a split of a dataset.

    Args:
        model: the model.
        trajectories: a dataset with the joints and the action unit of the model.
        part: split of the dataset that the model was trained on: "test", or "val" to choose
            between models. Any other dataset is used as a whole.

    Raises:
        ValueError: the data are of another arm or unit, hold no actions, or have no such split.
    """
    started = time.perf_counter()
    check_data(model, trajectories)
    split = _select_split(model, with_acceleration(trajectories), part)
    cases = [_case(model, t) for t in split.test if len(t) > model.warmup_frames]
    if not cases:
        raise ValueError("no test trajectory is long enough to predict an action in")
    predictions = [predict_case(model, case) for case in cases]
    return SplitPredictions(split, cases, predictions, time.perf_counter() - started)


def _case(model: InverseDynamics, trajectory: Trajectory) -> EvaluationCase:
    shifted = trajectory.shift(model.meta.action_delay)
    motion, warmup = getattr(shifted, model.input_type), model.warmup_frames
    target = model.target(*(torch.as_tensor(x[warmup:]) for x in (motion, shifted.action)))
    time, action = shifted.time[warmup:], shifted.action[warmup:]
    recording = continuous_recording(shifted)
    return EvaluationCase(motion, shifted.time, time, action, target.numpy(), recording)


def predict_case(model: InverseDynamics, case: EvaluationCase) -> PredictedActions:
    """Predict the recorded actions of one trajectory, given to the model as one window."""
    stamps, warmup = case.stamps - case.stamps[0], model.warmup_frames
    options: dict[str, Any] = {"dtype": model.dtype, "device": model.motion_mean.device}
    motion = torch.as_tensor(case.motion, **options)[None]
    mean, std = model.predict(motion, torch.as_tensor(stamps, **options)[None])
    return PredictedActions(
        model.as_recorded(mean, motion)[0, warmup:].double().cpu().numpy(),
        None if std is None else std[0, warmup:].double().cpu().numpy(),
    )


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
        outer, inner = split_train_val_test(trajectories, SplitConfig.of_model(data))
        if part == "test" and not outer.test:
            raise ValueError(
                "the model was trained on all of these data (test_fraction 0); evaluate it on "
                "other data"
            )
        return outer if part == "test" else inner
    if part == "val":
        raise ValueError("only the dataset that a model was trained on has a validation split")
    check_not_in_sketch(data.get("sketch", []), trajectories)
    return Split("dataset", [], list(trajectories))
