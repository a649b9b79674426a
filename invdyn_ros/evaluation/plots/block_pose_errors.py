"""Plot of block pose errors over the size of the markers in the image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from invdyn_ros.evaluation.plots.axes import DPI, RC_PARAMS
from invdyn_ros.evaluation.plots.style import joint_color

SIZE = (13.0, 6.0)  # [inch]
TICKS = (20, 30, 40, 60, 80, 120)  # [px]
NUM_WINDOWS = 10  # of marker sizes, with a percentile each


def plot_block_pose_errors(
    errors: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], path: Path
) -> None:
    """Plot each error of several methods as a dot, and their 95th percentile as a line.

    Args:
        errors: method -> side of the marker [px], rotation error [deg] and lateral position
            error [mm],
            (N,) each; NaN without a detection.
        path: PNG file to write.
    """
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(
            "Block pose error: each image (dots) and 95th percentile (lines)", x=0.01, ha="left"
        )
        all_axes = figure.subplots(1, 2)
        for column, (axes, label) in enumerate(
            zip(all_axes, ("rotation error [deg]", "lateral position error [mm]"), strict=True)
        ):
            for number, (name, (side, *values)) in enumerate(errors.items()):
                detected = ~np.isnan(values[column])
                x, y, color = side[detected], values[column][detected], joint_color(number)
                axes.plot(x, y, ".", ms=2.5, alpha=0.3, color=color)
                axes.plot(*_percentile_curve(x, y), color=color, lw=2.4, label=name)
            axes.set(xscale="log", yscale="log", xlabel="side of a marker [px]", ylabel=label)
            axes.set_xticks(TICKS, labels=[str(tick) for tick in TICKS])
            axes.minorticks_off()
        all_axes[0].legend(loc="upper right")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def _percentile_curve(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the median x and the 95th percentile of y in windows with equal numbers of points."""
    parts = np.array_split(np.argsort(x), min(NUM_WINDOWS, max(1, len(x) // 20)))
    parts = [part for part in parts if len(part)]
    return (
        [float(np.median(x[part])) for part in parts],
        [float(np.percentile(y[part], 95)) for part in parts],
    )
