"""Reader of episodes from tables of observations and actions.

The rows are whole sequences or (s, a, s') triplets in any order; `transitions` defines the
acceleration of a step and the action of the last state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from invdyn_ros.data.resampling import GAP_INTERVALS, MIN_GAP, resample_recording
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.array_files import Table, read_tables
from invdyn_ros.sources.column_names import parse_columns
from invdyn_ros.sources.import_result import ImportResult, merge_results, recording_names
from invdyn_ros.sources.sequence_config import SequenceConfig
from invdyn_ros.sources.source import Collection, Source, arm_name, resolve_joint_names
from invdyn_ros.sources.transition_table import TransitionTable, transition_table
from invdyn_ros.sources.transitions import transitions_to_trajectory

MAX_VALUE = 1e12  # of a plausible number in SI units
FINAL_STATES, NOT_FINITE = "final states", "rows that are not finite"
EMPTY = "rows without a value of these columns"
TOO_SHORT = "rows of episodes that are too short"
NO_ACTION = "final states without an action"
REPEATED, RESAMPLED = "rows with the stamp of another one", "by resampling"
MAX_REPEATED = 0.1  # of the stamps of an episode; with more their resolution is too low [-]


def read_sequence(
    path: str | Path, joint_names: tuple[str, ...], config: SequenceConfig
) -> ImportResult:
    """Read the episodes of a file or of a folder of files.

    Args:
        path: .npz, .h5, .hdf5, .zarr, .parquet, .csv, .txt, or a folder of such files.
        joint_names: names of the n joints; empty: joint_1, joint_2, ...
        config: columns, unit, times and derivatives.

    Raises:
        ValueError: a bad file, column or row.
    """
    tables = read_tables(path, parse_columns(config.action, config.observations)[0][0])
    return merge_results(read_episodes(table, joint_names, config) for table in tables)


def read_episodes(
    table: Table, joint_names: tuple[str, ...], config: SequenceConfig
) -> ImportResult:
    """Read the episodes of one table.

    Args:
        table: columns of a file.
        joint_names: names of the joints; empty: joint_1, joint_2, ...
        config: which columns hold what; see `read_sequence`.

    Raises:
        ValueError: no rows, or columns of different widths.
    """
    rows = transition_table(table, config, joint_names)
    if not len(rows.row):
        raise ValueError(f"{table.source}: it has no rows; record or download it again")
    names = joint_names or tuple(f"joint_{i + 1}" for i in range(rows.action.shape[1]))
    _check_widths(table.source, rows, names, config)
    changes = Counter[str]()
    held = _without_empty_rows(rows) if config.rate is None else rows
    finite, trajectories = _finite(held, table.source, config), []
    changes[EMPTY] -= len(rows.row) - len(held.row)
    changes[NOT_FINITE] -= len(held.row) - len(finite.row)
    for episode in _episodes(finite):
        part = _without_repeats(episode, table.source)
        changes[REPEATED] -= len(episode.row) - len(part.row)
        trajectory, change = _episode(part, names, config)
        changes.update(change)
        if trajectory is not None:
            trajectories.append(trajectory.negated() if config.negate_action else trajectory)
        elif not config.skip_invalid:
            minimum = config.window if config.derivative == "filter" else 2
            raise ValueError(
                f"{table.source}: the episode from row {part.row[0]} on has {len(part.row)} "
                f"samples; it needs {minimum}: record longer ones, or leave it out with "
                "--skip-invalid"
            )
    if not trajectories:
        raise ValueError(f"{table.source}: no episode is left of {len(rows.row)} rows")
    recorded, trajectories = _resampled(trajectories, config, changes, table.source)
    choices = (f"found by name: {', '.join(rows.choices)}",) if rows.choices else ()
    notes = (*table.contents.notes, *choices)
    return ImportResult(trajectories, len(rows.row), dict(changes), recorded, notes)


def _check_widths(
    source: str, rows: TransitionTable, names: Sequence[str], config: SequenceConfig
) -> None:
    blocks = 2 if config.velocity else 1
    states, actions = rows.state.shape[1], rows.action.shape[1]
    if actions != len(names) or states != blocks * len(names):
        what = "positions and velocities" if config.velocity else "positions"
        raise ValueError(
            f"{source}: {states} columns of {what} and {actions} of actions, but "
            f"{len(names)} joints ({', '.join(names)}); choose one column of each per joint"
        )


def _without_empty_rows(rows: TransitionTable) -> TransitionTable:
    """Leave out rows of other signals, as programs write that merge topics by their stamps.

    An episode ends where this leaves a gap over which nothing is interpolated.
    """
    known = ~np.isnan(rows.state[:, 0])
    if known.all():
        return rows
    known = ~(np.isnan(rows.state).all(1) & np.isnan(rows.action).all(1))
    kept = np.flatnonzero(known)
    if len(kept) < 2:
        return rows
    last = np.logical_or.reduceat(rows.episode_end, kept)
    step = np.diff(rows.time[kept])
    is_gap = step > max(MIN_GAP, GAP_INTERVALS * float(np.median(step)))
    last[:-1] |= is_gap & (np.diff(kept) > 1)
    return rows.select(kept)._replace(episode_end=last)


def _finite(rows: TransitionTable, where: str, config: SequenceConfig) -> TransitionTable:
    """Leave out rows that are not finite; an episode ends before each.

    Raises:
        ValueError: there are such rows, and `skip_invalid` is off.
    """
    columns = [rows.time[:, None], rows.state, rows.action]
    columns += [rows.next_state] if rows.next_state is not None else []
    if all(c.min(initial=0) >= -MAX_VALUE and c.max(initial=0) <= MAX_VALUE for c in columns):
        return rows  # a NaN is neither
    finite = (np.abs(np.concatenate(columns, axis=1)) <= MAX_VALUE).all(1)
    if not config.skip_invalid:
        row = min(np.flatnonzero(~finite), key=lambda k: int(rows.row[k]))  # first in the file
        values = np.concatenate([column[row] for column in columns])
        raise ValueError(
            f"{where}: row {rows.row[row]} holds {values[~(np.abs(values) <= MAX_VALUE)][0]} "
            f"(of {int((~finite).sum())} such rows); repair them, or leave them out with "
            "--skip-invalid"
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


def _without_repeats(part: TransitionTable, where: str) -> TransitionTable:
    """Return an episode with the first row of each stamp.

    Raises:
        ValueError: time does not increase, or most stamps are repeated.
    """
    steps = np.diff(part.time)
    repeats = np.flatnonzero(steps == 0) + 1
    jumps = np.flatnonzero(steps < 0) + 1
    if len(repeats) > MAX_REPEATED * len(part.time):
        raise ValueError(
            f"{where}: {len(repeats)} of {len(part.time)} rows have the stamp of the row before; "
            "name another column with --time, or give --rate HZ if rows are evenly spaced"
        )
    if len(jumps):
        k = int(jumps[0])
        raise ValueError(
            f"{where}: row {part.row[k]} has time {part.time[k]} s after {part.time[k - 1]} s; "
            "sort the rows, or name the column where episodes change with --episode"
        )
    return part.select(np.append(True, steps > 0)) if len(repeats) else part


def _resampled(
    parts: list[Trajectory], config: SequenceConfig, changes: Counter[str], where: str
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Return episodes as they were recorded, and with evenly spaced samples and accelerations.

    Raises:
        ValueError: too few samples are left.
    """
    if config.derivative == "step" or not (config.derivative == "filter" or config.is_resampled):
        return [], parts
    window = config.window if config.derivative == "filter" else 0
    try:
        result = resample_recording(parts, config.resample, config.max_gap, window)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    changes[TOO_SHORT] -= result.too_short
    changes[RESAMPLED] += sum(map(len, result.trajectories)) - sum(map(len, result.recorded))
    return result.recorded, result.trajectories


