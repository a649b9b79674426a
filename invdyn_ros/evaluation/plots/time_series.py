"""Plots of the time-series benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from invdyn_ros.evaluation.plots.axes import DPI, RC_PARAMS
from invdyn_ros.evaluation.plots.style import joint_color

MIN_MEMORY = 0.1  # [MB] less is hidden by what the process itself allocates


def plot_error_by_gap(details: Mapping[str, Any], names: Sequence[str], path: Path) -> None:
    """Plot the error of unobserved samples against the gap between observations, per method.

    Args:
        details: method -> {"by_gap": errors x 10^2 or None, "outside": error before the first and
            after the last observation}.
        names: labels of the gaps.
        path: PNG file to write.
    """
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure((11, 6.5), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        labels = [*names, "outside"]
        for number, (name, errors) in enumerate(details.items()):
            values = [*errors["by_gap"], errors["outside"]]
            points = [(k, v) for k, v in enumerate(values) if v]
            axes.plot(
                *zip(*points, strict=True), "o-", color=joint_color(number), lw=2, label=name
            )
        axes.set_yscale("log")
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlabel("gap between observations [samples]")
        axes.set_ylabel("mean squared error x 10² of scaled states")
        axes.legend(loc="best")
        figure.savefig(path)


def plot_cost_by_length(
    lengths: Sequence[int], costs: Mapping[str, Sequence[tuple[float, float]]], path: Path
) -> None:
    """Plot time and memory against the sequence length, beside a linear reference.

    Args:
        lengths: numbers of samples.
        costs: name -> (seconds, MB) of each length.
        path: PNG file to write.
    """
    models = list(dict.fromkeys(name.partition(", ")[0] for name in costs))
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure((14, 6.5), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        for axes, column, unit in zip(
            figure.subplots(1, 2),
            (0, 1),
            ("time per call [s]", "memory per call [MB]"),
            strict=True,
        ):
            for name, values in costs.items():
                model, _, task = name.partition(", ")
                line = "o-" if task == "predict" else "s--"
                points = [(n, v[column]) for n, v in zip(lengths, values, strict=True)]
                positive = [(n, v) for n, v in points if v > 0]
                color = joint_color(models.index(model))
                axes.plot(*zip(*positive, strict=True), line, color=color, lw=2, label=name)
            top = max(v[-1][column] for v in costs.values())
            ends = (lengths[0], lengths[-1])
            axes.plot(ends, [3 * top * n / ends[1] for n in ends], ":", color="gray", lw=2,
                      label="linear")  # fmt: skip
            axes.set(xscale="log", yscale="log", xlabel="samples", ylabel=unit)
        figure.axes[1].set_ylim(bottom=MIN_MEMORY)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center")
        figure.savefig(path)
