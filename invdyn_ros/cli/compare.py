"""`invdyn compare`: train and compare all model families on a dataset."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from invdyn_ros.cli.options import parse
from invdyn_ros.cli.train import ProgressBar
from invdyn_ros.config import Validated
from invdyn_ros.data.atomic_file import write_atomically, write_json
from invdyn_ros.data.dataset import DatasetInfo, read_dataset
from invdyn_ros.evaluation.closed_loop_tracking import TrackingTask
from invdyn_ros.evaluation.compare import (
    ComparisonJob,
    TrainedRun,
    comparison_report,
    family_configs,
    load_trajectories,
    train_seeds,
)
from invdyn_ros.evaluation.comparison_table import markdown
from invdyn_ros.evaluation.headlines import headline, headline_text
from invdyn_ros.evaluation.pages.report_page import attempt_page, write_report_page
from invdyn_ros.evaluation.pages.sections import report_sections
from invdyn_ros.evaluation.plots.comparison import plot_comparison
from invdyn_ros.evaluation.run_info import command_line, run_info
from invdyn_ros.robots.registry import launchable_arms
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.source import arm_name
from invdyn_ros.training.data_preparation import check_joints
from invdyn_ros.training.run_config import TrainConfig
from invdyn_ros.training.training_state import Progress


@dataclass(frozen=True)
class CompareOptions(Validated):
    """Train every model family on a dataset and compare them on held-out motion."""

    data: Path
    """Dataset folder."""
    out: Path
    """Folder for compare.{json,html,md,png} and the checkpoints FAMILY_SEED. Matching
    checkpoints in it are not trained again."""
    families: tuple[str, ...] = ()
    """Families to compare; default: all."""
    seeds: PositiveInt = 3
    """Training runs per family, on the same split; that with the best validation is reported."""
    configs: Path | None = None
    """Folder with a file FAMILY.yaml per family; default: the configs of this package."""
    closed_loop: bool | None = None
    """Also evaluate each model in closed loop; default: if the arm can be simulated."""
    payload: float | None = None
    """Mass at the tool of the simulated arm [kg], as in the data; default: that of the arm."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; default: that in the dataset."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options: CompareOptions = parse(CompareOptions, argv, "compare")
    configs = family_configs(options.families, options.configs)
    dataset = read_dataset(options.data)
    name = arm_name(options.arm, options.urdf, dataset.info.robot)
    robot = load_robot(name, options.urdf)
    check_joints(dataset, robot, options.data)
    job = ComparisonJob(
        options.data, options.out, robot, _tracking_task(options, robot, dataset.info)
    )
    runs_of = {}
    for family, config in configs.items():
        with closing(TrainingProgress()) as bar:
            trajectories = load_trajectories(options.data)
            runs_of[family] = train_seeds(
                job, config, options.seeds, trajectories, bar.update, bar.end
            )
    result = comparison_report(job, runs_of)
    options.out.mkdir(parents=True, exist_ok=True)
    result["run"] = run_info("compare", command_line("compare", argv))
    write_json(options.out / "compare.json", result)
    text = markdown(result)
    write_atomically(options.out / "compare.md", text.encode())
    plot_comparison(result, options.out / "compare.png")
    print(f"\n{text}")
    print(headline_text(headline("compare", result)))
    attempt_page(options.out / "compare.json", lambda: _write_page(options.out, result))
    return 0


def _write_page(out: Path, result: dict[str, Any]) -> Path:
    """Write the page beside compare.json."""
    sections, plots = report_sections("compare", result), [out / "compare.png"]
    return write_report_page(out / "compare.json", "compare", result, sections, plots)


class TrainingProgress:
    """Progress bar of a training run, and a line when it is done."""

    def __init__(self) -> None:
        self.bar: ProgressBar | None = None

    def update(self, config: TrainConfig, progress: Progress) -> None:
        """Update the bar."""
        if self.bar is None:
            self.bar = ProgressBar(config.family, config.trainer.epochs)
        self.bar.update(progress)

    def end(self, run: TrainedRun) -> None:
        """Print the errors of a model."""
        self.close()
        status = "loaded" if run.seconds is None else f"trained in {run.seconds:.0f} s"
        errors = (_percent(row["nmse"]["mean"]) for row in (run.val, run.test))
        text = "{}: {}, nMSE {} on validation, {} on test"
        print(text.format(run.checkpoint.name, status, *errors), flush=True)

    def close(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None


def _tracking_task(
    options: CompareOptions, robot: Robot, info: DatasetInfo
) -> TrackingTask | None:
    """Return the tracking task, if any; motor currents cannot be simulated."""
    known = robot.name in launchable_arms() and info.action_unit != "A"
    drive = known if options.closed_loop is None else options.closed_loop
    return TrackingTask.for_robot(robot, info.action_unit, options.payload) if drive else None


def _percent(fraction: Any) -> str:
    return "n/a" if fraction is None else f"{100 * fraction:.3g}%"
