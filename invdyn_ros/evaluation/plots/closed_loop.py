"""Plot of closed-loop tracking runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.ndimage import uniform_filter1d

from invdyn_ros.evaluation.closed_loop import ClosedLoopRun
from invdyn_ros.evaluation.plots.axes import DPI, RC_PARAMS
from invdyn_ros.evaluation.plots.style import DARK, GRAY, joint_color, short_names
from invdyn_ros.robots.robot import Robot

WIDTH, HEIGHT, HEADER = 15.0, 2.3, 1.6  # [inch] of the figure, of a row, of all else
WINDOW = 0.25  # [s] of the moving RMS error
MIN_ERROR = 0.05  # [mrad] resolution of the encoders


def plot_closed_loop(runs: Mapping[str, ClosedLoopRun], robot: Robot, path: Path) -> None:
    """Plot measured and desired joints and the tracking error, one row per run.

    Args:
        runs: name -> run.
        robot: the arm.
        path: PNG file to write.
    """
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure((WIDTH, HEADER + HEIGHT * len(runs)), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        title = f"{robot.name} with an unknown payload, same feedback gains"
        figure.suptitle(title, x=0.01, ha="left", size=20, weight="bold")
        all_axes = figure.subplots(len(runs), 2, sharex=True, squeeze=False, width_ratios=(1.2, 1))
        for (name, run), (left, right) in zip(runs.items(), all_axes, strict=True):
            left.set_title(name)
            _joints(left, run)
            _errors(right, run, robot)
        top = 2 * max(_smooth(run, robot.rate).max() for run in runs.values())
        for axes in all_axes[:, 1]:
            axes.set_ylim(MIN_ERROR, top)
        for axes in all_axes[-1]:
            axes.set_xlabel("time [s]")
        names = short_names(robot.joint_names)
        handles = [matplotlib.lines.Line2D([], [], color=joint_color(i), lw=2.4, label=name)
                   for i, name in enumerate(names)]  # fmt: skip
        handles.append(matplotlib.lines.Line2D([], [], color=DARK, lw=1, ls="--", label="desired"))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        figure.savefig(path)


def _joints(axes: Axes, run: ClosedLoopRun) -> None:
    """Plot measured and desired joints, in the range of the desired ones."""
    for i, (measured, desired) in enumerate(zip(run.measured.T, run.desired.T, strict=True)):
        axes.plot(run.time, measured, color=joint_color(i), lw=2.4, alpha=0.85)
        axes.plot(run.time, desired, color=DARK, lw=1.0, ls=(0, (4, 3)))
    low, high = run.desired.min(), run.desired.max()
    room = 0.15 * (high - low)
    axes.set_ylim(low - room, high + room)
    axes.set_ylabel("position [rad]")


def _errors(axes: Axes, run: ClosedLoopRun, robot: Robot) -> None:
    for i, error in enumerate(_smooth(run, robot.rate).T):
        axes.plot(run.time, np.maximum(error, MIN_ERROR), color=joint_color(i), lw=1.6)
    axes.set_yscale("log")
    axes.tick_params(axis="y", which="minor", left=False)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylabel("error [mrad]")
    rms = 1e3 * run.rms
    text = f"RMS {rms:.0f} mrad" if rms >= 100 else f"RMS {rms:.2g} mrad"
    axes.set_title(text, color=GRAY, weight="normal")


def _smooth(run: ClosedLoopRun, rate: float) -> np.ndarray:
    """Return the moving RMS error (T, n) [mrad]."""
    squares = uniform_filter1d(np.square(1e3 * run.error), max(1, round(WINDOW * rate)), axis=0)
    return np.sqrt(np.maximum(squares, 0.0))
