"""Comparison of model families that are trained and evaluated on the same split of a dataset."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from invdyn_ros.config import load_yaml
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.leakage import fingerprint
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.evaluation.closed_loop_tracking import TrackingTask
from invdyn_ros.evaluation.comparison_runs import TrainingJob, check_run, run_folder, train_run
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.evaluation.trained_run import TrainedRun, best_family
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.registry import MODELS
from invdyn_ros.robots.robot import Robot, package_file
from invdyn_ros.training.data_preparation import split_train_val_test, with_acceleration
from invdyn_ros.training.run_config import TrainConfig, parse_train_config
from invdyn_ros.workers import JobExecutor, parallel_map


@dataclass(frozen=True)
class ComparisonJob:
    """Dataset and output folder of a comparison."""

    data: Path
    out: Path
    robot: Robot
    tracking_task: TrackingTask | None
    """Simulation in which the models drive the arm; None: no simulation."""
    overwrite: bool = False
    """Replace earlier runs of another config, dataset or arm."""

    def training(self, data_hash: str) -> TrainingJob:
        """Return what training needs, which can be pickled; a MuJoCo model cannot."""
        return TrainingJob(
            *(self.data.absolute(), self.out.absolute(), replace(self.robot), data_hash),
            overwrite=self.overwrite,
        )


def family_configs(families: Sequence[str], folder: Path | None = None) -> dict[str, TrainConfig]:
    """Return the training config of each family, from FAMILY.yaml in a folder.

    Args:
        families: keys of MODELS; empty: all that have a file.
        folder: default: the configs of this package.

    Raises:
        ValueError: an unknown family, a missing file, or an invalid one.
    """
    folder = folder or package_file("config/train")
    files = {name: folder / f"{name}.yaml" for name in families or MODELS}
    if not families:
        files = {
            name: file
            for name, file in files.items()
            if file.is_file() and MODELS[name].input_type == "motion"
        }
    if unknown := [name for name in files if name not in MODELS]:
        raise ValueError(f"no model family {unknown[0]!r}; known are {', '.join(MODELS)}")
    if not files:
        raise ValueError(f"{folder} has no FAMILY.yaml; families are {', '.join(MODELS)}")
    configs = {
        name: parse_train_config(load_yaml(file), str(file)) for name, file in files.items()
    }
    for name, config in configs.items():
        if config.family != name:
            raise ValueError(f"{files[name]} is of family {config.family}; expected {name}")
        _check_split(files[name], config, *next((files[n], c) for n, c in configs.items()))
    return configs


def load_trajectories(data: Path) -> list[Trajectory]:
    """Return all trajectories of a dataset, with accelerations."""
    return with_acceleration(read_dataset(data).trajectories)


def trained_runs(
    job: ComparisonJob,
    configs: Mapping[str, TrainConfig],
    seeds: int,
    executor: JobExecutor | None = None,
) -> Iterator[TrainedRun]:
    """Train each family with several seeds on one split, and yield the evaluated models.

    A family with a closed-form solution is trained once. The models are evaluated while nothing
    is trained, since their latency is measured. After Ctrl-C those that are trained follow.

    Args:
        job: dataset and output folder.
        configs: family -> training config.
        seeds: number of seeds, counted from that of the config.
        executor: trains the models, with the same files at the same paths; None: this process.
    """
    trajectories = load_trajectories(job.data)
    for config in configs.values():
        if not split_train_val_test(trajectories, config.split)[0].test:
            raise ValueError("test_fraction 0 leaves nothing to compare on; give --test NAME")
    training = job.training(fingerprint(trajectories))
    run = partial(train_run, training)
    first = [replace(c, split_seed=c.resolved_split_seed) for c in configs.values()]
    for config in first:
        for seed in range(seeds):
            check_run(training, replace(config, seed=config.seed + seed))
    evaluated = yield from _evaluated(job, trajectories, run, first, executor)
    later = [
        replace(done.config, seed=done.config.seed + seed)
        for done in evaluated
        if done.model.meta.data["epochs"]
        for seed in range(1, seeds)
    ]
    yield from _evaluated(job, trajectories, run, later, executor)


def _evaluated(
    job: ComparisonJob,
    trajectories: list[Trajectory],
    run: Callable[[TrainConfig], float | None],
    configs: list[TrainConfig],
    executor: JobExecutor | None,
) -> Generator[TrainedRun, None, list[TrainedRun]]:
    """Train models, with a progress bar, then yield them with their errors; return them all."""
    results = parallel_map(run, configs, executor)
    bar = tqdm(results, total=len(configs), unit="model", desc="training", file=sys.stderr)
    seconds: list[float | None] = []
    interruption, evaluated = None, []
    try:
        for taken in bar:
            seconds.append(taken)
    except KeyboardInterrupt as error:
        interruption = error
    for config, taken in zip(configs, seconds, strict=False):
        folder = run_folder(job.out, config)
        model = load(folder, config.device, job.robot)
        val, test = evaluate(model, trajectories, part="val"), evaluate(model, trajectories)
        evaluated.append(TrainedRun(folder, config, model, val, test, taken))
        yield evaluated[-1]
    if interruption is not None:
        raise interruption
    return evaluated


def comparison_report(
    job: ComparisonJob, runs: Mapping[str, Sequence[TrainedRun]]
) -> dict[str, Any]:
    """Return the comparison: the baselines, the best seed of each family, and the best family.

    Seeds and families are chosen by their error on the validation split.

    Args:
        job: dataset and output folder.
        runs: family -> runs, one per seed.
    """
    best_runs = {
        family: min(done, key=lambda run: (bool(run.refusal), run.val_nmse))
        for family, done in runs.items()
    }
    first = next(iter(best_runs.values()))
    val = first.val["baselines"]
    baselines = {
        name: {"val": val[name]["nmse"], **row, "tracking_rms_rad": None}
        for name, row in first.test["baselines"].items()
    }
    families = {family: _row(best, runs[family]) for family, best in best_runs.items()}
    if job.tracking_task is not None:
        for name, rms in job.tracking_task.baseline_rms(first.model.meta).items():
            baselines[name]["tracking_rms_rad"] = rms
        for family, best in best_runs.items():
            families[family]["tracking_rms_rad"] = job.tracking_task.tracking_rms(best.model)
    shared_keys = ("robot", "action_unit", "target", "joint_names", "split")
    return {
        "data": str(job.data),
        **{name: first.test[name] for name in shared_keys},
        "val_samples": first.val["split"]["test"],
        "tracking_task": None if job.tracking_task is None else job.tracking_task.describe(),
        "baselines": baselines,
        "families": families,
        "best": best_family(best_runs),
    }


def _check_split(
    file: Path, config: TrainConfig, first_file: Path, first_config: TrainConfig
) -> None:
    """Check that two configs split the dataset alike.

    Args:
        file: file of the config.
        config: config to check.
        first_file: file of the config to compare with.
        first_config: config to compare with.

    Raises:
        ValueError: they do not.
    """
    split, first_split = ((c.test_fraction, c.resolved_split_seed) for c in (config, first_config))
    if split != first_split:
        raise ValueError(
            f"{file}: split with test_fraction {split[0]} and seed {split[1]}; {first_file} has "
            f"{first_split[0]} and seed {first_split[1]}: use the same values in all configs"
        )


def _row(best: TrainedRun, runs: Sequence[TrainedRun]) -> dict[str, Any]:
    """Return the entry of a family: its best run, and a summary of all runs."""
    names = ["nmse", "rmse", "uncertainty_calibration", "latency_us", "action_delay"]
    return {
        "checkpoint": best.checkpoint.name,
        "val": best.val["nmse"],
        **{name: best.test[name] for name in [*names, "drive_check"]},
        "tracking_rms_rad": None,
        "seeds": [
            {
                "checkpoint": run.checkpoint.name,
                "val": run.val["nmse"]["mean"],
                "test": run.test["nmse"]["mean"],
                "train_seconds": run.seconds,
            }
            for run in runs
        ],
    }
