"""Plot of a comparison of model families."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from invdyn_ros.evaluation.comparison_table import ComparisonRow, comparison_rows, percent
from invdyn_ros.evaluation.plots.axes import DPI, RC_PARAMS
from invdyn_ros.evaluation.plots.style import BLUE, DARK, GRAY, GREEN

BASELINE_COLOR = "#c3cad5"  # of baselines
MAX_TICKS = 5  # of an axis, whose labels are wide
HEIGHT, HEADER, WIDTH = 0.52, 2.3, (7.5, 5.0, 3.6)  # [inch] of a row, of the rest; of the axes


def plot_comparison(comparison: Mapping[str, Any], path: Path) -> None:
    """Plot error, tracking error and latency of each row, with the best family on top."""
    rows = comparison_rows(comparison)
    columns: list[tuple[float, Callable[[Axes], None]]] = [
        (WIDTH[0], lambda axes: _errors(axes, rows))
    ]
    if comparison["tracking_task"] is not None:
        columns.append((WIDTH[1], lambda axes: _tracking(axes, rows)))
    columns.append((WIDTH[2], lambda axes: _latency(axes, rows)))
    widths = [width for width, _ in columns]
    with matplotlib.rc_context(RC_PARAMS):
        size = (sum(widths), HEADER + HEIGHT * len(rows))
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(_title(comparison), x=0.01, ha="left", size=20, weight="bold")
        all_axes = figure.subplots(
            1, len(columns), width_ratios=widths, sharey=True, squeeze=False
        )
        for axes, (_, draw) in zip(all_axes[0], columns, strict=True):
            draw(axes)
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
        _names(all_axes[0, 0], rows)
        figure.supxlabel(_footnote(comparison), x=0.01, ha="left", size=12, color=GRAY)
        figure.savefig(path)


def _title(comparison: Mapping[str, Any]) -> str:
    return f"Inverse dynamics of {comparison['robot']}: error on held-out motion"


def _footnote(comparison: Mapping[str, Any]) -> str:
    best, split = comparison["best"], comparison["split"]
    return (
        f"Best: {best['family']}, {best['reason']}.\n{split['test']} test samples, split by "
        f"{split['group_by']}; whiskers: 95% bootstrap interval; dots: all seeds; grey: baselines."
    )


def _names(axes: Axes, rows: Sequence[ComparisonRow]) -> None:
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set(color=DARK if row.learned else GRAY, size=14)
        label.set_fontweight("bold" if row.best else "normal")


def _errors(axes: Axes, rows: Sequence[ComparisonRow]) -> None:
    axes.set_title("nMSE of the action, test split")
    labels = [percent(row.test_nmse) for row in rows]
    _bars(axes, rows, [row.test_nmse for row in rows], labels, [row.ci95[1] for row in rows])
    for y, row in enumerate(rows):
        low, high = row.ci95
        if low is not None and high is not None:
            axes.plot([low, high], [y, y], color=DARK, lw=1.6, solid_capstyle="butt")
            axes.plot([low, high], [y, y], color=DARK, ls="", marker="|", ms=9, mew=1.6)
        if len(row.seed_nmse) > 1:
            axes.plot(row.seed_nmse, [y - 0.27] * len(row.seed_nmse), ".", color=GRAY, ms=6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")


def _tracking(axes: Axes, rows: Sequence[ComparisonRow]) -> None:
    axes.set_title("joint tracking error, RMS [mrad]")
    values = [None if row.tracking_rms is None else 1e3 * row.tracking_rms for row in rows]
    _bars(axes, rows, values, [_short(value) for value in values])


def _latency(axes: Axes, rows: Sequence[ComparisonRow]) -> None:
    axes.set_title("latency, p50 [µs]")
    values = [row.latency for row in rows]
    _bars(axes, rows, values, [_short(value) for value in values])


def _bars(
    axes: Axes,
    rows: Sequence[ComparisonRow],
    values: Sequence[float | None],
    labels: Sequence[str],
    ends: Sequence[float | None] = (),
) -> None:
    """Draw labelled bars on a logarithmic axis; rows without a value have no bar.

    Args:
        axes: the axes.
        rows: of the comparison.
        values: length of each bar.
        labels: text beside each bar.
        ends: upper ends of the intervals, beyond which the labels are placed.
    """
    positive = [value for value in values if value is not None and value > 0]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=MAX_TICKS))
    axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if not positive:
        return
    left = 10 ** np.floor(np.log10(min(positive) / 1.5))
    right = max([*positive, *(end for end in ends if end is not None)])
    axes.set_xlim(left, right * (right / left) ** 0.3)
    for y, (row, value, label) in enumerate(zip(rows, values, labels, strict=True)):
        if value is None or value <= 0:
            continue
        color = GREEN if row.best else BLUE if row.learned else BASELINE_COLOR
        axes.barh(y, value - left, left=left, height=0.62, color=color)
        label_x = max(value, (ends[y] or 0.0) if ends else 0.0)
        axes.annotate(label, (label_x, y), (7, 0), textcoords="offset points", va="center",
                      color=DARK, size=12)  # fmt: skip


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
