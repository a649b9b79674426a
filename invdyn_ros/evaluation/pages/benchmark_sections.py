"""Sections of the page of a benchmark, from its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from invdyn_ros.evaluation.headlines import Finding, is_bad_column
from invdyn_ros.evaluation.pages.model_sections import bar_chart
from invdyn_ros.evaluation.pages.report_page import (
    Cell,
    Chart,
    PageTable,
    Section,
    number_text,
    value_text,
)
from invdyn_ros.evaluation.report_keys.registry import find_key

Report = Mapping[str, Any]
MAX_CHARTS = 8
MAX_BARS = 40


def benchmark_sections(report: Report) -> list[Section]:
    """Return the sections of a benchmark: its rows, ratios, curves and failures."""
    kind, rows = f"benchmark {report['benchmark']}", report["rows"]
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    notes = []
    for column in columns:
        key = find_key(kind, ("rows", "", column))
        if key is not None:
            unit = f" [{key.unit}]" if key.unit else ""
            notes.append((column, f"{key.description}{unit}"))
    charts = [_column_chart(column, rows) for column in columns[:MAX_CHARTS]]
    charts = charts if 1 < len(rows) <= MAX_BARS else []
    text = f"Units: {report['unit']}. A count that should be zero and is not is marked."
    table = PageTable(["", *columns], _rows(rows, columns), notes)
    sections = [Section("Results", text, [table], charts)]
    if ratio := report["ratio"]:
        columns = list(dict.fromkeys(column for row in ratio.values() for column in row))
        text = "Figures of the first method divided by those of the second; 1 is equal."
        sections.append(
            Section(
                "Ratios", text, [PageTable(["", *columns], _rows(ratio, columns, marks=False))]
            )
        )
    if curves := report.get("curves"):
        text = "Zoom in by dragging; the band is the range of the draws, where there are several."
        sections.append(Section("Curves", text, charts=_curves(report["benchmark"], curves)))
    if failures := report.get("failures"):
        head = list(failures[0])
        cells = [[value_text(failure.get(name)) for name in head] for failure in failures]
        sections.append(
            Section("Failures", "Each of them should not be.", [PageTable(head, cells)])
        )
    return sections


def _rows(rows: Report, columns: Sequence[str], marks: bool = True) -> list[list[Cell]]:
    """Return the cells of a table; counts that should be zero are marked."""
    return [
        [
            name,
            *(
                Finding(number_text(row.get(c)), marks and is_bad_column(c) and bool(row.get(c)))
                for c in columns
            ),
        ]
        for name, row in rows.items()
    ]


def _column_chart(column: str, rows: Report) -> Chart:
    names = [name for name, row in rows.items() if row.get(column) is not None]
    values = [rows[name][column] for name in names]
    positive = [value for value in values if value > 0]
    wide = len(positive) == len(values) > 1 and max(positive) > 30 * min(positive)
    return bar_chart(column, column, names, [{"name": column, "values": values}], log=wide)


def _curves(benchmark: str, curves: Report) -> list[Chart]:
    if benchmark == "data_efficiency":
        return [
            _line_chart(title, "samples", "nMSE [%]", _draws(curves, key), log=True)
            for key, title in (("nmse", "Error against samples"), ("moving", "Moving joints only"))
        ]
    if benchmark == "lottery_ticket":
        return [
            _line_chart(name, "weights removed [%]", "error [%]", _tickets(kinds), log=True)
            for name, kinds in curves.items()
        ]
    success, reward = (
        [
            {"name": name, "x": [p["timesteps"] for p in points], "y": [value(p) for p in points]}
            for name, points in curves.items()
        ]
        for value in (
            lambda point: 100 * point["successes"] / point["episodes"],
            lambda point: point["mean_reward"],
        )
    )
    return [
        _line_chart("Success", "training steps", "episodes [%]", success),
        _line_chart("Return", "training steps", "mean return", reward),
    ]


def _tickets(kinds: Report) -> list[dict[str, Any]]:
    """Return the curves of the error against sparsity, with the range of the seeds."""
    return [
        {
            "name": kind,
            "x": curve["sparsity"],
            "y": curve["mean"],
            "band": {"lower": curve["low"], "upper": curve["high"]},
        }
        for kind, curve in kinds.items()
    ]


def _draws(curves: Report, key: str) -> list[dict[str, Any]]:
    """Return the curves of an error against samples, with the range of the draws."""
    return [
        {
            "name": family,
            "x": [int(size) for size in curve],
            "y": [row[key]["mean"] for row in curve.values()],
            "band": {
                "lower": [row[key]["low"] for row in curve.values()],
                "upper": [row[key]["high"] for row in curve.values()],
            },
        }
        for family, curve in curves.items()
    ]


def _line_chart(
    title: str, x_label: str, y_label: str, series: Sequence[Mapping[str, Any]], log: bool = False
) -> Chart:
    options = {
        "title": title,
        "xLabel": x_label,
        "yLabel": y_label,
        "series": list(series),
        "logY": log,
    }
    return Chart("lineChart", options)
