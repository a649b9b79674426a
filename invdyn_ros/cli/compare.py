"""`invdyn compare`: train and compare all model families on a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from invdyn_ros.cli.options import parse
from invdyn_ros.config import Validated
from invdyn_ros.data.atomic_file import write_atomically, write_json
from invdyn_ros.data.dataset import DatasetInfo, read_dataset
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.evaluation.closed_loop_tracking import TrackingTask
from invdyn_ros.evaluation.compare import (
    ComparisonJob,
    TrainedRun,
    comparison_report,
    family_configs,
    trained_runs,
)
from invdyn_ros.evaluation.comparison_table import markdown
from invdyn_ros.evaluation.headlines import headline, headline_text
from invdyn_ros.evaluation.pages.report_page import attempt_page, write_report_page
from invdyn_ros.evaluation.pages.sections import report_sections
from invdyn_ros.evaluation.plots.comparison import plot_comparison
from invdyn_ros.evaluation.run_info import command_line, run_info
from invdyn_ros.robots.registry import ROBOTS
from invdyn_ros.robots.robot import Robot
from invdyn_ros.training.data_preparation import check_joints
from invdyn_ros.training.dataset_arm import known_robot
from invdyn_ros.workers import WorkerOptions


@dataclass(frozen=True)
class CompareOptions(OutputOptions, WorkerOptions, Validated):
    """Train every model family on a dataset and compare them on held-out motion."""

    data: Path
    """Dataset folder."""
    out: Path
    """Folder for compare.{json,html,md,png} and the checkpoints FAMILY_SEED. Matching
    checkpoints in it are not trained again; others are replaced with --overwrite only."""
    train: tuple[str, ...] = ()
    """Names of the recordings in the dataset to train on; default: as in 'invdyn train'."""
    test: tuple[str, ...] = ()
    """Names of the recordings to test on."""
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

    def outputs(self) -> Iterator[tuple[str, Path]]:
        """Yield nothing: a comparison goes on in its folder, and keeps the runs of others."""
        return iter(())


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options: CompareOptions = parse(CompareOptions, argv, "compare")
    configs = {
        family: replace(c, train=options.train or c.train, test=options.test or c.test)
        for family, c in family_configs(options.families, options.configs).items()
    }
    dataset = read_dataset(options.data)
    robot = known_robot(options.data, dataset.info.robot, options.arm, options.urdf)
    check_joints(dataset, robot, options.data)
    job = ComparisonJob(
        *(options.data, options.out, robot, _tracking_task(options, robot, dataset.info)),
        overwrite=options.overwrite,
    )
    runs_of: dict[str, list[TrainedRun]] = {}
    interrupted = False
    try:
        with options.executor() as executor:
            for run in trained_runs(job, configs, options.seeds, executor):
                runs_of.setdefault(run.config.family, []).append(run)
                print(_line(run), flush=True)
    except KeyboardInterrupt:
        if not runs_of:
            raise
        interrupted = True
    result = comparison_report(job, runs_of)
    options.out.mkdir(parents=True, exist_ok=True)
    result["run"] = run_info("compare", command_line("compare", argv), interrupted)
    write_json(options.out / "compare.json", result)
    text = markdown(result)
    write_atomically(options.out / "compare.md", text.encode())
    plot_comparison(result, options.out / "compare.png")
    print(f"\n{text}")
    print(headline_text(headline("compare", result)))
    attempt_page(options.out / "compare.json", lambda: _write_page(options.out, result))
    return 130 if interrupted else 0


def _write_page(out: Path, result: dict[str, Any]) -> Path:
    """Write the page beside compare.json."""
    sections, plots = report_sections("compare", result), [out / "compare.png"]
    return write_report_page(out / "compare.json", "compare", result, sections, plots)


def _line(run: TrainedRun) -> str:
    """Return the errors of a model in a line."""
    status = "loaded" if run.seconds is None else f"trained in {run.seconds:.0f} s"
    val, test = (_percent(row["nmse"]["mean"]) for row in (run.val, run.test))
    return f"{run.checkpoint.name}: {status}, nMSE {val} on validation, {test} on test"


def _tracking_task(
    options: CompareOptions, robot: Robot, info: DatasetInfo
) -> TrackingTask | None:
    """Return the tracking task, if any; motor currents cannot be simulated."""
    known = robot.name in ROBOTS and info.action_unit != "A"
    drive = known if options.closed_loop is None else options.closed_loop
    return TrackingTask.for_robot(robot, info.action_unit, options.payload) if drive else None


def _percent(fraction: Any) -> str:
    return "n/a" if fraction is None else f"{100 * fraction:.3g}%"
