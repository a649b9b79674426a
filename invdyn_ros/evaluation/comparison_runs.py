"""Training of the models of a comparison, each in a folder that says what it was trained on."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from invdyn_ros.config import load_json, to_mapping
from invdyn_ros.data.atomic_file import write_json
from invdyn_ros.robots.robot import Robot
from invdyn_ros.training.run_config import TrainConfig
from invdyn_ros.training.train import train
from invdyn_ros.training.training_state import STATE_FILE, Progress

RUN_FILE = "run.json"


class TrainingJob(NamedTuple):
    """Dataset and output folder of the training of a comparison.

    Attributes:
        data: dataset folder.
        out: folder of the checkpoints.
        robot: the arm.
        data_hash: fingerprint of the dataset.
        overwrite: replace earlier runs of another config, dataset or arm.
    """

    data: Path
    out: Path
    robot: Robot
    data_hash: str
    overwrite: bool = False

    def settings(self, config: TrainConfig) -> dict[str, Any]:
        """Return all that shapes a run, as JSON reads it."""
        settings = to_mapping(config) | {"data": self.data_hash, "arm": self.robot.name}
        settings.pop("threads")
        return dict(json.loads(json.dumps(settings)))


def train_run(
    job: TrainingJob,
    config: TrainConfig,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> float | None:
    """Train the model of a config and return the time it took [s], None if it had been trained.

    A finished run with the same config and data is kept, an interrupted one is resumed.

    Args:
        job: dataset and output folder.
        config: training config; its family and seed name the checkpoint folder.
        on_epoch: called after each epoch.

    Raises:
        ValueError: as `check_run`.
    """
    start, folder = time.perf_counter(), run_folder(job.out, config)
    file, previous = folder / RUN_FILE, check_run(job, config)
    if previous.get("settings") != job.settings(config):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        previous = {"settings": job.settings(config), "finished": False}
        write_json(file, previous)
    elif previous.get("finished"):
        return None
    resume = (folder / STATE_FILE).is_file()
    train(config, job.data, folder, resume, job.robot, on_epoch)
    write_json(file, previous | {"finished": True})
    return time.perf_counter() - start


def check_run(job: TrainingJob, config: TrainConfig) -> dict[str, Any]:
    """Return what an earlier run has written of itself, empty if there is none.

    Raises:
        ValueError: the folder holds files that are not of a comparison, or a run with another
            config, data or arm that may not be replaced.
    """
    folder, settings = run_folder(job.out, config), job.settings(config)
    file = folder / RUN_FILE
    previous = load_json(file, "delete the folder") if file.is_file() else {}
    if folder.exists() and any(folder.iterdir()) and not previous:
        raise ValueError(f"{folder} holds files that are not of a comparison; give another --out")
    earlier = previous.get("settings", settings)
    if earlier != settings and not job.overwrite:
        name = next(k for k in {**earlier, **settings} if earlier.get(k) != settings.get(k))
        raise ValueError(
            f"{folder} is a run with {name} {earlier.get(name)}, now it is {settings.get(name)}; "
            "give another --out, or --overwrite to replace it"
        )
    return previous


def run_folder(out: Path, config: TrainConfig) -> Path:
    """Return the checkpoint folder of a config."""
    return out / f"{config.family}_{config.seed}"
