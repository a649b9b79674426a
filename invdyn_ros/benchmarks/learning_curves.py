"""What it costs to learn a grasp: runs of `invdyn train_grasp` enter, a table and curves leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info
from invdyn_ros.grasp.learning.evaluation import EvaluationResult
from invdyn_ros.grasp.learning.learner_state import read_run_config
from invdyn_ros.grasp.learning.run import CURVE_FILE
from invdyn_ros.grasp.policies.success_rate import success_interval

MAX_LINEAR_RATIO = 20.0  # times the least: an axis that goes further is logarithmic


@dataclass(frozen=True)
class LearningCurvesBenchmarkConfig:
    """Steps and time that runs of train_grasp needed, and their curves in one picture."""

    runs: tuple[Path, ...] = field(default_factory=tuple)
    """Folders that train_grasp wrote."""
    level: float = 0.95
    """Success rate that is to be reached."""
    report: Path | None = None
    """JSON file to write; the picture lies beside it, as .png."""

    def __post_init__(self) -> None:
        if not self.runs or not 0 < self.level <= 1:
            raise ValueError(
                f"{len(self.runs)} runs, level {self.level}; right are --runs FOLDER... and a "
                "level above 0, up to 1"
            )


def measure_learning_curves(config: LearningCurvesBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and draw the picture where a report is wanted.

    Raises:
        ValueError: a folder without a curve.
    """
    curves = {str(run): read_curve(run) for run in config.runs}
    report = benchmark_report(
        "learning_curves",
        unit=f"steps and minutes to {config.level:.0%}; success of the best [%]",
        machine=machine_info(1),
        settings={"level": config.level},
        rows={name: _row(curve, config.level) for name, curve in curves.items()},
        curves={name: [point._asdict() for point in curve] for name, curve in curves.items()},
    )
    if config.report is not None:
        draw(config.report.with_suffix(".png"), curves, legend(config.runs), config.level)
    return report


def read_curve(run: Path) -> list[EvaluationResult]:
    """Return the evaluations of a run.

    Raises:
        ValueError: the folder holds none, or something else.
    """
    path = run / CURVE_FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing; give folders that 'invdyn train_grasp' wrote")
    try:
        curve = [EvaluationResult(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no learning curve ({error})") from error
    if not curve:
        raise ValueError(f"{path} holds no evaluation yet; let the run go on")
    return curve


def _row(curve: Sequence[EvaluationResult], level: float) -> Row:
    """Return the figures of a run; without steps and minutes where it never reached the level."""
    best = max(curve, key=lambda point: point.score)
    reached = next((p for p in curve if p.successes >= level * p.episodes), None)
    low, high = success_interval(best.successes, best.episodes)
    row = {} if reached is None else {"steps": reached.timesteps, "minutes": reached.seconds / 60}
    return row | {
        "best": 100 * best.successes / best.episodes,
        "low": 100 * low,
        "high": 100 * high,
        "all steps": curve[-1].timesteps,
        "all minutes": curve[-1].seconds / 60,
    }


def legend(runs: Sequence[Path]) -> dict[str, str]:
    """Return what to call each run; those that differ in nothing but the seed are called the same.

    Args:
        runs: folders that train_grasp wrote.
    """
    settings = [read_run_config(run) | {"seed": None} for run in runs]
    names = [
        recipe_name(own) if "algorithm" in own else str(run)
        for run, own in zip(runs, settings, strict=True)
    ]
    found = {}
    for run, own, name in zip(runs, settings, names, strict=True):
        alone = all(
            other == own for other, its in zip(settings, names, strict=True) if its == name
        )
        first = runs[settings.index(own)].name
        found[str(run)] = name if alone else f"{name} ({first})"
    return found


def recipe_name(recipe: dict[str, Any]) -> str:
    """Return the settings of a run in a few words."""
    shown = recipe["demonstrations"]
    words = [recipe["algorithm"].upper() if recipe["algorithm"] != "dagger" else "DAgger"]
    words += ["from pixels"] * (recipe.get("obs_mode") == "pixels")
    words += ["with demonstrations"] * bool(shown["data"] or shown["episodes"])
    return " ".join([*words, "on", recipe["arm"], "at noise", str(recipe["noise"])])


def draw(
    path: Path, curves: dict[str, list[EvaluationResult]], names: dict[str, str], level: float
) -> None:
    """Draw success against steps and against time, with intervals; one colour for each name.

    Args:
        path: of the picture.
        curves: evaluations of each run.
        names: what each run is called.
        level: success rate that is to be reached.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    colours = {name: f"C{k}" for k, name in enumerate(dict.fromkeys(names.values()))}
    labelled: set[str] = set()
    for run, curve in curves.items():
        name, alike = names[run], list(names.values()).count(names[run])
        label = f"{name}, {alike} seeds" if alike > 1 else name
        style = {"color": colours[name], "label": "_" if name in labelled else label}
        labelled.add(name)
        rate = [100 * p.successes / p.episodes for p in curve]
        band = [success_interval(p.successes, p.episodes) for p in curve]
        low, high = ([100 * edge for edge in edges] for edges in zip(*band, strict=True))
        for axis, along in zip(axes, ("steps", "minutes"), strict=True):
            x = [p.timesteps if along == "steps" else p.seconds / 60 for p in curve]
            axis.plot(x, rate, marker="o", markersize=3, linewidth=1.2, **style)
            axis.fill_between(x, low, high, color=colours[name], alpha=0.12 / alike, linewidth=0)
            axis.set_xlabel(along)
    for axis in axes:
        axis.axhline(100 * level, color="grey", linestyle=":", linewidth=1)
        axis.grid(alpha=0.3)
        low, high = axis.dataLim.intervalx
        axis.set(
            xscale="log" if high > MAX_LINEAR_RATIO * max(low, 1e-9) else "linear", ylim=(-2, 102)
        )
    axes[0].set_ylabel("success on held-out episodes [%]")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
