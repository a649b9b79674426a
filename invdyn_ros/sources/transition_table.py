"""Table of states and actions in the order of time, from columns of a file.

The rows of a file are whole sequences or (s, a, s') triplets in any order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.sources.array_files import LoadedTable, Table
from invdyn_ros.sources.sequence_columns import SequenceColumns, find_sequence_columns
from invdyn_ros.sources.sequence_config import SequenceConfig
from invdyn_ros.sources.stamps import find_restarts, stamps
from invdyn_ros.sources.transitions import chain_transitions

MIN_EPISODE = 2  # rows per episode on average of a column that numbers episodes


class ArrayShape(NamedTuple):
    """Shape of the arrays of a file."""

    blocks: int
    """Episodes of equal length, or 1."""
    length: int
    """States in a block."""
    num_extra: int
    """States more than actions in a block, 0 or 1."""

    @property
    def total(self) -> int:
        """Number of states."""
        return self.blocks * self.length


class TransitionTable(NamedTuple):
    """N states, episode after episode."""

    row: np.ndarray  # (N,) index in the file
    time: np.ndarray  # (N,) [s]
    state: np.ndarray  # (N, n) positions, or (N, 2n) with velocities
    action: np.ndarray  # (N, n)
    episode_end: np.ndarray  # (N,) whether an episode ends here
    has_action: np.ndarray  # (N,) False in the last state of an episode if it has no action
    next_state: np.ndarray | None  # (N, n or 2n), if the file has it

    unit: str  # of the actions
    recording: str
    choices: tuple[str, ...]  # what was chosen without being named by the user, in words

    def select(self, rows: slice | np.ndarray) -> TransitionTable:
        """Return some of the rows."""
        columns: dict[str, Any] = {
            name: c[rows] for name, c in self._asdict().items() if isinstance(c, np.ndarray)
        }
        return self._replace(**columns)


def transition_table(
    table: Table, config: SequenceConfig, joints: tuple[str, ...] = ()
) -> TransitionTable:
    """Return the columns of a table with its episodes one after another.

    Args:
        table: columns of a file; those in use are read.
        config: which columns hold what.
        joints: names of the joints; empty: unknown.

    Raises:
        ValueError: a missing column, or columns that do not match.
    """
    columns = find_sequence_columns(table, config, joints)
    values = table.load(columns.names)
    action = values.block(columns.action)
    state = values.block([*columns.position, *columns.velocity])
    num_extra = state.shape[-2] - action.shape[-2]  # one more state than actions, or none
    if state.shape[:-2] != action.shape[:-2] or num_extra not in (0, 1):
        raise ValueError(
            f"{table.source}: {config.action} {action.shape} does not match {config.position} "
            f"{state.shape}; give columns with equally many rows"
        )
    if num_extra:
        padding = [(0, 0)] * (action.ndim - 2) + [(0, 1), (0, 0)]
        action = np.pad(action, padding, mode="edge")
    rows = ArrayShape(int(np.prod(state.shape[:-2])), state.shape[-2], num_extra)
    count = rows.total
    episode_end, choices = _episode_ends(values, columns, config, rows)
    next_state = values.block(columns.next_state) if columns.next_state else None
    state, action = (x.reshape(count, x.shape[-1]) for x in (state, action))
    order = np.arange(count)
    if next_state is not None:
        next_state = next_state.reshape(state.shape)
    if next_state is not None and not table.is_episode:
        if config.rate is None:
            raise ValueError(f"{table.source}: the next states have no stamps; give --rate HZ")
        order, episode_end = chain_transitions(state, next_state, episode_end)
        state, action, next_state = state[order], action[order], next_state[order]
    episode_end[-1:] = True
    time, words = stamps(values, columns, config, count)
    if columns.time and columns.episode is None:
        restarts = find_restarts(time, episode_end)
        episode_end[restarts] = True
        choices = (*choices, "episodes where the stamps restart") if restarts else choices
    if config.max_gap is not None:
        episode_end[:-1] |= np.diff(time) > config.max_gap
    has_action = ~episode_end if num_extra else np.ones(count, dtype=bool)
    return TransitionTable(
        order,
        time,
        state,
        action,
        episode_end,
        has_action,
        next_state,
        columns.unit,
        table.recording,
        (*columns.choices, *words, *choices),
    )


def _episode_ends(
    values: LoadedTable,
    columns: SequenceColumns,
    config: SequenceConfig,
    rows: ArrayShape,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return which rows are the last of an episode (count,), and the column that was chosen.

    Args:
        values: columns of a file.
        columns: what they hold.
        config: which columns the user names.
        rows: shape of the arrays.
    """
    count = rows.total
    episode_end = np.zeros(count, dtype=bool)
    if rows.blocks > 1:  # many episodes of equal length
        episode_end[rows.length - 1 :: max(rows.length, 1)] = True
    for name in columns.flags:
        episode_end |= _flag(values, name, rows)
    for name in columns.ends:
        ends = values.arrays[name]
        if not len(ends) or ends[-1] != count or not (np.diff(ends) > 0).all():
            raise ValueError(f"{values.source}: {name} must rise to {count}, the number of rows")
        episode_end[ends.astype(int) - 1] = True
    if columns.episode is None:
        return episode_end, ()
    numbers = values.flat(columns.episode, count)
    changes = numbers[1:] != numbers[:-1]
    if config.episode is None and MIN_EPISODE * changes.sum() > count:
        return episode_end, ()  # such as a flag, or a number of each row
    episode_end[:-1] |= changes
    return episode_end, (() if config.episode else (f"episodes by '{columns.episode}'",))


def _flag(values: LoadedTable, name: str, rows: ArrayShape) -> np.ndarray:
    """Return a flag of each state (count,); that of an action is of the state after it."""
    flags = values.arrays[name].reshape(-1)
    if rows.num_extra and len(flags) == rows.blocks * (rows.length - 1):
        flags = np.pad(flags.reshape(rows.blocks, -1), [(0, 0), (1, 0)]).reshape(-1)
    else:
        flags = values.flat(name, rows.total)
    return flags.astype(bool)
