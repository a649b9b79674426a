"""Demonstrations on disk: steps of episodes enter a LeRobot v3.0 folder, and leave it again."""

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
from invdyn_ros.grasp.policies.spaces import SpaceSpec, space_spec_from_dict

REWARD, DONE = "next.reward", "next.done"
TASK = "put the block at its goal"


def is_demonstration_dataset(directory: str | Path) -> bool:
    """Say whether a dataset folder holds demonstrations, not motion.

    Raises:
        ValueError: it is no dataset folder.
    """
    return GRASP_KEY in read_info(Path(directory) / INFO)


def write_demonstrations(
    directory: Path, episodes: Sequence[ReplayedEpisode], spec: SpaceSpec
) -> None:
    """Write episodes as a dataset folder; an existing one there is replaced.

    Args:
        directory: where; the folder appears complete or not at all.
        episodes: each ends where the block was placed.
        of: what their steps are of.

    Raises:
        ValueError: `directory` holds what is no dataset.
    """
    times = [shown.time for shown in episodes]
    joined = Transitions.concatenate([shown.transitions for shown in episodes])
    columns = {
        STATE: joined.observations,
        "action": joined.actions,
        REWARD: joined.rewards,
        DONE: joined.dones > 0,
        **index_columns(times),
    }
    rate = 1 / spec.action_space.action_period
    info = dataset_info(columns, {}, spec.arm, rate, {GRASP_KEY: spec.to_dict})
    write_folder(directory, columns, {INFO: info, STATS: column_stats(columns)}, times, TASK)


def read_demonstrations(directory: str | Path, spec: SpaceSpec) -> Transitions:
    """Read what `write_demonstrations` wrote.

    Observations after the last step of an episode, which no learner needs, repeat those before.

    Args:
        directory: the folder.
        of: what its steps must be of.

    Raises:
        ValueError: no such folder, a damaged one, or one of another arm, control or steering.
    """
    directory = Path(directory)
    found = _about(directory)
    for name, wanted in spec.to_dict.items():
        if found.get(name) != wanted:
            raise ValueError(
                f"{directory} holds demonstrations of {name} {found.get(name)}, not {wanted}; "
                "collect them anew"
            )
    return Transitions.concatenate(_read_all(directory, spec))


def read_episodes(directory: str | Path) -> tuple[SpaceSpec, list[Transitions]]:
    """Read demonstrations episode by episode, and what their steps are of.

    Raises:
        ValueError: no such folder, or a damaged one.
    """
    directory = Path(directory)
    of = space_spec_from_dict(_about(directory))
    if of is None:
        raise ValueError(f"{directory / INFO} does not say what its steps are of; collect it anew")
    episodes = []
    for part in _read_all(directory, of):
        ends = np.flatnonzero(part.dones) + 1
        episodes += [
            Transitions(*columns)
            for columns in zip(*(np.split(c, ends[:-1]) for c in part), strict=True)
        ]
    return of, episodes


def _about(directory: Path) -> dict[str, Any]:
    """Return what the folder says of its steps."""
    found = read_info(directory / INFO).get(GRASP_KEY)
    if not isinstance(found, dict):
        raise ValueError(
            f"{directory} holds no demonstrations; make some with 'invdyn collect grasp' or "
            "'invdyn collect expert'"
        )
    return found


def _read_all(directory: Path, of: SpaceSpec) -> list[Transitions]:
    paths = sorted(directory.glob("data/chunk-*/file-*.parquet"))
    if not paths:
        raise ValueError(f"{directory / 'data'}: no chunk-*/file-*.parquet; collect it anew")
    return [_read(path, of) for path in paths]


def _read(path: Path, of: SpaceSpec) -> Transitions:
    """Read one data file; no episode spans two."""
    table = read_table(path)
    missing = {STATE, "action", REWARD, DONE, "episode_index"} - set(table.column_names)
    if missing:
        raise ValueError(f"{path}: no column '{min(missing)}'; collect it anew")
    columns = [_numbers(table[name], len(table)) for name in (STATE, "action", REWARD, DONE)]
    seen, actions, rewards, dones = columns
    if (seen.shape[1:], actions.shape[1:]) != tuple((size,) for size in of.sizes):
        found = seen[0].size, actions[0].size
        raise ValueError(
            f"{path}: observations and actions of {found} numbers, not {of.sizes}; collect it anew"
        )
    ends = np.append(np.diff(_numbers(table["episode_index"], len(table))) != 0, True)
    if not np.array_equal(ends, dones > 0):
        raise ValueError(f"{path}: an episode does not end where it is done; collect it anew")
    after = np.where(ends[:, None], seen, np.roll(seen, -1, axis=0))
    return Transitions(seen, after, actions, rewards, dones)


def _numbers(column: Any, rows: int) -> np.ndarray:
    """Return a column as (rows,) or (rows, width) float32."""
    whole = column.combine_chunks()
    wide = hasattr(whole, "flatten") and hasattr(whole.type, "value_type")
    flat = np.asarray((whole.flatten() if wide else whole).to_numpy(zero_copy_only=False))
    return flat.astype(np.float32).reshape((rows, -1) if wide else (rows,))