def _episode(
    part: TransitionTable, names: tuple[str, ...], config: SequenceConfig
) -> tuple[Trajectory | None, dict[str, int]]:
    """Return an episode, None if it is too short, and the changes of the number of rows."""
    n, count, change = len(names), len(part.row), {}
    time, state, action = part.time, part.state, part.action
    if config.derivative == "step":
        if part.next_state is not None:
            time = np.append(time, time[-1] + 1 / float(config.rate or 1))
            state = np.concatenate([state, part.next_state[-1:]])
            action = np.concatenate([action, action[-1:]])
            change[FINAL_STATES] = 1
        if len(time) < 2:
            return None, {TOO_SHORT: -count}
        trajectory = transitions_to_trajectory(
            time, state, action[:-1], names, part.unit, part.recording
        )
        return trajectory, change
    if not part.has_action.all():
        time, state, action = (values[part.has_action] for values in (time, state, action))
    if len(time) < (config.window if config.derivative == "filter" else 2):
        return None, {TOO_SHORT: -count}
    absent = np.empty((0, n))
    trajectory = Trajectory(
        time,
        state[:, :n],
        state[:, n:] if config.velocity else absent,
        absent,
        action,
        names,
        part.unit,
        recording=part.recording,
    )
    return trajectory, {NO_ACTION: len(time) - count}


@dataclass(frozen=True)
class SequenceSource(Source):
    """Read episodes or (s, a, s') triplets from npz, HDF5, zarr, parquet, CSV or text files.

    The layouts of D4RL, OGBench and Minari are supported.
    """

    path: Path
    """The file, or a folder of such files."""
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    """Columns and units."""
    arm: str | None = None
    """Name of the arm, or of any robot without a URDF; default: the name of the file."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""
    joints: tuple[str, ...] = ()
    """Names of the joints; default: those of the arm, or joint_1, joint_2, ..."""

    def collect(self) -> Collection:
        """Read all files at the path."""
        robot = arm_name(self.arm, self.urdf, recording_names([self.path])[0])
        joint_names = resolve_joint_names(robot, self.urdf, self.joints)
        result = read_sequence(self.path, joint_names, self.sequence)
        return Collection(result, robot, notes=result.notes, urdf=self.urdf)
