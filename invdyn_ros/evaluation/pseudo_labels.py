"""A model labels motion or videos: a checkpoint and recordings enter; a dataset leaves.

Each recording becomes a dataset of its own in OUT.part, so that a run that was stopped goes on
where it was; the last step joins them in order.
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

from invdyn_ros.data.dataset import check_writable, read_dataset, write_dataset
from invdyn_ros.data.leakage import fingerprint
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models import InverseDynamics
from invdyn_ros.models.checkpoint import METADATA_FILE, load, write_atomically
from invdyn_ros.perception.camera import read_video_info
from invdyn_ros.sources.video import read_video, video_files
from invdyn_ros.training.train import with_acceleration
from invdyn_ros.workers import parallel_map

JOB_FILE = "job.json"  # in OUT.part: what is being labelled
RATE_DIGITS = 3  # digits of a rate [Hz] that stamps are good for


@dataclass(frozen=True)
class LabelItem:
    """One recording to label."""

    number: int
    recording: Path | Trajectory  # a video file, or an episode of a dataset


def label_recordings(checkpoint: Path, data: Path, out: Path, workers: int = 1) -> Iterator[int]:
    """Write a dataset of the recordings in `data` with the actions that a model predicts.

    Episodes are in the order of the recordings, and the same from any number of workers.

    Args:
        checkpoint: folder of the model.
        data: dataset folder, video file or folder of videos.
        out: dataset folder to write; it appears whole. Call again after a stop to go on.
        workers: processes that predict.

    Yields:
        The number of recordings in all, once per labelled one.

    Raises:
        ValueError: no model, nothing to label, or what the model cannot read.
    """
    check_writable(out)
    model = load(checkpoint)
    items = label_items(data, model)
    parts = out.with_name(f"{out.name}.part")
    _open_parts(
        parts,
        {"checkpoint": _checkpoint_hash(checkpoint), "items": [_item_id(item) for item in items]},
    )
    todo = [item for item in items if not _part_folder(parts, item).is_dir()]
    for _ in range(len(items) - len(todo)):
        yield len(items)
    for _ in parallel_map(partial(_label_item, checkpoint, parts), todo, workers):
        yield len(items)
    made = [t for item in items for t in read_dataset(_part_folder(parts, item)).trajectories]
    rate = round(made[0].rate, RATE_DIGITS) if len(made[0]) > 1 else model.meta.rate
    about = {
        "labelled_by": {"family": model.meta.family, "checkpoint": _checkpoint_hash(checkpoint)}
    }
    write_dataset(out, made, model.meta.robot, rate, metadata=about)
    shutil.rmtree(parts)


def label_items(data: Path, model: InverseDynamics) -> list[LabelItem]:
    """Return what is to be labelled, in order.

    Raises:
        ValueError: nothing is there, or the model reads motion and these are videos.
    """
    if (data / "meta").is_dir():
        trajectories = with_acceleration(read_dataset(data).trajectories)
        for trajectory in trajectories:
            _check(model, trajectory)
        return [LabelItem(k, trajectory) for k, trajectory in enumerate(trajectories)]
    files = video_files(data)
    if model.input_type != "pixels":
        raise ValueError(
            f"{data} holds videos; a model of family {model.meta.family} reads motion: give a "
            "dataset folder"
        )
    for file in files:
        read_video_info(file)
    return [LabelItem(k, file) for k, file in enumerate(files)]


def with_predicted_actions(model: InverseDynamics, trajectory: Trajectory) -> Trajectory:
    """Return a trajectory with the actions that a model predicts, zero where it cannot."""
    meta, seen = model.meta, getattr(trajectory, model.input_type)
    time = torch.as_tensor(trajectory.time - trajectory.time[0])[None]
    action = model.predict(torch.as_tensor(seen)[None], time).mean[0].double().numpy()
    action[: model.warmup_frames] = 0.0
    known: dict[str, Any] = {"action": action, "joint_names": meta.joint_names}
    if len(trajectory.position) == 0 or trajectory.n != model.n:
        absent = np.empty((0, model.n))
        known |= dict.fromkeys(("position", "velocity", "acceleration"), absent)
    return replace(trajectory, action_unit=meta.action_unit, **known)


def _check(model: InverseDynamics, trajectory: Trajectory) -> None:
    """Refuse a trajectory that lacks what the model reads, or has other joints or pictures."""
    meta = model.meta
    if model.input_type == "motion" and trajectory.joint_names != meta.joint_names:
        found, wanted = ", ".join(trajectory.joint_names), ", ".join(meta.joint_names)
        raise ValueError(f"the data have joints {found}; the model has {wanted}")
    if model.input_type == "pixels" and trajectory.frames.shape[1:3] != meta.image_size:
        found, wanted = (
            "x".join(map(str, size)) for size in (trajectory.frames.shape[1:3], meta.image_size)
        )
        raise ValueError(f"pictures are {found}; the model reads {wanted}")


def _label_item(checkpoint: Path, parts: Path, item: LabelItem) -> None:
    model = load(checkpoint)
    recording = item.recording
    if isinstance(recording, Path):
        recording = read_video(recording, model.meta.image_size[0], model.meta.rate)
    made = with_predicted_actions(model, recording)
    write_dataset(_part_folder(parts, item), [made], model.meta.robot, model.meta.rate)


def _open_parts(parts: Path, job: dict[str, Any]) -> None:
    """Make the folder of parts, or go on with one of the same job.

    Raises:
        ValueError: it is of another job.
    """
    content = (json.dumps(job, indent=2) + "\n").encode()
    if parts.exists() and (
        not (parts / JOB_FILE).is_file() or (parts / JOB_FILE).read_bytes() != content
    ):
        raise ValueError(f"{parts} is left from labelling something else; remove it first")
    parts.mkdir(parents=True, exist_ok=True)
    write_atomically(parts / JOB_FILE, content)


def _part_folder(parts: Path, item: LabelItem) -> Path:
    return parts / f"{item.number:06d}"


def _item_id(item: LabelItem) -> str:
    """Tell recordings apart."""
    recording = item.recording
    if isinstance(recording, Path):
        return f"{recording.name} {recording.stat().st_size}"
    return fingerprint([recording])


def _checkpoint_hash(checkpoint: Path) -> str:
    return str(json.loads((checkpoint / METADATA_FILE).read_text(encoding="utf-8"))["sha256"])
