"""Reader of episodes from tables of observations and actions.

The rows are whole sequences or (s, a, s') triplets in any order. An action acts from its row to
the next one, so that

    qdd = (qd' - qd) / dt

is exact if a simulator holds the action for a step. The last state of an episode repeats the
action and the acceleration of the interval that ends there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.array_files import Table, parse_columns, read_tables
from invdyn_ros.sources.import_result import ImportResult, merge_results
from invdyn_ros.sources.source import Collection, Source, arm_name, resolve_joint_names
from invdyn_ros.sources.triplets import chain_transitions, transitions_to_trajectory

EPISODE_END_FLAGS = (
    "terminals",
    "timeouts",
    "terminations",
    "truncations",
    "dones",
)  # true in the last row of an episode
EPISODE_ENDS = "episode_ends"  # first row after each episode
NEXT_PREFIX = "next_"  # before the name of the column with the state that follows
FINAL_STATES, NOT_FINITE, TOO_SHORT = (
    "final states",
    "rows that are not finite",
    "rows of episodes too short",
)
NO_ACTION = "final states without an action"


@dataclass(frozen=True)
class SequenceConfig:
    """Columns of motion and action, and their units.

    A column is NAME, NAME:A:B (columns A to B-1 of NAME), A:B (of the observations), or several of
    these with commas between.
    """

    position: str
    """Column of the joint positions [rad]."""
    unit: Literal["N m", "A", "rad", "1"]
    """Unit of the actions; 1: without unit, such as a fraction of the range."""
    velocity: str | None = None
    """Column of the joint velocities [rad/s]."""
    action: str = "actions"
    """Column of the actions, one per joint."""
    observations: str = "observations"
    """Column of the observations."""
    rate: float | None = None
    """[Hz] Rows per second, if there are no stamps."""
    time: str | None = None
    """Column of stamps [s]."""
    episode: str | None = None
    """Column that changes from episode to episode; terminals, timeouts and episode_ends are used as
    well."""
    max_gap: float | None = None
    """[s] A longer gap between stamps ends an episode; default: gaps do not."""
    acceleration: Literal["step", "filter", "none"] = "step"
    """step: (qd' - qd)/dt; filter: zero-phase Savitzky-Golay; none: computed in training."""
    window: int = 13
    """Samples per Savitzky-Golay window."""
    skip_invalid: bool = False
    """Leave out (and count) rows that are not finite and too short episodes, which are errors
    otherwise."""

    def __post_init__(self) -> None:
        """Check that rows have a time, and velocities if needed."""
        if (self.rate is None) == (self.time is None):
            raise ValueError("give --rate HZ, or --time COLUMN where the file has stamps")
        if self.rate is not None and not self.rate > 0:
            raise ValueError(f"rate is {self.rate} Hz; it must be positive")
        if self.acceleration == "step" and self.velocity is None:
            raise ValueError("(qd' - qd)/dt needs --velocity; or give --acceleration filter")


class TransitionTable(NamedTuple):
    """N states, episode after episode."""

    row: np.ndarray  # (N,) index in the file
    time: np.ndarray  # (N,) [s]
    state: np.ndarray  # (N, n) positions, or (N, 2n) with velocities
    action: np.ndarray  # (N, n)
    episode_end: np.ndarray  # (N,) whether an episode ends here
    has_action: np.ndarray  # (N,) False in the last state of an episode without action
    next_state: np.ndarray | None  # (N, n or 2n), if the file has it

    def select(self, rows: slice | np.ndarray) -> TransitionTable:
        """Return some of the rows."""
        known = {name: c[rows] for name, c in self._asdict().items() if c is not None}
        return self._replace(**known)


def read_sequence(
    path: str | Path, joint_names: tuple[str, ...], config: SequenceConfig
) -> ImportResult:
    """Read the episodes of a file or of a folder of files.

    Args:
        path: .npz, .h5, .hdf5, .zarr, .parquet, or a folder of such files.
        joint_names: names of the n joints; empty: joint_1, joint_2, ...
        config: columns, unit, times and derivatives.

    Raises:
        ValueError: a bad file, column or row.
    """
    tables = read_tables(path, parse_columns(config.action, config.observations)[0][0])
    return merge_results(read_table(table, joint_names, config) for table in tables)


def read_table(table: Table, joint_names: tuple[str, ...], config: SequenceConfig) -> ImportResult:
    """Read the episodes of one table; see `read_sequence`."""
    rows = _transition_table(table, config)
    if not len(rows.row):
        raise ValueError(f"{table.source}: it has no rows; record or download it again")
    names = joint_names or tuple(f"joint_{i + 1}" for i in range(rows.action.shape[1]))
    _check_widths(table, rows, names, config)
    changes = Counter[str]()
    finite, trajectories = _finite(rows, table.source, config), []
    changes[NOT_FINITE] -= len(rows.row) - len(finite.row)
    for part in _episodes(finite):
        _check_time(part, table.source)
        trajectory, change = _episode(part, names, config)
        changes.update(change)
        if trajectory is not None:
            trajectories.append(trajectory)
        elif not config.skip_invalid:
            need = config.window if config.acceleration == "filter" else 2
            raise ValueError(
                f"{table.source}: the episode from row {part.row[0]} on has {len(part.row)} "
                f"samples; it needs {need}: record longer ones, or leave it out with --skip-invalid"
            )
    if not trajectories:
        raise ValueError(f"{table.source}: no episode is left of {len(rows.row)} rows")
    return ImportResult(trajectories, len(rows.row), dict(changes))


def _transition_table(table: Table, config: SequenceConfig) -> TransitionTable:
    """Return the columns of a table with its episodes one after another."""
    action = table.select(config.action, config.observations)
    texts = [config.position, *([config.velocity] if config.velocity else [])]
    parts = [table.select(text, config.observations) for text in texts]
    final = parts[0].shape[-2] - action.shape[-2]  # one more state than actions, or none
    if any(p.shape[:-1] != parts[0].shape[:-1] for p in parts) or final not in (0, 1):
        shapes = ", ".join(f"{t} {p.shape}" for t, p in zip(texts, parts, strict=True))
        raise ValueError(
            f"{table.source}: {config.action} {action.shape} does not match {shapes}; "
            "give columns with equally many rows"
        )
    if final:
        edge = [(0, 0)] * (action.ndim - 2) + [(0, 1), (0, 0)]
        action = np.pad(action, edge, mode="edge")
    state = np.concatenate(parts, axis=-1)
    count, length = int(np.prod(state.shape[:-1])), state.shape[-2]
    last = _episode_ends(table, config, count)
    if state.ndim > 2:  # many episodes of equal length
        last[length - 1 :: max(length, 1)] = True
    following = _next_states(table, texts, config)
    state, action = (x.reshape(count, x.shape[-1]) for x in (state, action))
    order = np.arange(count)
    if following is not None:
        following = following.reshape(state.shape)
        order, last = chain_transitions(state, following, last)
        state, action, following = state[order], action[order], following[order]
    last[-1:] = True
    time = _time(table, config, count)
    if config.max_gap is not None:
        last[:-1] |= np.diff(time) > config.max_gap
    acts = ~last if final else np.ones(count, dtype=bool)
    return TransitionTable(order, time, state, action, last, acts, following)


def _next_states(table: Table, texts: Sequence[str], config: SequenceConfig) -> np.ndarray | None:
    """Return the state after each row, if the file has it for all columns."""
    columns = [place for text in texts for place in parse_columns(text, config.observations)]
    if not all(NEXT_PREFIX + key in table.columns for key, _ in columns):
        return None
    if config.rate is None:
        raise ValueError(f"{table.source}: the next states have no stamps; give --rate HZ")
    return np.concatenate(
        [table.column_block(NEXT_PREFIX + key, c) for key, c in columns], axis=-1
    )


def _episode_ends(table: Table, config: SequenceConfig, count: int) -> np.ndarray:
    """Return which rows are the last of an episode (count,)."""
    last = np.zeros(count, dtype=bool)
    for name in EPISODE_END_FLAGS:
        if name in table.columns:
            last |= _flat_column(table, name, count).astype(bool)
    for name, values in table.columns.items():
        if name.rpartition("/")[2] == EPISODE_ENDS:
            if not len(values) or values[-1] != count or not (np.diff(values) > 0).all():
                raise ValueError(
                    f"{table.source}: {name} must rise to {count}, the number of rows"
                )
            last[values.astype(int) - 1] = True
    if config.episode is not None:
        marks = _flat_column(table, config.episode, count)
        last[:-1] |= marks[1:] != marks[:-1]
    return last


def _flat_column(table: Table, name: str, count: int) -> np.ndarray:
    values = table.column(name).reshape(-1)
    if len(values) != count:
        raise ValueError(f"{table.source}: {name} has {len(values)} rows, the states {count}")
    return values


def _time(table: Table, config: SequenceConfig, count: int) -> np.ndarray:
    if config.rate is not None:
        return np.arange(count) / config.rate
    return _flat_column(table, str(config.time), count).astype(float)


def _check_widths(
    table: Table, rows: TransitionTable, names: Sequence[str], config: SequenceConfig
) -> None:
    blocks = 2 if config.velocity else 1
    states, actions = rows.state.shape[1], rows.action.shape[1]
    if actions != len(names) or states != blocks * len(names):
        what = "positions and velocities" if config.velocity else "positions"
        raise ValueError(
            f"{table.source}: {states} columns of {what} and {actions} of actions, but "
            f"{len(names)} joints ({', '.join(names)}); choose one column each per joint"
        )


def _finite(rows: TransitionTable, where: str, config: SequenceConfig) -> TransitionTable:
    """Leave out rows that are not finite; an episode ends before each.

    Raises:
        ValueError: there are such rows, and `skip_invalid` is off.
    """
    columns = [rows.time[:, None], rows.state, rows.action]
    columns += [rows.next_state] if rows.next_state is not None else []
    finite = np.isfinite(np.concatenate(columns, axis=1)).all(1)
    if finite.all():
        return rows
    if not config.skip_invalid:
        row = min(np.flatnonzero(~finite), key=lambda k: int(rows.row[k]))  # first in the file
        values = np.concatenate([column[row] for column in columns])
        raise ValueError(
            f"{where}: row {rows.row[row]} holds {values[~np.isfinite(values)][0]} "
            f"(of {int((~finite).sum())} such rows); repair them, or leave them out with --skip-invalid"
        )
    last = rows.episode_end.copy()
    last[:-1] |= ~finite[1:]
    return rows._replace(episode_end=last).select(finite)


def _episodes(rows: TransitionTable) -> Iterator[TransitionTable]:
    """Yield the episodes."""
    ends = np.flatnonzero(rows.episode_end) + 1
    bounds = sorted({0, len(rows.episode_end), *ends.tolist()})
    for first, end in pairwise(bounds):
        yield rows.select(slice(first, end))


def _check_time(part: TransitionTable, where: str) -> None:
    jumps = np.flatnonzero(np.diff(part.time) <= 0)
    if len(jumps):
        k = int(jumps[0]) + 1
        raise ValueError(
            f"{where}: row {part.row[k]} has time {part.time[k]} s after {part.time[k - 1]} s; "
            "sort the rows, or name the column where episodes change with --episode"
        )


def _episode(
    part: TransitionTable, names: tuple[str, ...], config: SequenceConfig
) -> tuple[Trajectory | None, dict[str, int]]:
    """Return an episode, None if it is too short, and the changes of the number of rows."""
    n, count, change = len(names), len(part.row), {}
    time, state, action = part.time, part.state, part.action
    if config.acceleration == "step":
        if part.next_state is not None:
            time = np.append(time, time[-1] + 1 / float(config.rate or 1))
            state = np.concatenate([state, part.next_state[-1:]])
            action = np.concatenate([action, action[-1:]])
            change[FINAL_STATES] = 1
        if len(time) < 2:
            return None, {TOO_SHORT: -count}
        return transitions_to_trajectory(time, state, action[:-1], names, config.unit), change
    time, state, action = time[part.has_action], state[part.has_action], action[part.has_action]
    if len(time) < (config.window if config.acceleration == "filter" else 2):
        return None, {TOO_SHORT: -count}
    absent = np.empty((0, n))
    trajectory = Trajectory(
        time,
        state[:, :n],
        state[:, n:] if config.velocity else absent,
        absent,
        action,
        names,
        config.unit,
    )
    filtered = (
        trajectory.differentiate(config.window) if config.acceleration == "filter" else trajectory
    )
    return filtered, {NO_ACTION: len(time) - count}


@dataclass(frozen=True)
class SequenceSource(Source):
    """Read episodes or (s, a, s') triplets from npz, HDF5, zarr or parquet files.

    The layouts of D4RL, OGBench and Minari are supported.
    """

    path: Path
    """The file, or a folder of such files."""
    sequence: SequenceConfig
    """Columns and units."""
    arm: str | None = None
    """Name of the arm, or of any robot without a URDF; default: the name of the file."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name."""
    joints: tuple[str, ...] = ()
    """Names of the joints; default: those of the arm, or joint_1, joint_2, ..."""

    def collect(self) -> Collection:
        """Read all files at the path."""
        robot = arm_name(self.arm, self.urdf, self.path.stem)
        joint_names = resolve_joint_names(robot, self.urdf, self.joints)
        return Collection(read_sequence(self.path, joint_names, self.sequence), robot)
