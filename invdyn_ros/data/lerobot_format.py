"""LeRobot v3.0 layout: columns, tables and metadata of a dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from invdyn_ros.data.image_codec import encode_image
from invdyn_ros.data.trajectory import NO_VERB, Trajectory
from invdyn_ros.data.windows import check_compatible
from invdyn_ros.typing import Array, Image

VERSION = "v3.0"
DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
IMAGE, POINTS = "observation.image", "observation.points"
GRASP_KEY = "grasp"
"""Key of info.json, not of LeRobot; its presence means that rows are steps of grasp episodes."""
STATE, ACCELERATION, VELOCITY_SUFFIX = "observation.state", "observation.acceleration", ".velocity"


def stack_columns(trajectories: Sequence[Trajectory]) -> dict[str, np.ndarray]:
    """Stack trajectories into the columns of the data file; unknown columns are left out.

    Raises:
        ValueError: joints, units, image sizes or the known columns differ.
    """
    check_compatible(trajectories)
    for name in ("position", "velocity", "acceleration", "action", "frames", "points"):
        present = [len(getattr(t, name)) > 0 for t in trajectories]
        if any(present) and not all(present):
            raise ValueError(
                f"trajectory {present.index(False)} has no {name} but other trajectories do; "
                "write separate datasets"
            )
    state = [
        np.hstack([t.position, t.velocity]) if len(t.velocity) else t.position
        for t in trajectories
    ]
    columns = {
        STATE: np.concatenate(state),
        ACCELERATION: np.concatenate([t.acceleration for t in trajectories]),
        "action": np.concatenate([t.action for t in trajectories]),
    }
    frames = [t.frames for t in trajectories if len(t.frames)]
    if len({f.shape[1:] for f in frames}) > 1:
        raise ValueError(f"images of different sizes: {sorted({f.shape[1:3] for f in frames})}")
    if frames:
        columns[IMAGE] = np.concatenate(frames)
        points = np.concatenate([t.points for t in trajectories])
        columns[POINTS] = points.reshape(len(points), 2 * points.shape[1])
    columns = {name: values for name, values in columns.items() if len(values)}
    return columns | index_columns([t.time for t in trajectories])


def index_columns(times: Sequence[Array]) -> dict[str, np.ndarray]:
    """Return the index columns of all rows from the times (T,) [s] of each episode."""
    lengths = [len(time) for time in times]
    return {
        "timestamp": np.concatenate([time - time[0] for time in times]),
        "frame_index": np.concatenate([np.arange(length) for length in lengths]),
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "index": np.arange(sum(lengths)),
        "task_index": np.zeros(sum(lengths), dtype=np.int64),
    }


def column_names(joints: Sequence[str], columns: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """Return the names of the entries of each column of a trajectory."""
    states = [*joints, *(joint + VELOCITY_SUFFIX for joint in joints)]
    names = {ACCELERATION: list(joints), "action": list(joints)}
    names |= {IMAGE: ["height", "width", "channels"]}
    return names | {STATE: states[: columns[STATE].shape[1] if STATE in columns else 0]}


def to_arrow(values: np.ndarray) -> pa.Array:
    """Convert (rows,), (rows, width) or images (rows, H, W, 3) to an Arrow column.

    As LeRobot expects, a width of 1 is stored without lists, and an image as PNG with a null path.
    """
    if values.ndim == 4:
        images = pa.array([encode_image(image) for image in values], pa.binary())
        return pa.StructArray.from_arrays(
            [images, pa.nulls(len(values), pa.string())], names=["bytes", "path"]
        )
    if values.ndim == 1 or values.shape[1] == 1:
        return pa.array(values.ravel())
    return pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])


def recording_columns(trajectories: Sequence[Trajectory]) -> dict[str, list[Any]]:
    """Return the columns of the episode table that LeRobot does not define: recording and verb."""
    names, verbs = [t.recording for t in trajectories], [t.verb for t in trajectories]
    columns: dict[str, list[Any]] = {"recording": names} if any(names) else {}
    return columns | ({"verb_class": verbs} if min(verbs) < NO_VERB else {})


def episode_table(
    times: Sequence[Array], task: str, episode_columns: dict[str, list[Any]]
) -> pa.Table:
    """Return the episode table: first and last row, start time and task of each episode.

    Args:
        times: times (T,) [s] of the rows of each episode.
        task: description of the task in one line.
        episode_columns: further columns.
    """
    lengths = np.array([len(time) for time in times])
    ends = np.cumsum(lengths)
    file_columns = (
        "data/chunk_index",
        "data/file_index",
        "meta/episodes/chunk_index",
        "meta/episodes/file_index",
    )
    return pa.table(
        {
            "episode_index": np.arange(len(lengths)),
            "tasks": [[task]] * len(lengths),
            "length": lengths,
            "start_time": [float(time[0]) for time in times],
            "dataset_from_index": ends - lengths,
            "dataset_to_index": ends,
        }
        | {name: np.zeros(len(lengths), dtype=np.int64) for name in file_columns}
        | episode_columns
    )


def task_table(task: str) -> pa.Table:
    """Return the task table; LeRobot reads it with pandas by its index column."""
    types = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
    column_metadata = [
        {
            "name": name,
            "field_name": name,
            "pandas_type": pandas_type,
            "numpy_type": dtype,
            "metadata": None,
        }
        for name, (pandas_type, dtype) in types.items()
    ]
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": column_metadata,
        "pandas_version": "2.0.0",
    }
    return pa.table({"task_index": [0], "task": [task]}).replace_schema_metadata(
        {"pandas": json.dumps(pandas)}
    )


def dataset_info(
    columns: dict[str, np.ndarray],
    names: dict[str, list[str]],
    robot: str,
    rate: float,
    extra: dict[str, Any],
) -> dict[str, Any]:
    """Return the content of info.json.

    Args:
        columns: columns of the data file.
        names: names of the entries of each column; columns without names are left out.
        robot: name of the arm.
        rate: sample rate [Hz].
        extra: further keys.
    """
    count = int(columns["episode_index"][-1]) + 1
    features = {
        name: {
            "dtype": "image" if values.ndim == 4 else str(values.dtype),
            "shape": [*values.shape[1:]] or [1],
            "names": names.get(name),
        }
        for name, values in columns.items()
    }
    return {
        "codebase_version": VERSION,
        "robot_type": robot,
        "robot": robot,
        **extra,
        "fps": int(rate) if float(rate).is_integer() else float(rate),
        "total_episodes": count,
        "total_frames": len(columns["index"]),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 500,
        "splits": {"train": f"0:{count}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features,
    }


def column_stats(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return min, max, mean, std and count of each column."""
    functions: dict[str, Any] = {"min": np.min, "max": np.max, "mean": np.mean, "std": np.std}
    return {
        name: (
            _pixel_stats(values)
            if values.ndim == 4
            else {key: _apply_to_rows(function, values) for key, function in functions.items()}
        )
        | {"count": [len(values)]}
        for name, values in _as_numeric(columns).items()
    }


def _pixel_stats(images: Image) -> dict[str, Any]:
    """Return the statistics of all pixels of images (rows, H, W, 3), (3, 1, 1) each, in 0 to 1."""
    level, stats = np.arange(256), []
    for channel in np.moveaxis(images, 3, 0):
        # one histogram per image: all pixels as floats would not fit into memory
        count = np.sum([np.bincount(image.ravel(), minlength=256) for image in channel], axis=0)
        present = level[count > 0]
        mean = (count @ level) / count.sum()
        std = np.sqrt((count @ (level - mean) ** 2) / count.sum())
        stats.append([present[0], present[-1], mean, std])
    values = np.array(stats).T[:, :, None, None] / 255  # (4, 3, 1, 1)
    return dict(zip(("min", "max", "mean", "std"), values.tolist(), strict=True))


def _apply_to_rows(function: Any, values: np.ndarray) -> list[Any]:
    """Apply a NumPy reduction over the rows."""
    return np.atleast_1d(function(values, axis=0)).tolist()  # type: ignore[no-any-return]


def _as_numeric(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k: v.astype(int) if v.dtype == bool else v for k, v in columns.items()}
