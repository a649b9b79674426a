"""Plot of the residuals of a hand-eye calibration."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from invdyn_ros.evaluation.plots.axes import DPI, RC_PARAMS
from invdyn_ros.evaluation.plots.style import BLUE, DARK, RED
from invdyn_ros.perception.hand_eye.hand_eye_calibration import (
    HandEyeCalibration,
    residual_norms,
    rms_residual,
)

SIZE = (11.0, 6.5)  # [inch]


def plot_hand_eye_residuals(calibration: HandEyeCalibration, path: Path) -> None:
    """Plot the residual of each pose, with rejected poses in red."""
    inliers = calibration.solution.inliers
    scale = np.array([1e3, np.degrees(1)])
    values = residual_norms(calibration.residual) * scale  # (N, 2)
    held_out = np.array(rms_residual(calibration.held_out)) * scale
    colors = [BLUE if inlier else RED for inlier in inliers]
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        rejected = f"; {(~inliers).sum()} rejected (red)" if not inliers.all() else ""
        figure.suptitle(
            f"Residuals of {inliers.sum()} poses{rejected}", x=0.01, ha="left", size=20
        )
        all_axes = figure.subplots(2, 1, sharex=True)
        for k, (axes, unit) in enumerate(zip(all_axes, ("mm", "deg"), strict=True)):
            axes.bar(np.arange(len(values)) + 1, values[:, k], color=colors)
            axes.axhline(held_out[k], color=DARK, linestyle="--", label="RMS of held-out poses")
            axes.set_ylabel(f"residual [{unit}]")
            axes.set_ylim(0, 1.2 * max(values[inliers, k].max(), held_out[k]))
        axes.set_xlabel("pose")
        figure.axes[0].legend(loc="upper left")
        figure.savefig(path)
