"""Measured and predicted actions of an evaluation: curves and the worst windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from invdyn_ros.evaluation.metrics import MIN_RELATIVE_VARIANCE
from invdyn_ros.evaluation.pages.curves import curve, line_chart, numbers, worst_samples
from invdyn_ros.evaluation.pages.report_page import Chart, Failure, Section
from invdyn_ros.evaluation.prediction import EvaluationCase, PredictedActions, SplitPredictions
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.typing import Array

WINDOW = 1.0  # [s] of a window whose error is ranked
NUM_WINDOWS = 4
CONTEXT = 2  # windows that are drawn around the worst one, at each side
MAX_JOINTS = 12


class Window(NamedTuple):
    """A window of the test split, ranked by its error.

    Attributes:
        nmse: squared error by the variance of the joint's target.
        case: index of the trajectory.
        joint: index of the joint.
        rows: first and last sample + 1.
    """

    nmse: float
    case: int
    joint: int
    rows: tuple[int, int]


def prediction_sections(meta: ModelMetadata, predicted: SplitPredictions) -> list[Section]:
    """Return the curves of each joint, and the windows with the largest errors.

    Args:
        meta: of the model.
        predicted: predictions of the test split.
    """
    count = sum(len(case.time) for case in predicted.cases)
    charts = [
        _joint_chart(meta, predicted, k) for k in range(min(len(meta.joint_names), MAX_JOINTS))
    ]
    text = (
        f"All {count} test samples of {len(predicted.cases)} trajectories, one after the other. "
        "Where they are too many to draw, that with the largest error of each stretch is drawn, "
        "so that the curves look worse than they are, never better. The band is two predicted "
        "standard deviations, where the model predicts one."
    )
    windows = _worst_windows(meta, predicted)
    failures = [_failure(meta, predicted, window) for window in windows]
    gallery = (
        f"The windows of {WINDOW:g} s with the largest error relative to the variance of their "
        "joint, every sample drawn; the window is shaded."
    )
    return [
        Section("Measured against predicted", text, charts=charts),
        Section("Worst windows", gallery, failures=failures),
    ]


def _joint_chart(meta: ModelMetadata, predicted: SplitPredictions, joint: int) -> Chart:
    parts, start = [], 0.0
    for case, prediction in zip(predicted.cases, predicted.predictions, strict=True):
        time = case.time - case.time[0] + start
        parts.append(np.vstack([time, *_curves(case, prediction, joint)]))
        start = float(time[-1]) + _period(case.time)
        parts.append(np.array([[start], *[[np.nan]] * 3]))  # no line between trajectories
    time, target, mean, std = np.concatenate(parts, axis=1)
    rows = worst_samples(mean - target)
    return _chart(meta, joint, np.array([time, target, mean, std])[:, rows])


def _chart(meta: ModelMetadata, joint: int, values: Array, shaded: Array | None = None) -> Chart:
    """Return the chart of a joint from its time, target, prediction and std, (4, T)."""
    time, target, mean, std = values
    band = {}
    if np.isfinite(std).any():
        band = {"band": {"lower": numbers(mean - 2 * std), "upper": numbers(mean + 2 * std)}}
    series = [
        curve("measured", time, target),
        curve("predicted", time, mean, dashed=True, **band),
    ]
    spans = []
    if shaded is not None:
        spans = [{"from": float(shaded[0]), "to": float(shaded[-1]), "text": "the worst window"}]
    quantity = "setpoint offset" if meta.action_unit == "rad" else "action"
    label = f"{quantity} [{meta.action_unit}]"
    return line_chart(meta.joint_names[joint], label, series, spans)


def _curves(
    case: EvaluationCase, prediction: PredictedActions, joint: int
) -> tuple[Array, Array, Array]:
    """Return target, prediction and standard deviation (T,) of a joint; NaN without std."""
    target = case.target[:, joint]
    mean = prediction.mean[:, joint] - case.action[:, joint] + target
    std = np.full(len(mean), np.nan) if prediction.std is None else prediction.std[:, joint]
    return target, mean, std


def _worst_windows(meta: ModelMetadata, predicted: SplitPredictions) -> list[Window]:
    """Return the windows with the largest errors, which do not overlap, the worst first."""
    chosen: list[Window] = []
    for window in sorted(_windows(meta, predicted), reverse=True):
        if not any(_overlaps(window, other) for other in chosen):
            chosen.append(window)
        if len(chosen) == NUM_WINDOWS:
            break
    return chosen


def _overlaps(a: Window, b: Window) -> bool:
    return a.case == b.case and a.rows[0] < b.rows[1] and b.rows[0] < a.rows[1]


def _windows(meta: ModelMetadata, predicted: SplitPredictions) -> Iterator[Window]:
    """Yield windows of all trajectories and joints, each half a window after the last."""
    target = np.concatenate([case.target for case in predicted.cases])
    variance, square = target.var(axis=0), (target**2).mean(axis=0).max()
    loaded = variance > MIN_RELATIVE_VARIANCE * square
    pairs = zip(predicted.cases, predicted.predictions, strict=True)
    for index, (case, prediction) in enumerate(pairs):
        size = min(max(round(WINDOW / _period(case.time)), 2), len(case.time))
        error = np.square(prediction.mean - case.action)  # (T, n)
        sums = np.vstack([np.zeros((1, error.shape[1])), np.cumsum(error, axis=0)])
        for first in range(0, len(error) - size + 1, max(size // 2, 1)):
            means = (sums[first + size] - sums[first]) / size
            for joint in np.flatnonzero(loaded):
                nmse = float(means[joint] / variance[joint])
                yield Window(nmse, index, int(joint), (first, first + size))


def _failure(meta: ModelMetadata, predicted: SplitPredictions, window: Window) -> Failure:
    case, prediction = predicted.cases[window.case], predicted.predictions[window.case]
    first, end = window.rows
    size = end - first
    rows = slice(max(first - CONTEXT * size, 0), end + CONTEXT * size)
    time = case.time - case.time[0]
    values = np.vstack([time, *_curves(case, prediction, window.joint)])[:, rows]
    shaded = time[first:end]
    source = case.recording or f"trajectory {window.case}"
    target, mean, _ = _curves(case, prediction, window.joint)
    largest = float(np.abs(mean - target)[first:end].max())
    text = (
        f"Squared error {100 * window.nmse:.3g}% of the variance of this joint, largest error "
        f"{largest:.3g} {meta.action_unit}, from {shaded[0]:.2f} to {shaded[-1]:.2f} s of {source}"
    )
    name = meta.joint_names[window.joint]
    return Failure(name, text, charts=[_chart(meta, window.joint, values, shaded)])


def _period(time: Array) -> float:
    return float(np.median(np.diff(time))) if len(time) > 1 else 1.0
