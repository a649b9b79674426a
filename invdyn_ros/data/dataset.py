"""Datasets of trajectories in the LeRobot v3.0 layout, with action unit and joint names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from invdyn_ros.config import describe_error, load_json
from invdyn_ros.data.lerobot_format import (
    ACCELERATION,
    DATA,
    EPISODES,
    GRASP_KEY,
    IMAGE,
    INFO,
    POINTS,
    STATE,
    STATS,
    TASKS,
    VELOCITY_SUFFIX,
    VERSION,
    column_names,
    column_stats,
    dataset_info,
    episode_table,
    recording_columns,
    stack_columns,
    task_table,
    to_arrow,
)
from invdyn_ros.data.parquet import EpisodeMetadata, read_columns, read_episodes
from invdyn_ros.data.trajectory import NO_FRAMES, NO_POINTS, Trajectory
from invdyn_ros.typing import MAX_RATE, Array

DATASET_PARTS = {"data", "meta", "videos", "README.md", ".cache", ".gitattributes"}


@dataclass(frozen=True)
class DatasetInfo:
    """Metadata common to all trajectories of a dataset."""

    robot: str
    joint_names: tuple[str, ...]
    action_unit: str
    rate: float  # nominal sample rate [Hz]


class Dataset(NamedTuple):
    """Trajectories of a dataset and their metadata."""

    trajectories: list[Trajectory]
    info: DatasetInfo


def write_dataset(
    directory: str | Path,
    trajectories: Sequence[Trajectory],
    robot: str,
    rate: float,
    task: str = "move",
    metadata: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write trajectories as a dataset folder, replacing an existing dataset there.

    Args:
        directory: folder to write; it appears only once it is complete.
        trajectories: one per episode, with the same joints, action unit and known columns.
        robot: name of the arm.
        rate: nominal sample rate [Hz].
        task: description of the task in one line.
        metadata: further keys of info.json.

    Raises:
        ValueError: there are no trajectories, they do not match, or `directory` exists and is
            not a dataset.
    """
    if not trajectories:
        raise ValueError(f"{directory}: no trajectories to write")
    first, columns = trajectories[0], stack_columns(trajectories)
    names = column_names(first.joint_names, columns)
    extra = {"action_unit": first.action_unit, **metadata}
    json_files = {
        INFO: dataset_info(columns, names, robot, rate, extra),
        STATS: column_stats(columns),
    }
    times, episode_columns = [t.time for t in trajectories], recording_columns(trajectories)
    write_folder(directory, columns, json_files, times, task, episode_columns)


def write_folder(
    directory: str | Path,
    columns: dict[str, np.ndarray],
    json_files: dict[str, Any],
    times: Sequence[Array],
    task: str,
    episode_columns: dict[str, list[Any]] | None = None,
) -> None:
    """Write a dataset folder from its columns; it appears only once it is complete.

    Args:
        directory: folder to write; an existing dataset there is replaced.
        columns: columns of the data file, (rows,), (rows, width) or images (rows, H, W, 3).
        json_files: file name -> content.
        times: times (T,) [s] of the rows of each episode.
        task: description of the task in one line.
        episode_columns: further columns of the episode table.

    Raises:
        ValueError: `directory` exists and is not a dataset.
    """
    directory = Path(directory).resolve()  # the folder itself, not a link or a way through it
    check_writable(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as folder:
        new, old = Path(folder) / "new", Path(folder) / "old"
        _write_files(
            new, columns, json_files, episode_table(times, task, episode_columns or {}), task
        )
        if directory.exists():
            directory.rename(old)
        try:
            new.rename(directory)
        except OSError:  # another process was faster
            if not directory.exists() and old.exists():
                old.rename(directory)
            raise


def _write_files(
    directory: Path,
    columns: dict[str, np.ndarray],
    json_files: dict[str, Any],
    episode_table: pa.Table,
    task: str,
) -> None:
    """Write the files of a dataset; see `write_folder` for the arguments."""
    tables = {
        DATA: pa.table({name: to_arrow(values) for name, values in columns.items()}),
        EPISODES: episode_table,
        TASKS: task_table(task),
    }
    for name, table in tables.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, directory / name)
    for name, content in json_files.items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n")


