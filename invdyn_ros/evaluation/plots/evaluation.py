"""Plots and videos of the predictions of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from invdyn_ros.evaluation.plots.action_video import write_action_video
from invdyn_ros.evaluation.plots.actions import ActionSeries, plot_actions
from invdyn_ros.evaluation.prediction import EvaluationCase, PredictedActions, SplitPredictions
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata

MAX_TRAJECTORIES = 3


def plot_evaluation(folder: Path, model: InverseDynamics, predicted: SplitPredictions) -> None:
    """Plot measured and predicted actions of up to three trajectories.

    Models of video also get a video per trajectory, and the longest trajectories are chosen.

    Args:
        folder: where actions_0.png, ... and video_0.mp4, ... are written.
        model: the model.
        predicted: its predictions, as returned by `predict_split`.
    """
    is_video = model.input_type == "pixels"
    indices = list(range(len(predicted.cases)))
    if is_video:
        indices.sort(key=lambda k: -len(predicted.cases[k].time))
    chosen = sorted(indices[:MAX_TRAJECTORIES])
    cases = [predicted.cases[k] for k in chosen]
    predictions = [predicted.predictions[k] for k in chosen]
    pairs = zip(cases, predictions, strict=True)
    series = (ActionSeries(c.time, c.target, p.mean - c.action + c.target) for c, p in pairs)
    plot_actions(folder, model.meta, series)
    if is_video:
        _write_videos(folder, model.meta, cases, predictions)


def _write_videos(
    folder: Path,
    meta: ModelMetadata,
    cases: Sequence[EvaluationCase],
    predictions: Sequence[PredictedActions],
) -> None:
    for k, (case, (mean, _)) in enumerate(zip(cases, predictions, strict=True)):
        frames = case.motion[-len(mean) :, :-1].reshape(len(mean), *meta.image_size, 3)
        rate = (len(mean) - 1) / max(case.time[-1] - case.time[0], 1e-9)
        title = f"{meta.family} on {case.recording or meta.robot}, held out from training"
        names = [f"{name} [{meta.action_unit}]" for name in meta.joint_names]
        video = folder / f"video_{k}.mp4"
        write_action_video(video, frames, (case.action, mean), names, title, rate)
