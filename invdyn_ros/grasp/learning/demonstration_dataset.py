"""Reading and writing of demonstrations as LeRobot v3.0 dataset folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from invdyn_ros.data.dataset import read_info, write_folder
from invdyn_ros.data.lerobot_format import (
    GRASP_KEY,
    INFO,
    STATE,
    STATS,
    column_stats,
    dataset_info,
    index_columns,
)
from invdyn_ros.data.parquet import read_table
from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.learning.recorded_episodes import ReplayedEpisode
from invdyn_ros.grasp.policies.spaces import SpaceSpec

REWARD, DONE = "next.reward", "next.done"
TASK = "put the block at its goal"


def is_demonstration_dataset(directory: str | Path) -> bool:
    """Return whether a dataset folder holds grasp demonstrations instead of arm motions.

    Raises:
        ValueError: the folder is not a dataset.
    """
    return GRASP_KEY in read_info(Path(directory) / INFO)


def write_demonstrations(
    directory: Path, episodes: Sequence[ReplayedEpisode], spec: SpaceSpec
) -> None:
    """Write episodes as a dataset folder; replace an existing one.

    Args:
        directory: folder of the dataset, which is written completely or not at all.
        episodes: episodes, each of which ends with the placement of the block.
        spec: arm and action space of the episodes.

    Raises:
        ValueError: `directory` exists and is not a dataset.
    """
    times = [episode.time for episode in episodes]
    transitions = Transitions.concatenate([episode.transitions for episode in episodes])
    columns = {
        STATE: transitions.observations,
        "action": transitions.actions,
        REWARD: transitions.rewards,
        DONE: transitions.dones > 0,
        **index_columns(times),
    }
    rate = 1 / spec.action_space.action_period
    info = dataset_info(columns, {}, spec.arm, rate, {GRASP_KEY: spec.to_dict()})
    write_folder(directory, columns, {INFO: info, STATS: column_stats(columns)}, times, TASK)


def read_demonstrations(directory: str | Path, spec: SpaceSpec) -> Transitions:
    """Read all demonstrations of a dataset folder.

    The next observation of an episode's last step is not stored. The last observation replaces
    it, which is harmless, because no learner bootstraps from a terminal state.

    Args:
        directory: folder of the dataset.
        spec: arm and action space that the dataset must have.

    Raises:
        ValueError: no such folder, a damaged dataset, or another arm or action space.
    """
    directory = Path(directory)
    stored = _read_spec(directory)
    for name, required in spec.to_dict().items():
        if stored.get(name) != required:
            raise ValueError(
                f"{directory} holds demonstrations with {name} {stored.get(name)}, not "
                f"{required}; collect them again"
            )
    return Transitions.concatenate(_read_files(directory, spec))


def read_demonstration_episodes(directory: str | Path) -> tuple[SpaceSpec, list[Transitions]]:
    """Read arm and action space of a dataset folder, and its demonstrations by episode.

    Raises:
        ValueError: no such folder, or a damaged dataset.
    """
    directory = Path(directory)
    spec = SpaceSpec.from_dict(_read_spec(directory))
    if spec is None:
        raise ValueError(f"{directory / INFO} lacks the action space; collect the data again")
    episodes = []
    for part in _read_files(directory, spec):
        ends = np.flatnonzero(part.dones) + 1
        episodes += [
            Transitions(*columns)
            for columns in zip(*(np.split(c, ends[:-1]) for c in part), strict=True)
        ]
    return spec, episodes


def _read_spec(directory: Path) -> dict[str, Any]:
    """Return the stored arm and action space as plain values."""
    spec = read_info(directory / INFO).get(GRASP_KEY)
    if not isinstance(spec, dict):
        raise ValueError(
            f"{directory} holds no demonstrations; make some with 'invdyn collect grasp' or "
            "'invdyn collect expert'"
        )
    return spec


def _read_files(directory: Path, spec: SpaceSpec) -> list[Transitions]:
    paths = sorted(directory.glob("data/chunk-*/file-*.parquet"))
    if not paths:
        raise ValueError(
            f"{directory / 'data'}: no chunk-*/file-*.parquet; collect the data again"
        )
    return [_read_file(path, spec) for path in paths]


def _read_file(path: Path, spec: SpaceSpec) -> Transitions:
    """Read one data file; no episode spans two files."""
    table = read_table(path)
    missing = {STATE, "action", REWARD, DONE, "episode_index"} - set(table.column_names)
    if missing:
        raise ValueError(f"{path}: no column '{min(missing)}'; collect the data again")
    columns = [_to_array(table[name], len(table)) for name in (STATE, "action", REWARD, DONE)]
    observations, actions, rewards, dones = columns
    if (observations.shape[1:], actions.shape[1:]) != tuple((size,) for size in spec.sizes):
        sizes = observations[0].size, actions[0].size
        raise ValueError(
            f"{path}: observations and actions have sizes {sizes}, not {spec.sizes}; "
            "collect the data again"
        )
    ends = np.append(np.diff(_to_array(table["episode_index"], len(table))) != 0, True)
    if not np.array_equal(ends, dones > 0):
        raise ValueError(
            f"{path}: an episode does not end where it is done; collect the data again"
        )
    shifted = np.roll(observations, -1, axis=0)
    next_observations = np.where(ends[:, None], observations, shifted)
    return Transitions(observations, next_observations, actions, rewards, dones)


def _to_array(column: Any, rows: int) -> np.ndarray:
    """Return a column as (rows,) or (rows, width) float32."""
    array = column.combine_chunks()
    is_list = hasattr(array, "flatten") and hasattr(array.type, "value_type")
    flat = np.asarray((array.flatten() if is_list else array).to_numpy(zero_copy_only=False))
    return flat.astype(np.float32).reshape((rows, -1) if is_list else (rows,))
