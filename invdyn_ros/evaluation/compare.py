"""Comparison of model families that are trained and evaluated on the same split of a dataset."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from invdyn_ros.config import load_json, load_yaml, to_mapping
from invdyn_ros.data.atomic_file import write_json
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.leakage import fingerprint
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.evaluation.closed_loop_tracking import TrackingTask
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.evaluation.trained_run import TrainedRun, best_family
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.registry import MODELS
from invdyn_ros.robots.robot import Robot, package_file
from invdyn_ros.training.data_preparation import with_acceleration
from invdyn_ros.training.run_config import TrainConfig, parse_train_config
from invdyn_ros.training.train import train
from invdyn_ros.training.training_state import STATE_FILE, Progress

RUN_FILE = "run.json"
ProgressCallback = Callable[[TrainConfig, Progress], None]


@dataclass(frozen=True)
class ComparisonJob:
    """Dataset and output folder of a comparison."""

    data: Path
    out: Path
    robot: Robot
    tracking_task: TrackingTask | None
    """Simulation in which the models drive the arm; None: no simulation."""


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


def train_and_evaluate(
    job: ComparisonJob,
    config: TrainConfig,
    trajectories: list[Trajectory],
    on_progress: ProgressCallback = lambda config, progress: None,
) -> TrainedRun:
    """Train one model, unless the folder already holds it, and evaluate it.

    Args:
        job: dataset and output folder.
        config: training config; its family and seed name the checkpoint folder.
        trajectories: all trajectories of the dataset.
        on_progress: called after each epoch.
    """
    folder = job.out / f"{config.family}_{config.seed}"
    start = time.perf_counter()
    model, trained = train_or_load(job, config, fingerprint(trajectories), folder, on_progress)
    seconds = time.perf_counter() - start if trained else None
    val, test = evaluate(model, trajectories, part="val"), evaluate(model, trajectories)
    return TrainedRun(folder, config, model, val, test, seconds)


def train_seeds(
    job: ComparisonJob,
    config: TrainConfig,
    seeds: int,
    trajectories: list[Trajectory],
    on_progress: ProgressCallback = lambda config, progress: None,
    on_run: Callable[[TrainedRun], None] = lambda done: None,
) -> list[TrainedRun]:
    """Train a family with several seeds on one split; only once if it has a closed-form solution.

    Args:
        job: dataset and output folder.
        config: training config of the family.
        seeds: number of seeds, counted from that of the config.
        trajectories: all trajectories of the dataset.
        on_progress: called after each epoch.
        on_run: called after each trained model.
    """
    done: list[TrainedRun] = []
    for seed in range(seeds):
        seeded = replace(config, seed=config.seed + seed, split_seed=config.resolved_split_seed)
        done.append(train_and_evaluate(job, seeded, trajectories, on_progress))
        on_run(done[-1])
        if done[-1].model.meta.data["epochs"] == 0:
            break
    return done


def train_or_load(
    job: ComparisonJob,
    config: TrainConfig,
    data_hash: str,
    folder: Path,
    on_progress: ProgressCallback,
) -> tuple[InverseDynamics, bool]:
    """Return the model of a config, and whether it had to be trained.

    A finished run with the same config and data is loaded, an interrupted one is resumed, and any
    other run is replaced.

    Args:
        job: dataset and output folder.
        config: training config.
        data_hash: fingerprint of the dataset.
        folder: checkpoint folder.
        on_progress: called after each epoch.

    Raises:
        ValueError: the folder holds files that are not of a comparison.
    """
    settings = to_mapping(config) | {"data": data_hash, "arm": job.robot.name}
    settings.pop("threads")
    file = folder / RUN_FILE
    previous = load_json(file, "delete the folder") if file.is_file() else {}
    if previous.get("settings") != json.loads(json.dumps(settings)):
        if folder.exists() and any(folder.iterdir()) and not previous:
            raise ValueError(
                f"{folder} holds files that are not of a comparison; give another --out"
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        previous = {"settings": settings, "finished": False}
        _write(file, previous)
    elif previous.get("finished"):
        return load(folder, config.device, job.robot), False
    resume = (folder / STATE_FILE).is_file()
    train(
        config, job.data, folder, resume, job.robot, lambda progress: on_progress(config, progress)
    )
    _write(file, previous | {"finished": True})
    return load(folder, config.device, job.robot), True


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


def _write(file: Path, values: Mapping[str, Any]) -> None:
    write_json(file, values)
