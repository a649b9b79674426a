"""Plots of plans, executed motion and smoothness of actions in the planning benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from invdyn_ros.evaluation.plots.axes import DPI, RC_PARAMS
from invdyn_ros.evaluation.plots.style import BLUE, DARK, GRAY, GREEN, ORANGE

PLAN_STEP = 15  # every 15th plan is drawn
RATE = 50.0  # [Hz]


class PlanningEpisode(NamedTuple):
    """One episode of K ticks."""

    state: np.ndarray  # (K + 1, 2) [rad, rad/s]
    goal: np.ndarray  # (2,)
    action: np.ndarray  # (K,) [N m]
    plan: Sequence[np.ndarray]  # K of (T, 2)


def plot_plans(episodes: Mapping[str, PlanningEpisode], path: Path) -> None:
    """Plot planned and executed angles, and the torques, with a column per episode."""
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure((6 * len(episodes), 8), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        rows = figure.subplots(2, len(episodes), sharex=True, sharey="row", squeeze=False)
        for (name, episode), above, below in zip(episodes.items(), *rows, strict=True):
            time = np.arange(len(episode.state)) / RATE
            for k in range(0, len(episode.plan), PLAN_STEP):
                plan_time = time[k] + np.arange(len(episode.plan[k])) / RATE
                label = "planned" if k == 0 else None
                above.plot(plan_time, episode.plan[k][:, 0], color=ORANGE, lw=1.2, label=label)
            above.plot(time, episode.state[:, 0], color=BLUE, lw=2.6, label="executed")
            above.axhline(episode.goal[0], color=DARK, lw=1, ls=(0, (4, 3)), label="goal")
            above.set(title=name, xlim=(0, time[-1]))
            below.plot(time[:-1], episode.action, color=GREEN, lw=1.8)
            below.set_xlabel("time [s]")
        rows[0, 0].set_ylabel("angle [rad]")
        rows[0, 0].legend(loc="best")
        rows[1, 0].set_ylabel("torque [N m]")
        figure.savefig(path)


def plot_smoothness(
    smoothness: Mapping[str, Sequence[float]], actions: Mapping[str, np.ndarray], path: Path
) -> None:
    """Plot the RMS second difference of the torques, and the torques of an episode.

    Args:
        smoothness: method -> RMS second difference of each seed [N m].
        actions: method -> torques of an episode (K,) [N m].
        path: PNG file to write.
    """
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure((16, 1.1 * len(smoothness) + 1.5), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(len(smoothness), 2)
        left = figure.add_subplot(grid[:, 0])
        for k, (name, seeds) in enumerate(smoothness.items()):
            left.barh(k, np.mean(seeds), color=BLUE if "direct" not in name else ORANGE)
            left.plot(seeds, [k] * len(seeds), ".", color=DARK, ms=8)
            right = figure.add_subplot(grid[k, 1])
            right.plot(np.arange(len(actions[name])) / RATE, actions[name], color=GREEN, lw=1.4)
            right.set_xlim(0, len(actions[name]) / RATE)
            if k < len(smoothness) - 1:
                right.set_xticklabels([])
            right.tick_params(colors=GRAY)
        right.set_xlabel("torque [N m] over time [s]")
        left.set_yticks(range(len(smoothness)), list(smoothness))
        left.invert_yaxis()
        left.set_xlabel("RMS second difference of the torques [N m] (dots: seeds)")
        figure.savefig(path)
