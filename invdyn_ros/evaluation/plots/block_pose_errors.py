"""The picture of how well blocks are found: errors over a marker's size enter, a PNG leaves."""

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
WINDOWS = 10  # of sizes, in each of which the errors are summed up


def plot_block_pose_errors(
    errors: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], path: Path
) -> None:
    """Draw the errors of some methods, every one as a dot, and their 95th percentile as a line.

    Args:
        errors: of each method (n,) sides of a marker [px], rotation [deg], position [mm]; nan
            where it found none.
        path: PNG file to write.
    """
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle("Error of a block's pose: each, and 95% within", x=0.01, ha="left")
        places = figure.subplots(1, 2)
        for column, (axes, unit) in enumerate(zip(places, ("deg", "mm across"), strict=True)):
            for number, (name, (side, *values)) in enumerate(errors.items()):
                known = ~np.isnan(values[column])
                x, y, color = side[known], values[column][known], joint_color(number)
                axes.plot(x, y, ".", ms=2.5, alpha=0.3, color=color)
                axes.plot(*_high(x, y), color=color, lw=2.4, label=name)
            axes.set(xscale="log", yscale="log", xlabel="side of a marker [px]", ylabel=unit)
            axes.set_xticks(TICKS, labels=[str(tick) for tick in TICKS])
            axes.minorticks_off()
        places[0].legend(loc="upper right")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def _high(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """Median x and 95th percentile of y of windows of equally many points."""
    parts = np.array_split(np.argsort(x), min(WINDOWS, max(1, len(x) // 20)))
    parts = [part for part in parts if len(part)]
    return (
        [float(np.median(x[part])) for part in parts],
        [float(np.percentile(y[part], 95)) for part in parts],
    )
