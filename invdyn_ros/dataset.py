"""Trajectories on disk: a LeRobot v3.0 folder with units and joint names, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from invdyn_ros.lerobot import (
    ACCELERATION,
    DATA,
    EPISODES,
    GRASP,
    INFO,
    STATE,
    STATS,
    TASKS,
    VELOCITY_SUFFIX,
    VERSION,
    arrow,
    columns_of,
    episodes,
    info_of,
    names_of,
    stats,
    tasks,
)
from invdyn_ros.trajectory import Trajectory


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
) -> None:
    """Write trajectories as a dataset folder; an existing dataset there is replaced.

    Args:
        directory: where; the folder appears complete or not at all.
        trajectories: one per episode, of the same joints and unit, with the same columns known.
        robot: name of the arm.
        rate: nominal sample rate [Hz].
        task: one line that says what the arm does.

    Raises:
        ValueError: nothing to write, mixed data, or `directory` holds what is no dataset.
    """
    if not trajectories:
        raise ValueError(f"{directory}: no trajectories to write")
    first, columns = trajectories[0], columns_of(trajectories)
    names, more = names_of(first.joint_names, columns), {"action_unit": first.action_unit}
    notes = {INFO: info_of(columns, names, robot, rate, more), STATS: stats(columns)}
    write_folder(directory, columns, notes, [t.time for t in trajectories], task)


def write_folder(
    directory: str | Path,
    columns: dict[str, np.ndarray],
    notes: dict[str, Any],
    times: Sequence[np.ndarray],
    task: str,
) -> None:
    """Write a dataset folder from what is in it, whole or not at all.

    Args:
        directory: where; an existing dataset there is replaced.
        columns: of the data file, (rows,) or (rows, width).
        notes: file name -> what it says.
        times: (T,) [s] of the rows of each episode.
        task: one line that says what the arm does.

    Raises:
        ValueError: `directory` holds what is no dataset.
    """
    directory = Path(directory)
    check_writable(directory)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}")
    try:
        _fill(temporary, columns, notes, times, task)
        if directory.exists():
            shutil.rmtree(directory)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(
    directory: Path,
    columns: dict[str, np.ndarray],
    notes: dict[str, Any],
    times: Sequence[np.ndarray],
    task: str,
) -> None:
    """Write the files of a dataset; arguments as of `write_folder`."""
    tables = {
        DATA: pa.table({name: arrow(values) for name, values in columns.items()}),
        EPISODES: episodes(times, task),
        TASKS: tasks(task),
    }
    for name, table in tables.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, directory / name)
    for name, note in notes.items():
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
    starts = _read_starts(directory)
    trajectories = []
    for path in paths:  # an episode never spans two files
        columns = _read_columns(path, len(info.joint_names))
        for episode in np.unique(columns["episode_index"]):
            rows = columns["episode_index"] == episode
            part = {name: values[rows] for name, values in columns.items()}
            try:
                trajectories.append(_trajectory(part, info, starts.get(int(episode), 0.0)))
            except ValueError as error:
                raise ValueError(f"{path}: episode {int(episode)}: {error}") from error
    if not trajectories:
        raise ValueError(f"{directory}: no episodes; collect some first")
    return Dataset(trajectories, info)


def _trajectory(columns: dict[str, np.ndarray], info: DatasetInfo, start: float) -> Trajectory:
    n = len(info.joint_names)
    state, absent = columns[STATE], np.empty((0, n))
    return Trajectory(
        time=columns["timestamp"] + start,
        position=state[:, :n],
        velocity=state[:, n:] if state.shape[1] > n else absent,
        acceleration=columns.get(ACCELERATION, absent),
        action=columns.get("action", absent),
        joint_names=info.joint_names,
        action_unit=info.action_unit,
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
    if GRASP in values:
        raise ValueError(
            f"{path.parents[1]} holds demonstrations of a grasp, no motion to train on; it is for "
            "'invdyn train_grasp --demonstrations.data'"
        )
    try:
        if values["codebase_version"] != VERSION:
            raise ValueError(
                f"{path}: codebase_version is {values['codebase_version']!r}; this reads {VERSION}"
            )
        states = values["features"][STATE]["names"]
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


def _read_columns(path: Path, n: int) -> dict[str, np.ndarray]:
    """Read the columns of one data file as arrays (rows,) or (rows, width)."""
    table = read_table(path)
    widths = {
        STATE: (n, 2 * n),
        ACCELERATION: (n,),
        "action": (n,),
        "timestamp": (1,),
        "episode_index": (1,),
    }
    for name in (STATE, "timestamp", "episode_index"):
        if name not in table.column_names:
            raise ValueError(f"{path}: no column {name!r}; it has {', '.join(table.column_names)}")
    columns = {}
    for name in widths.keys() & set(table.column_names):
        column = table[name].combine_chunks()
        wide = pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)
        flat = np.asarray(
            (column.flatten() if wide else column).to_numpy(zero_copy_only=False), dtype=np.float64
        )
        width = len(flat) // max(len(table), 1)
        if len(table) and (width not in widths[name] or width * len(table) != len(flat)):
            expected = " or ".join(map(str, widths[name]))
            raise ValueError(
                f"{path}: column {name!r} holds {width} numbers per row; "
                f"{n} joints ask for {expected}"
            )
        block = name in (STATE, ACCELERATION, "action")  # of one joint it may be without lists
        columns[name] = flat.reshape(len(table), width if len(table) else n) if block else flat
    return columns


def _read_starts(directory: Path) -> dict[int, float]:
    """Return the stamp [s] of the first sample of each episode; other writers leave it out (0)."""
    starts: dict[int, float] = {}
    for path in sorted(directory.glob("meta/episodes/chunk-*/file-*.parquet")):
        table = read_table(path)
        if {"episode_index", "start_time"} <= set(table.column_names):
            starts.update(
                zip(
                    table["episode_index"].to_pylist(),
                    table["start_time"].to_pylist(),
                    strict=True,
                )
            )
    return starts


def read_table(path: Path) -> pa.Table:
    """Read a parquet file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is damaged ({str(error).splitlines()[0]}); write the dataset again"
        ) from error
