"""The LeRobot v3.0 layout: trajectories enter; its columns, tables and metadata leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from invdyn_ros.trajectory import Trajectory
from invdyn_ros.windows import check_alike

VERSION = "v3.0"
DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
STATE, ACCELERATION, VELOCITY_SUFFIX = "observation.state", "observation.acceleration", ".velocity"


def columns_of(trajectories: Sequence[Trajectory]) -> dict[str, np.ndarray]:
    """Stack trajectories into the columns of the data file; what is unknown gets no column."""
    check_alike(trajectories)
    for name in ("velocity", "acceleration", "action"):
        known = [len(getattr(t, name)) > 0 for t in trajectories]
        if any(known) and not all(known):
            raise ValueError(
                f"trajectory {known.index(False)} has no {name} but others have; write them apart"
            )
    lengths = [len(t) for t in trajectories]
    state = [
        np.hstack([t.position, t.velocity]) if len(t.velocity) else t.position
        for t in trajectories
    ]
    columns = {
        STATE: np.concatenate(state),
        ACCELERATION: np.concatenate([t.acceleration for t in trajectories]),
        "action": np.concatenate([t.action for t in trajectories]),
        "timestamp": np.concatenate([t.time - t.time[0] for t in trajectories]),
        "frame_index": np.concatenate([np.arange(length) for length in lengths]),
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "index": np.arange(sum(lengths)),
        "task_index": np.zeros(sum(lengths), dtype=np.int64),
    }
    return {name: values for name, values in columns.items() if len(values)}


def arrow(values: np.ndarray) -> pa.Array:
    """Turn (rows,) or (rows, width) into an arrow column; lerobot wants width 1 without lists."""
    if values.ndim == 1 or values.shape[1] == 1:
        return pa.array(values.ravel())
    return pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])


def episodes(trajectories: Sequence[Trajectory], task: str) -> pa.Table:
    """Return where each episode begins and ends, and what is done in it."""
    lengths = np.array([len(t) for t in trajectories])
    ends = np.cumsum(lengths)
    places = (
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
            "start_time": [float(t.time[0]) for t in trajectories],
            "dataset_from_index": ends - lengths,
            "dataset_to_index": ends,
        }
        | {place: np.zeros(len(lengths), dtype=np.int64) for place in places}
    )


def tasks(task: str) -> pa.Table:
    """Return the task list; LeRobot reads it with pandas, by its index column."""
    kinds = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
    described = [
        {
            "name": name,
            "field_name": name,
            "pandas_type": kind,
            "numpy_type": dtype,
            "metadata": None,
        }
        for name, (kind, dtype) in kinds.items()
    ]
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": described,
        "pandas_version": "2.0.0",
    }
    return pa.table({"task_index": [0], "task": [task]}).replace_schema_metadata(
        {"pandas": json.dumps(pandas)}
    )


def info_of(
    trajectories: Sequence[Trajectory], columns: dict[str, np.ndarray], robot: str, rate: float
) -> dict[str, Any]:
    """Return the content of info.json, with our own keys `robot` and `action_unit`."""
    joints = list(trajectories[0].joint_names)
    states = joints + [joint + VELOCITY_SUFFIX for joint in joints]
    names = {STATE: states[: columns[STATE].shape[1]], ACCELERATION: joints, "action": joints}
    features = {
        name: {
            "dtype": str(values.dtype),
            "shape": [*values.shape[1:]] or [1],
            "names": names.get(name),
        }
        for name, values in columns.items()
    }
    return {
        "codebase_version": VERSION,
        "robot_type": robot,
        "robot": robot,
        "action_unit": trajectories[0].action_unit,
        "fps": int(rate) if float(rate).is_integer() else float(rate),
        "total_episodes": len(trajectories),
        "total_frames": len(columns["index"]),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 500,
        "splits": {"train": f"0:{len(trajectories)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features,
    }


def stats(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return min, max, mean, std and count of each column."""
    functions: dict[str, Any] = {"min": np.min, "max": np.max, "mean": np.mean, "std": np.std}
    return {
        name: {
            key: np.atleast_1d(function(values, axis=0)).tolist()
            for key, function in functions.items()
        }
        | {"count": [len(values)]}
        for name, values in columns.items()
    }