def check_writable(directory: str | Path) -> None:
    """Check that writing a dataset to a folder can replace only another dataset.

    Raises:
        ValueError: the folder is not empty and not a dataset, or holds other files, too.
    """
    directory = Path(directory)
    if directory.is_file() or (
        directory.is_dir() and any(directory.iterdir()) and not (directory / INFO).is_file()
    ):
        raise ValueError(f"{directory} exists and is not a dataset; give a new folder")
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    if others := sorted(set(names) - DATASET_PARTS):
        raise ValueError(
            f"{directory} holds other files besides its dataset: {', '.join(others[:3])}; move "
            "them, or give a new folder"
        )


def read_dataset(directory: str | Path) -> Dataset:
    """Read a dataset folder.

    Raises:
        ValueError: not a dataset, a damaged file, or a missing key or column.
    """
    directory = Path(directory)
    info = _read_info(directory / INFO)
    paths = sorted(directory.glob("data/chunk-*/file-*.parquet"))
    if not paths:
        raise ValueError(
            f"{directory / 'data'}: no chunk-*/file-*.parquet; write the dataset again"
        )
    metadata = read_episodes(directory)
    trajectories = []
    for path in paths:  # an episode never spans two files
        columns = read_columns(path, len(info.joint_names))
        order = np.argsort(columns["episode_index"], kind="stable")
        numbers, starts = np.unique(columns["episode_index"][order], return_index=True)
        for episode, rows in zip(numbers, np.split(order, starts[1:]), strict=True):
            part = {name: values[rows] for name, values in columns.items()}
            try:
                trajectories.append(
                    _trajectory(part, info, metadata.get(int(episode), EpisodeMetadata()))
                )
            except ValueError as error:
                raise ValueError(f"{path}: episode {int(episode)}: {error}") from error
    if not trajectories:
        raise ValueError(f"{directory}: no episodes; collect some first")
    return Dataset(trajectories, info)


def _trajectory(
    columns: dict[str, np.ndarray], info: DatasetInfo, episode: EpisodeMetadata
) -> Trajectory:
    n, rows = len(info.joint_names), len(columns["timestamp"])
    absent = np.empty((0, n))
    state = columns.get(STATE, absent if IMAGE in columns else np.empty((rows, n)))
    return Trajectory(
        time=columns["timestamp"] + episode.start_time,
        position=state[:, :n],
        velocity=state[:, n:] if state.shape[1] > n else absent,
        acceleration=columns.get(ACCELERATION, absent),
        action=columns.get("action", absent),
        joint_names=info.joint_names,
        action_unit=info.action_unit,
        frames=columns.get(IMAGE, NO_FRAMES),
        recording=episode.recording or episode.source,
        verb=episode.verb_class,
        points=columns.get(POINTS, NO_POINTS),
    )


def read_info(path: Path) -> dict[str, Any]:
    """Read the info.json of a dataset.

    Raises:
        ValueError: it is missing, not JSON, or not a mapping; always one line.
    """
    if not path.is_file():
        raise ValueError(
            f"{path.parents[1]} is not a dataset: {INFO} is missing; create one with "
            "'invdyn collect'"
        )
    return load_json(path, "write the dataset again")


def _read_info(path: Path) -> DatasetInfo:
    values = read_info(path)
    if GRASP_KEY in values:
        raise ValueError(
            f"{path.parents[1]} holds grasp demonstrations, not motion to train on; use it with "
            "'invdyn train_grasp --demonstrations.data' and 'invdyn train_planner'"
        )
    try:
        if values["codebase_version"] != VERSION:
            raise ValueError(
                f"{path}: codebase_version is {values['codebase_version']!r}; this reads {VERSION}"
            )
        features = values["features"]
        # a video may have no state, and an unlabelled one no action either
        key = STATE if IMAGE not in features or STATE in features else "action"
        states = features[key]["names"] if key in features or key == STATE else ()
        names = tuple(str(name) for name in states if not str(name).endswith(VELOCITY_SUFFIX))
        rate = float(values["fps"])
        robot, unit = str(values["robot"]), str(values["action_unit"])
    except KeyError as error:
        raise ValueError(
            f"{path}: key {error} is missing; import a folder written by other software "
            "with 'invdyn collect dataset'"
        ) from error
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: {describe_error(error)}; write the dataset again") from error
    if not 0 < rate <= MAX_RATE:
        raise ValueError(f"{path}: fps is {rate}; it must be above 0 and at most {MAX_RATE:g} Hz")
    return DatasetInfo(robot, names, unit, rate)
