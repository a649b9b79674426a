"""Demonstrations on disk: steps of episodes enter a LeRobot v3.0 folder, and leave it again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.arms.scene import SCENES
from invdyn_ros.config import to_mapping
from invdyn_ros.dataset import read_info, write_folder
from invdyn_ros.episode_tables import read_table
from invdyn_ros.grasp.observer import Observer
from invdyn_ros.grasp.recorded import Shown
from invdyn_ros.grasp.steering import SteeringConfig, load_steering
from invdyn_ros.grasp.transitions import Transitions
from invdyn_ros.lerobot import GRASP, INFO, STATE, STATS, index_columns, info_of, stats
from invdyn_ros.robot import load_robot

REWARD, DONE = "next.reward", "next.done"
TASK = "put the block at its goal"


class Steps(NamedTuple):
    """What steps are of.

    Attributes:
        arm: name of the arm.
        control: what actions mean: joint or cartesian.
        steering: how far one of them goes.
    """

    arm: str
    control: str
    steering: SteeringConfig

    @property
    def sizes(self) -> tuple[int, int]:
        """Sizes of an observation and an action."""
        robot = load_robot(self.arm)
        actions = load_steering(self.control, robot, self.steering).size
        return Observer(robot, SCENES[self.arm], actions).size, actions

    @property
    def plain(self) -> dict[str, Any]:
        """As it stands in the folder."""
        about = {"arm": self.arm, "control": self.control, "steering": to_mapping(self.steering)}
        return about | dict(zip(("observation_size", "action_size"), self.sizes, strict=True))


def write_demonstrations(directory: Path, episodes: Sequence[Shown], of: Steps) -> None:
    """Write episodes as a dataset folder; an existing one there is replaced.

    Args:
        directory: where; the folder appears complete or not at all.
        episodes: each ends where the block was placed.
        of: what their steps are of.

    Raises:
        ValueError: `directory` holds what is no dataset.
    """
    times = [shown.time for shown in episodes]
    joined = Transitions.joined([shown.transitions for shown in episodes])
    columns = {
        STATE: joined.observations,
        "action": joined.actions,
        REWARD: joined.rewards,
        DONE: joined.dones > 0,
        **index_columns(times),
    }
    rate = 1 / of.steering.period
    info = info_of(columns, {}, of.arm, rate, {GRASP: of.plain})
    write_folder(directory, columns, {INFO: info, STATS: stats(columns)}, times, TASK)


def read_demonstrations(directory: str | Path, of: Steps) -> Transitions:
    """Read what `write_demonstrations` wrote.

    Observations after the last step of an episode, which no learner needs, repeat those before.

    Args:
        directory: the folder.
        of: what its steps must be of.

    Raises:
        ValueError: no such folder, a damaged one, or one of another arm, control or steering.
    """
    directory = Path(directory)
    info = read_info(directory / INFO)
    found = info.get(GRASP)
    if not isinstance(found, dict):
        raise ValueError(
            f"{directory} holds no demonstrations; make some with 'invdyn collect grasp'"
        )
    for name, wanted in of.plain.items():
        if found.get(name) != wanted:
            raise ValueError(
                f"{directory} holds demonstrations of {name} {found.get(name)}, not {wanted}; "
                "collect them anew"
            )
    paths = sorted(directory.glob("data/chunk-*/file-*.parquet"))
    if not paths:
        raise ValueError(f"{directory / 'data'}: no chunk-*/file-*.parquet; collect it anew")
    return Transitions.joined([_read(path, of) for path in paths])


def _read(path: Path, of: Steps) -> Transitions:
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
