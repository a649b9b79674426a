"""Curves of joints and predictions for report pages, thinned so that the worst samples stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.data.recording import JointSamples
from invdyn_ros.evaluation.pages.report_page import Chart
from invdyn_ros.evaluation.run_events import Event
from invdyn_ros.typing import Array

MAX_SAMPLES = 1200  # of a curve
MIN_MOTION = 0.05  # [rad] range of a position axis
MIN_SPAN = 0.02  # [s] of an event in a chart


def worst_samples(error: Array, count: int = MAX_SAMPLES) -> NDArray[np.intp]:
    """Return the indices (K,) of the samples to draw: of each bucket that with the largest error.

    Args:
        error: (T,) of each sample; NaN where there is none.
        count: largest K.
    """
    if len(error) <= count:
        return np.arange(len(error))
    size = -(-len(error) // count)
    magnitude = np.nan_to_num(np.abs(error), nan=-1.0)
    padded = np.pad(magnitude, (0, -len(error) % size), constant_values=-2.0).reshape(-1, size)
    return np.arange(len(padded)) * size + padded.argmax(axis=1).astype(np.intp)


def curve(name: str, x: Array, y: Array, **options: Any) -> dict[str, Any]:
    """Return the options of a series; a value that is not finite is a gap.

    Args:
        name: in the legend.
        x: (T,) ascending.
        y: (T,).
        **options: further options of line_chart.js.
    """
    return {"name": name, "x": numbers(x), "y": numbers(y), **options}


def numbers(values: Array) -> list[float | None]:
    """Return values as JSON takes them, with five digits."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]


def line_chart(
    title: str,
    y_label: str,
    series: Sequence[Mapping[str, Any]],
    spans: Sequence[Mapping[str, Any]] = (),
    min_range: float = 0.0,
) -> Chart:
    """Return a line chart over time.

    Args:
        title: of the chart.
        y_label: with its unit.
        series: its curves, from `curve`.
        spans: shaded intervals, from `event_spans`.
        min_range: least range of the y axis, so that noise is not drawn as motion.
    """
    options = {
        "title": title,
        "xLabel": "time [s]",
        "yLabel": y_label,
        "series": [s for s in series if s["x"]],
        "spans": list(spans),
        "minRange": min_range,
    }
    return Chart("lineChart", options)


def event_spans(events: Sequence[Event], start: float) -> list[dict[str, Any]]:
    """Return the shaded intervals of events.

    Args:
        events: of a run.
        start: time [s] that is zero in the chart.
    """
    return [
        {
            "from": round(event.start - start, 3),
            "to": round(max(event.end, event.start + MIN_SPAN) - start, 3),
            "text": event.text,
        }
        for event in events
    ]


def joint_charts(
    measured: JointSamples,
    desired: JointSamples,
    targets: Mapping[float, Array],
    names: Sequence[str],
    spans: Sequence[Mapping[str, Any]],
) -> list[Chart]:
    """Return the errors of all joints, and target, desired and measured position of each.

    Args:
        measured: measured samples.
        desired: desired samples.
        targets: stamp [s] -> joint target (n,) [rad].
        names: of the joints.
        spans: shaded intervals.
    """
    if not len(measured.time):
        return []
    start = float(measured.time[0])
    stamps = np.array(sorted(targets))
    goals = np.array([targets[t] for t in stamps]).reshape(len(stamps), len(names))
    target_rows = worst_samples(np.zeros(len(stamps)))
    plan = _plan(measured.time, desired, len(names))
    charts, errors = [], []
    for k, name in enumerate(names):
        q, error = measured.q[:, k], measured.q[:, k] - plan[:, k]
        rows = worst_samples(error)
        time = measured.time[rows] - start
        series = []
        if len(stamps):
            x, y = stamps[target_rows] - start, goals[target_rows, k]
            series.append(curve("target", x, y, dashed=True, color="var(--green)"))
        if len(desired.time):
            errors.append(curve(name, time, 1e3 * error[rows]))
            series.append(curve("desired", time, plan[rows, k], color="var(--orange)"))
        series.append(curve("measured", time, q[rows], color="var(--blue)"))
        charts.append(line_chart(name, "position [rad]", series, spans, MIN_MOTION))
    if errors:
        charts.insert(0, line_chart("Measured minus desired", "error [mrad]", errors, spans, 1.0))
    return charts


def _plan(time: Array, desired: JointSamples, n: int) -> Array:
    """Return the desired positions (T, n) [rad] at times, NaN where there are none."""
    if not len(desired.time):
        return np.full((len(time), n), np.nan)
    columns = [np.interp(time, desired.time, q, np.nan, np.nan) for q in desired.q.T]
    return np.stack(columns, axis=1)
