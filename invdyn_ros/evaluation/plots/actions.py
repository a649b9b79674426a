"""Plots of measured and predicted actions over time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from invdyn_ros.models.model_metadata import ModelMetadata


class ActionSeries(NamedTuple):
    """Targets of one trajectory: actions, or the offsets u - q of servos."""

    time: np.ndarray  # (T,) [s]
    measured: np.ndarray  # (T, n) in the action unit
    predicted: np.ndarray  # (T, n)


def plot_actions(
    directory: Path, meta: ModelMetadata, trajectories: Iterable[ActionSeries]
) -> None:
    """Write one figure per trajectory, with a row per joint.

    Args:
        directory: where actions_0.png, actions_1.png, ... are written.
        meta: metadata of the model, for the names of the joints and the unit.
        trajectories: measured and predicted actions.
    """
    directory.mkdir(parents=True, exist_ok=True)
    label = "offset u - q" if meta.action_unit == "rad" else "action"
    n = len(meta.joint_names)
    for k, (time, measured, predicted) in enumerate(trajectories):
        figure = Figure(figsize=(10, 1.8 * n + 0.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(n, 1, sharex=True, squeeze=False)[:, 0]
        for j, (axis, joint) in enumerate(zip(axes, meta.joint_names, strict=True)):
            axis.plot(time, measured[:, j], color="0.6", linewidth=2.5, label="measured")
            axis.plot(time, predicted[:, j], color="tab:blue", linewidth=1, label="predicted")
            axis.set_title(joint, loc="left", fontsize=9)
            axis.set_ylabel(f"{label} [{meta.action_unit}]", fontsize=8)
            axis.grid(alpha=0.3)
        axes[0].legend(loc="upper right", fontsize=8)
        axes[-1].set_xlabel("time [s]")
        figure.suptitle(f"{meta.family} on {meta.robot}, test trajectory {k}", fontsize=11)
        figure.savefig(directory / f"actions_{k}.png", dpi=100)
