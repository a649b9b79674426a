"""Pseudo-labels: actions that a trained model predicts for motion or videos.

Each recording is written as a dataset of its own in OUT.part, so that an interrupted run can be
resumed; the last step joins them in order.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from invdyn_ros.config import load_json
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.data.dataset import check_writable, read_dataset, write_dataset
from invdyn_ros.data.leakage import fingerprint
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.checkpoint_files import METADATA_FILE
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.perception.camera import read_video_info
from invdyn_ros.sources.video import read_video
from invdyn_ros.sources.video_clips import video_files
from invdyn_ros.training.data_preparation import with_acceleration
from invdyn_ros.training.dataset_arm import ARM_KEY, kept_arm
from invdyn_ros.workers import JobExecutor, parallel_map

JOB_FILE = "job.json"  # in OUT.part: model and recordings of the run
RATE_DIGITS = 3  # stamps are not accurate enough for more digits of a rate [Hz]


@dataclass(frozen=True)
class LabelItem:
    """One recording to label."""

    number: int
    recording: Path | Trajectory  # a video file, or an episode of a dataset


def label_recordings(
    checkpoint: Path, data: Path, out: Path, executor: JobExecutor | None = None
) -> Iterator[int]:
    """Write a dataset of the recordings in `data` with the actions that a model predicts.

    The episodes are in the order of the recordings and do not depend on the executor.

    Args:
        checkpoint: folder of the model.
        data: dataset folder, video file or folder of videos.
        out: dataset folder to write, at the end. Call again after an interruption to resume.
        executor: runs the jobs, with the same files at the same paths; None: this process.

    Yields:
        The number of all recordings, once per labelled recording.

    Raises:
        ValueError: no model, nothing to label, or data that the model cannot use.
    """
    check_writable(out)
    checkpoint, data, out = checkpoint.absolute(), data.absolute(), out.absolute()
    model = load(checkpoint)
    items, arm = label_items(data, model), {}
    if (data / "meta").is_dir() and (kept := kept_arm(data)) is not None:
        arm = {ARM_KEY: kept}
    parts_folder = out.with_name(f"{out.name}.part")
    _open_parts(
        parts_folder,
        {"checkpoint": _checkpoint_hash(checkpoint), "items": [_item_id(item) for item in items]},
    )
    remaining = [item for item in items if not _part_folder(parts_folder, item).is_dir()]
    for _ in range(len(items) - len(remaining)):
        yield len(items)
    for _ in parallel_map(partial(_label_item, checkpoint, parts_folder), remaining, executor):
        yield len(items)
    trajectories = [
        t for item in items for t in read_dataset(_part_folder(parts_folder, item)).trajectories
    ]
    rate = (
        round(trajectories[0].rate, RATE_DIGITS) if len(trajectories[0]) > 1 else model.meta.rate
    )
    metadata = arm | {
        "labelled_by": {"family": model.meta.family, "checkpoint": _checkpoint_hash(checkpoint)}
    }
    write_dataset(out, trajectories, model.meta.robot, rate, metadata=metadata)
    shutil.rmtree(parts_folder)


def label_items(data: Path, model: InverseDynamics) -> list[LabelItem]:
    """Return the recordings of a dataset folder or of videos, in order.

    Raises:
        ValueError: there are none, or they are videos and the model needs motion.
    """
    if (data / "meta").is_dir():
        dataset = read_dataset(data)
        if model.input_type == "motion" and dataset.info.robot != model.meta.robot:
            raise ValueError(
                f"{data} is of '{dataset.info.robot}', the model of '{model.meta.robot}'; give "
                "a model of that arm, or data of this one"
            )
        trajectories = with_acceleration(dataset.trajectories)
        for trajectory in trajectories:
            _check(model, trajectory)
        return [LabelItem(k, trajectory) for k, trajectory in enumerate(trajectories)]
    files = video_files(data)
    if model.input_type != "pixels":
        raise ValueError(
            f"{data} holds videos; a model of family {model.meta.family} needs motion: give a "
            "dataset folder"
        )
    for file in files:
        read_video_info(file)
    return [LabelItem(k, file) for k, file in enumerate(files)]


def with_predicted_actions(model: InverseDynamics, trajectory: Trajectory) -> Trajectory:
    """Return a trajectory with predicted actions, which are zero in the warm-up frames."""
    meta, inputs = model.meta, getattr(trajectory, model.input_type)
    time = torch.as_tensor(trajectory.time - trajectory.time[0])[None]
    action = model.predict(torch.as_tensor(inputs)[None], time).mean[0].double().numpy()
    action[: model.warmup_frames] = 0.0
    changes: dict[str, Any] = {"action": action, "joint_names": meta.joint_names}
    if len(trajectory.position) == 0 or trajectory.n != model.n:
        absent = np.empty((0, model.n))
        changes |= dict.fromkeys(("position", "velocity", "acceleration"), absent)
    return replace(trajectory, action_unit=meta.action_unit, **changes)


def _check(model: InverseDynamics, trajectory: Trajectory) -> None:
    """Check that a trajectory has the joints or the image size of the model.

    Raises:
        ValueError: it does not.
    """
    meta = model.meta
    if model.input_type == "motion" and trajectory.joint_names != meta.joint_names:
        actual, expected = ", ".join(trajectory.joint_names), ", ".join(meta.joint_names)
        raise ValueError(f"the data have joints {actual}; the model has {expected}")
    if model.input_type == "pixels" and trajectory.frames.shape[1:3] != meta.image_size:
        actual, expected = (
            "x".join(map(str, size)) for size in (trajectory.frames.shape[1:3], meta.image_size)
        )
        raise ValueError(f"images are {actual}; the model expects {expected}")


def _label_item(checkpoint: Path, parts_folder: Path, item: LabelItem) -> None:
    model = load(checkpoint)
    recording = item.recording
    if isinstance(recording, Path):
        recording = read_video(recording, model.meta.image_size[0], model.meta.rate)
    labelled = with_predicted_actions(model, recording)
    write_dataset(_part_folder(parts_folder, item), [labelled], model.meta.robot, model.meta.rate)


def _open_parts(folder: Path, job: dict[str, Any]) -> None:
    """Create the folder of parts, or reuse that of the same job.

    Raises:
        ValueError: the folder is of another job.
    """
    content = (json.dumps(job, indent=2) + "\n").encode()
    if folder.exists() and (
        not (folder / JOB_FILE).is_file() or (folder / JOB_FILE).read_bytes() != content
    ):
        raise ValueError(f"{folder} belongs to another labelling job; remove it first")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / JOB_FILE, content)


def _part_folder(parts_folder: Path, item: LabelItem) -> Path:
    return parts_folder / f"{item.number:06d}"


def _item_id(item: LabelItem) -> str:
    """Return a string that identifies a recording."""
    recording = item.recording
    if isinstance(recording, Path):
        return f"{recording.name} {recording.stat().st_size}"
    return fingerprint([recording])


def _checkpoint_hash(checkpoint: Path) -> str:
    return str(load_json(checkpoint / METADATA_FILE).get("sha256"))
