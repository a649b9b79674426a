"""The picture of a calibration: its residuals enter, a PNG with one bar a pose leaves."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from invdyn_ros.evaluation.plots.axes import DPI, RC_PARAMS
from invdyn_ros.evaluation.plots.style import BAD, BLUE, INK
from invdyn_ros.perception.hand_eye.calibration import (
    HandEyeCalibration,
    residual_norms,
    rms_residual,
)

SIZE = (11.0, 6.5)  # [inch]


def plot_hand_eye_residuals(made: HandEyeCalibration, path: Path) -> None:
    """Draw how far each pose is from what the calibration lets expect."""
    used = made.solution.inliers
    scale = np.array([1e3, np.degrees(1)])
    values = residual_norms(made.residual) * scale  # (N, 2)
    wanted = np.array(rms_residual(made.held_out)) * scale
    colors = [BLUE if u else BAD for u in used]
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        left = f"; {(~used).sum()} left out (red)" if not used.all() else ""
        figure.suptitle(f"Calibration of {used.sum()} poses{left}", x=0.01, ha="left", size=20)
        places = figure.subplots(2, 1, sharex=True)
        for k, (axes, unit) in enumerate(zip(places, ("mm", "deg"), strict=True)):
            axes.bar(np.arange(len(values)) + 1, values[:, k], color=colors)
            axes.axhline(wanted[k], color=INK, linestyle="--", label="held out, RMS")
            axes.set_ylabel(f"residual [{unit}]")
            axes.set_ylim(0, 1.2 * max(values[used, k].max(), wanted[k]))
        axes.set_xlabel("pose")
        figure.axes[0].legend(loc="upper left")
        figure.savefig(path)
