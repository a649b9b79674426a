"""Table of a comparison of model families."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

BASELINES = {
    "zero": "zero",
    "mean": "mean",
    "hold_last": "hold last",
    "rigid_body": "rigid body (URDF)",
}


class ComparisonRow(NamedTuple):
    """Row of a baseline or a family; unknown values are None."""

    name: str
    learned: bool
    best: bool
    val_nmse: float | None  # nMSE on validation
    test_nmse: float | None  # on test, and its 95% interval
    ci95: tuple[float | None, float | None]
    seed_nmse: tuple[float, ...]  # nMSE on test of every seed
    rmse: float
    tracking_rms: float | None  # [rad]
    latency: float | None  # p50 [us]


def comparison_rows(comparison: Mapping[str, Any]) -> list[ComparisonRow]:
    """Return the rows: baselines, then families in the order of decreasing validation error."""
    families = comparison["families"].items()
    best = comparison["best"]["family"]
    rows = [
        _comparison_row(BASELINES[name], row, None)
        for name, row in comparison["baselines"].items()
    ]
    family_rows = [_comparison_row(name, row, name == best) for name, row in families]
    worst = float("inf")
    return rows + sorted(
        family_rows, key=lambda row: -(worst if row.val_nmse is None else row.val_nmse)
    )


def markdown(comparison: Mapping[str, Any]) -> str:
    """Return the comparison as Markdown: the data, the table and the best family."""
    unit, split = comparison["action_unit"], comparison["split"]
    has_tracking = comparison["tracking_task"] is not None
    head = ["model", "nMSE validation", "nMSE test", "95% interval", "all seeds", f"RMSE [{unit}]"]
    head += ["tracking RMS [mrad]"] * has_tracking + ["eager p50 [us]"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in comparison_rows(comparison):
        cells = [f"**{row.name}**" if row.best else row.name, percent(row.val_nmse)]
        cells += [
            percent(row.test_nmse),
            percent_range(row.ci95),
            percent_range(_range(row.seed_nmse)),
        ]
        cells += [f"{row.rmse:.3g}"]
        cells += [_scaled(row.tracking_rms, 1e3)] * has_tracking + [_scaled(row.latency, 1.0)]
        lines.append(f"| {' | '.join(cells)} |")
    best, samples = comparison["best"], comparison["val_samples"]
    description = (
        f"{comparison['data']}: {comparison['robot']}, target {comparison['target']}; "
        f"{split['test']} test and {samples} validation samples by {split['group_by']}, "
        f"{split['duplicates']} duplicates. Intervals: bootstrap over trajectories, or over "
        "blocks of time where there are few."
    )
    if has_tracking:
        task = comparison["tracking_task"]
        description += (
            f" Tracking: {task['seconds']:g} s of simulated motion outside of the dataset, "
            f"{task['payload_kg']:g} kg at the tool, feedback as in the live node."
        )
    description += (
        " Eager: one prediction in PyTorch; 'invdyn benchmark model' times the live runtime."
    )
    title = f"# Inverse dynamics of {comparison['robot']}"
    best_line = f"Best: **{best['family']}** ({best['checkpoint']}): {best['reason']}."
    return "\n".join([title, "", description, "", *lines, "", best_line, ""])


def percent(fraction: float | None) -> str:
    """Return a fraction in percent, to three digits."""
    return "-" if fraction is None else f"{_digits(100 * fraction)}%"


def percent_range(interval: tuple[float | None, float | None]) -> str:
    """Return an interval of fractions in percent."""
    low, high = interval
    return "-" if low is None or high is None else f"{_digits(100 * low)} to {_digits(100 * high)}"


def _comparison_row(name: str, row: Mapping[str, Any], best: bool | None) -> ComparisonRow:
    seeds = tuple(seed["test"] for seed in row.get("seeds", ()) if seed["test"] is not None)
    low, high = row["nmse"]["ci95"]
    latency = row.get("latency_us")
    return ComparisonRow(
        name,
        best is not None,
        bool(best),
        row["val"]["mean"],
        row["nmse"]["mean"],
        (low, high),
        seeds,
        row["rmse"]["mean"],
        row["tracking_rms_rad"],
        latency and latency["p50"],
    )


def _range(values: tuple[float, ...]) -> tuple[float | None, float | None]:
    """Return the range of two or more values."""
    return (min(values), max(values)) if len(values) > 1 else (None, None)


def _scaled(value: float | None, scale: float) -> str:
    return "-" if value is None else _digits(scale * value)


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
