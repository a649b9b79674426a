"""Plot of the corners from which a camera was calibrated."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from invdyn_ros.evaluation.plots.axes import DPI, RC_PARAMS
from invdyn_ros.evaluation.plots.style import BLUE, DARK
from invdyn_ros.perception.camera_calibration import GRID, CameraCalibration

SIZE = (11.0, 6.5)  # [inch]
MAX_ERROR = 1.0  # [px] of the color scale


def plot_camera_corners(calibration: CameraCalibration, path: Path) -> None:
    """Plot all corners in the image, colored by their error, and the error of each view."""
    corners = np.concatenate([view.corners for _, view in calibration.views])
    lengths = [np.linalg.norm(errors, axis=1) for errors in calibration.errors]
    width, height = calibration.intrinsics.size
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(
            f"{len(corners)} corners in {len(calibration.views)} views, "
            f"{calibration.rms_error:.3f} px RMS; {len(calibration.rejected)} views rejected",
            x=0.01,
            ha="left",
            size=20,
        )
        image, bars = figure.subplots(1, 2, width_ratios=(3, 1))
        points = image.scatter(
            *corners.T, c=np.concatenate(lengths), s=8, cmap="viridis", vmin=0, vmax=MAX_ERROR
        )
        figure.colorbar(points, ax=image, label="error [px]", location="bottom", shrink=0.6)
        image.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
        image.set_xticks(np.linspace(0, width, GRID[0] + 1))
        image.set_yticks(np.linspace(0, height, GRID[1] + 1))
        image.grid(color=DARK, alpha=0.2)
        image.set(xlabel="x [px]", ylabel="y [px]")
        errors = [np.sqrt(np.mean(length**2)) for length in lengths]
        bars.barh(np.arange(len(errors)) + 1, errors, color=BLUE)
        bars.set(xlabel="RMS error [px]", ylabel="view", ylim=(len(errors) + 1, 0))
        figure.savefig(path)
