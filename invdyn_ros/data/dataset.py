"""Trajectories on disk: a LeRobot v3.0 folder with units and joint names, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
    source_columns,
    stack_columns,
    task_table,
    to_arrow,
)
from invdyn_ros.data.parquet import EpisodeMetadata, read_columns, read_episodes
from invdyn_ros.data.trajectory import NO_FRAMES, NO_POINTS, Trajectory


@dataclass(frozen=True)
class DatasetInfo:
    """What holds for all trajectories of a dataset."""

    robot: str
    joint_names: tuple[str, ...]
    action_unit: str
    rate: float  # [Hz]


class Dataset(NamedTuple):
    """A dataset read from disk."""

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
    """Write trajectories as a dataset folder; an existing dataset there is replaced.

    Args:
        directory: where; the folder appears complete or not at all.
        trajectories: one per episode, of the same joints and unit, with the same columns known.
        robot: name of the arm.
        rate: nominal sample rate [Hz].
        task: one line that says what the arm does.
        about: what else info.json shall say.

    Raises:
        ValueError: nothing to write, mixed data, or `directory` holds what is no dataset.
    """
    if not trajectories:
        raise ValueError(f"{directory}: no trajectories to write")
    first, columns = trajectories[0], stack_columns(trajectories)
    names, more = (
        column_names(first.joint_names, columns),
        {"action_unit": first.action_unit, **metadata},
    )
    notes = {INFO: dataset_info(columns, names, robot, rate, more), STATS: column_stats(columns)}
    times, own = [t.time for t in trajectories], source_columns(trajectories)
    write_folder(directory, columns, notes, times, task, own)


def write_folder(
    directory: str | Path,
    columns: dict[str, np.ndarray],
    json_files: dict[str, Any],
    times: Sequence[np.ndarray],
    task: str,
    episode_columns: dict[str, list[Any]] | None = None,
) -> None:
    """Write a dataset folder from what is in it, whole or not at all.

    Args:
        directory: where; an existing dataset there is replaced.
        columns: of the data file, (rows,), (rows, width) or pictures (rows, H, W, 3).
        notes: file name -> what it says.
        times: (T,) [s] of the rows of each episode.
        task: one line that says what the arm does.
        own: more columns of the episode list.

    Raises:
        ValueError: `directory` holds what is no dataset.
    """
    directory = Path(directory)
    check_writable(directory)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}")
    try:
        _write_files(
            temporary, columns, json_files, episode_table(times, task, episode_columns or {}), task
        )
        if directory.exists():
            shutil.rmtree(directory)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_files(
    directory: Path,
    columns: dict[str, np.ndarray],
    json_files: dict[str, Any],
    episode_table: pa.Table,
    task: str,
) -> None:
    """Write the files of a dataset; arguments as of `write_folder`, with the episode list."""
    tables = {
        DATA: pa.table({name: to_arrow(values) for name, values in columns.items()}),
        EPISODES: episode_table,
        TASKS: task_table(task),
    }
    for name, table in tables.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, directory / name)
    for name, note in json_files.items():
        (directory / name).write_text(json.dumps(note, indent=2) + "\n")


def check_writable(directory: str | Path) -> None:
    """Refuse a folder whose contents are no dataset, since writing there would delete them."""
    directory = Path(directory)
    if directory.is_file() or (
        directory.is_dir() and any(directory.iterdir()) and not (directory / INFO).is_file()
    ):
        raise ValueError(f"{directory} exists and is no dataset; give a new folder")


def read_dataset(directory: str | Path) -> Dataset:
    """Read a dataset folder.

    Raises:
        ValueError: no dataset, a damaged file, or a missing key or column; with the remedy.
    """
    directory = Path(directory)
    info = _read_info(directory / INFO)
    paths = sorted(directory.glob("data/chunk-*/file-*.parquet"))
    if not paths:
        raise ValueError(
            f"{directory / 'data'}: no chunk-*/file-*.parquet; write the dataset again"
        )
    known = read_episodes(directory)
    trajectories = []
    for path in paths:  # an episode never spans two files
        columns = read_columns(path, len(info.joint_names))
        order = np.argsort(columns["episode_index"], kind="stable")
        numbers, starts = np.unique(columns["episode_index"][order], return_index=True)
        for episode, rows in zip(numbers, np.split(order, starts[1:]), strict=True):
            part = {name: values[rows] for name, values in columns.items()}
            try:
                trajectories.append(
                    _trajectory(part, info, known.get(int(episode), EpisodeMetadata()))
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
        source=episode.source,
        verb=episode.verb_class,
        points=columns.get(POINTS, NO_POINTS),
    )


def read_info(path: Path) -> dict[str, Any]:
    """Read the info.json of a dataset.

    Raises:
        ValueError: it is missing, or holds no keys.
    """
    if not path.is_file():
        raise ValueError(
            f"{path.parents[1]} is no dataset: {INFO} is missing; make one with 'invdyn collect'"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}); write the dataset again") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no keys; write the dataset again")
    return values


def _read_info(path: Path) -> DatasetInfo:
    values = read_info(path)
    if GRASP_KEY in values:
        raise ValueError(
            f"{path.parents[1]} holds demonstrations of a grasp, no motion to train on; it is for "
            "'invdyn train_grasp --demonstrations.data' and 'invdyn train_planner'"
        )
    try:
        if values["codebase_version"] != VERSION:
            raise ValueError(
                f"{path}: codebase_version is {values['codebase_version']!r}; this reads {VERSION}"
            )
        features = values["features"]
        # a video may have no state, and one that nobody has labelled no action either
        of = STATE if IMAGE not in features or STATE in features else "action"
        states = features[of]["names"] if of in features or of == STATE else ()
        names = tuple(str(name) for name in states if not str(name).endswith(VELOCITY_SUFFIX))
        return DatasetInfo(
            str(values["robot"]), names, str(values["action_unit"]), float(values["fps"])
        )
    except KeyError as error:
        raise ValueError(
            f"{path}: key {error} is missing; a folder by other software becomes a dataset "
            "with 'invdyn collect dataset'"
        ) from error
    except TypeError as error:
        raise ValueError(f"{path}: {error}; write the dataset again") from error
