"""Benchmark of the steps and the time of training a grasp policy to a success rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info
from invdyn_ros.config import parse_json, read_text
from invdyn_ros.data.files import reading
from invdyn_ros.grasp.learning.evaluation import EvaluationResult
from invdyn_ros.grasp.learning.learner_state import read_run_config
from invdyn_ros.grasp.learning.run import CURVE_FILE
from invdyn_ros.grasp.policies.success_rate import success_interval

MAX_LINEAR_RATIO = 20.0  # of the ends of an axis; above it, the axis is logarithmic


@dataclass(frozen=True)
class LearningCurvesBenchmarkConfig(BenchmarkOptions):
    """Steps and time to a success rate in runs of train_grasp, with a figure of their curves."""

    runs: tuple[Path, ...] = field(default_factory=tuple)
    """Folders that train_grasp wrote."""
    success_rate: float = 0.95
    """Success rate to reach."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.runs:
            raise ValueError("no runs; give --runs FOLDER...")
        if not 0 < self.success_rate <= 1:
            raise ValueError(
                f"success_rate is {self.success_rate}; it must be above 0 and at most 1"
            )


def measure_learning_curves(config: LearningCurvesBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and draw the figure if the report is written to a file.

    Raises:
        ValueError: a folder without a learning curve.
    """
    curves = {str(run): read_curve(run) for run in config.runs}
    report = benchmark_report(
        "learning_curves",
        unit=f"steps and minutes to {config.success_rate:.0%}; success of the best policy [%]",
        machine=machine_info(1),
        settings={"success_rate": config.success_rate},
        rows={name: _row(curve, config.success_rate) for name, curve in curves.items()},
        curves={name: [point._asdict() for point in curve] for name, curve in curves.items()},
    )
    if config.report is not None:
        names, path = run_names(config.runs), config.report.with_suffix(".png")
        draw_curves(path, curves, names, config.success_rate)
    return report


def read_curve(run: Path) -> list[EvaluationResult]:
    """Return the evaluations of a run.

    Raises:
        ValueError: the folder has no learning curve, or a damaged or empty one.
    """
    path = run / CURVE_FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing; give folders that 'invdyn train_grasp' wrote")
    with reading(path, "learning curve", "copy it again"):
        curve = [EvaluationResult(**row) for row in parse_json(read_text(path), str(path))]
        for row in curve:
            if not 0 <= row.successes <= row.episodes or not row.episodes > 0:
                raise ValueError(f"{row.successes} of {row.episodes} episodes")
    if not curve:
        raise ValueError(f"{path} has no evaluation yet; let the run continue")
    return curve


def _row(curve: Sequence[EvaluationResult], success_rate: float) -> Row:
    """Return the row of a run; without timesteps and minutes if it did not reach the rate."""
    best = max(curve, key=lambda point: point.score)
    reached = next((p for p in curve if p.successes >= success_rate * p.episodes), None)
    low, high = success_interval(best.successes, best.episodes)
    row: Row = {}
    if reached is not None:
        row = {"timesteps": reached.timesteps, "minutes": reached.seconds / 60}
    return row | {
        "best_success": 100 * best.successes / best.episodes,
        "ci_low": 100 * low,
        "ci_high": 100 * high,
        "total_timesteps": curve[-1].timesteps,
        "total_minutes": curve[-1].seconds / 60,
    }


def run_names(runs: Sequence[Path]) -> dict[str, str]:
    """Return a name for each run; runs that differ only in their seed have the same name.

    Args:
        runs: folders that train_grasp wrote.
    """
    settings = [read_run_config(run) | {"seed": None} for run in runs]
    recipes = [
        recipe_name(config) if "algorithm" in config else str(run)
        for run, config in zip(runs, settings, strict=True)
    ]
    names = {}
    for run, config, recipe in zip(runs, settings, recipes, strict=True):
        same_recipe = [c for c, name in zip(settings, recipes, strict=True) if name == recipe]
        unambiguous = all(other == config for other in same_recipe)
        first = runs[settings.index(config)].name
        names[str(run)] = recipe if unambiguous else f"{recipe} ({first})"
    return names


def recipe_name(config: dict[str, Any]) -> str:
    """Return a short description of the settings of a run."""
    demonstrations = config["demonstrations"]
    words = [config["algorithm"].upper() if config["algorithm"] != "dagger" else "DAgger"]
    words += ["from pixels"] * (config.get("obs_mode") == "pixels")
    words += ["with demonstrations"] * bool(demonstrations["data"] or demonstrations["episodes"])
    return " ".join([*words, "on", config["arm"], "at noise", str(config["noise"])])


def draw_curves(
    path: Path,
    curves: dict[str, list[EvaluationResult]],
    names: dict[str, str],
    success_rate: float,
) -> None:
    """Plot success over steps and over time with 95% intervals, one color for each name.

    Args:
        path: of the figure.
        curves: evaluations of each run.
        names: of each run.
        success_rate: to reach.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    _draw_runs(axes, curves, names)
    for axis in axes:
        axis.axhline(100 * success_rate, color="grey", linestyle=":", linewidth=1)
        axis.grid(alpha=0.3)
        low, high = axis.dataLim.intervalx
        is_wide = high > MAX_LINEAR_RATIO * max(low, 1e-9)
        axis.set(xscale="log" if is_wide else "linear", ylim=(-2, 102))
    axes[0].set_ylabel("success on held-out episodes [%]")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw_runs(
    axes: Sequence[Any], curves: dict[str, list[EvaluationResult]], names: dict[str, str]
) -> None:
    """Draw the success of each run over its steps in the first axes, over time in the second."""
    colors = {name: f"C{k}" for k, name in enumerate(dict.fromkeys(names.values()))}
    labelled: set[str] = set()
    for run, curve in curves.items():
        name, seeds = names[run], list(names.values()).count(names[run])
        label = f"{name}, {seeds} seeds" if seeds > 1 else name
        style = {"color": colors[name], "label": "_" if name in labelled else label}
        labelled.add(name)
        rate = [100 * p.successes / p.episodes for p in curve]
        intervals = [success_interval(p.successes, p.episodes) for p in curve]
        low, high = ([100 * end for end in ends] for ends in zip(*intervals, strict=True))
        columns = {
            "steps": [p.timesteps for p in curve],
            "minutes": [p.seconds / 60 for p in curve],
        }
        for axis, (unit, x) in zip(axes, columns.items(), strict=True):
            axis.plot(x, rate, marker="o", markersize=3, linewidth=1.2, **style)
            axis.fill_between(x, low, high, color=colors[name], alpha=0.12 / seeds, linewidth=0)
            axis.set_xlabel(unit)
