"""`invdyn evaluate`: evaluate a model on held-out motion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from invdyn_ros.cli.options import parse, robot_option
from invdyn_ros.data.atomic_file import write_json
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.evaluation.evaluate import evaluation_report
from invdyn_ros.evaluation.headlines import headline, headline_text
from invdyn_ros.evaluation.pages.report_page import attempt_page, write_report_page
from invdyn_ros.evaluation.pages.sections import report_sections
from invdyn_ros.evaluation.prediction import SplitPredictions, predict_split
from invdyn_ros.evaluation.run_info import command_line, run_info
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.gravity import conversion_note, convert_actions
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.training.train import INTERRUPTED


@dataclass(frozen=True)
class EvaluateOptions(OutputOptions):
    """Report the error of a model on held-out motion, compared with baselines."""

    checkpoint: Path
    """Checkpoint folder."""
    data: Path
    """Dataset folder; of the training dataset, only the test split is used."""
    report: Path
    """JSON file to write; a page of the same name, .html, explains and draws it."""
    plots: Path | None = None
    """Folder to write plots of measured and predicted actions to."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; a checkpoint of another arm is an error."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Device of the model."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options: EvaluateOptions = parse(EvaluateOptions, argv, "evaluate")
    model = load(options.checkpoint, options.device, robot_option(options.arm, options.urdf))
    trajectories, info = read_dataset(options.data)
    if info.robot != model.meta.robot:
        raise ValueError(
            f"{options.data} is of '{info.robot}'; {options.checkpoint} is a model of "
            f"'{model.meta.robot}'"
        )
    trajectories, conversion = _in_unit_of(model, trajectories)
    predicted = predict_split(model, trajectories)
    if options.plots is not None:
        from invdyn_ros.evaluation.plots.evaluation import plot_evaluation  # imports matplotlib

        plot_evaluation(options.plots, model, predicted)
    report = evaluation_report(model, predicted) | {"action_conversion": conversion}
    interrupted = bool(model.meta.data.get(INTERRUPTED))
    report["run"] = run_info("evaluate", command_line("evaluate", argv), interrupted)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.report, report)
    print(summary(report))
    attempt_page(options.report, lambda: _write_page(options.report, report, model, predicted))
    return 0


def _in_unit_of(
    model: InverseDynamics, trajectories: list[Trajectory]
) -> tuple[list[Trajectory], str | None]:
    """Return trajectories with actions in the unit of a model, and how they were converted.

    Raises:
        ValueError: they cannot be converted.
    """
    unit, requested = trajectories[0].action_unit, model.meta.action_unit
    if unit == requested:
        return trajectories, None
    try:
        converted = [convert_actions(t, requested, model.meta.urdf) for t in trajectories]
    except ValueError as error:
        raise ValueError(f"the model has actions in '{requested}': {error}") from error
    note = conversion_note(unit, requested)
    print(note)
    return converted, note


def _write_page(
    file: Path, report: dict[str, Any], model: InverseDynamics, predicted: SplitPredictions
) -> Path:
    """Write the page beside the report.

    Args:
        file: JSON file of the report.
        report: the report.
        model: the model.
        predicted: its predictions.
    """
    from invdyn_ros.evaluation.pages.prediction_sections import prediction_sections

    sections = report_sections("evaluate", report)
    sections += prediction_sections(model.meta, predicted)
    return write_report_page(file, "evaluate", report, sections)


def summary(report: dict[str, Any]) -> str:
    """Return the report in a few lines."""
    lines = [headline_text(headline("evaluate", report))]
    rows = {"model": report} | report["baselines"]
    for name, row in rows.items():
        rmse = f"{row['rmse']['mean']:.4g} {report['action_unit']}"
        nmse_text = r2_text = "no variance"
        if (nmse := row["nmse"]["mean"]) is not None:
            low, high = row["nmse"]["ci95"]
            nmse_text = f"{100 * nmse:.3g}% ({100 * low:.3g}..{100 * high:.3g})"
            low, high = row["r2"]["ci95"]
            r2_text = f"{row['r2']['mean']:.3g} ({low:.3g}..{high:.3g})"
        lines.append(f"  {name:<10} nmse {nmse_text:<24} R2 {r2_text:<24} rmse {rmse}")
    return "\n".join(lines)
