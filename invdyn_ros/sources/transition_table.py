"""Table of states and actions in the order of time, from columns of a file.

The rows of a file are whole sequences or (s, a, s') triplets in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from invdyn_ros.sources.array_files import Table, parse_columns
from invdyn_ros.sources.transitions import chain_transitions

# columns that are true in the last row of an episode
EPISODE_END_FLAGS = ("terminals", "timeouts", "terminations", "truncations", "dones")
EPISODE_ENDS = "episode_ends"  # column of the first row after each episode
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
MAX_STEP = 0.5  # [s] between two rows; a motion is sampled more often
NEXT_PREFIX = "next_"  # before the name of a column: its values in the next state


@dataclass(frozen=True)
class SequenceConfig:
    """Columns of motion and action, and their units.

    A column is NAME, NAME:A:B (columns A to B-1 of NAME), A:B (of the observations), or several of
    these separated by commas.
    """

    position: str
    """Column of the joint positions [rad]."""
    unit: Literal["N m", "N m without gravity", "A", "rad", "1"]
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
    """Column of stamps."""
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    """Unit of the stamps."""
    episode: str | None = None
    """Column that changes from episode to episode; terminals, timeouts and episode_ends are used
    too."""
    max_gap: float | None = None
    """[s] A longer gap between stamps ends an episode; default: gaps do not."""
    acceleration: Literal["step", "filter", "none"] = "step"
    """step: (qd' - qd)/dt; filter: zero-phase Savitzky-Golay filter; none: left to training."""
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
    has_action: np.ndarray  # (N,) False in the last state of an episode if it has no action
    next_state: np.ndarray | None  # (N, n or 2n), if the file has it

    def select(self, rows: slice | np.ndarray) -> TransitionTable:
        """Return some of the rows."""
        columns = {name: c[rows] for name, c in self._asdict().items() if c is not None}
        return self._replace(**columns)


def transition_table(table: Table, config: SequenceConfig) -> TransitionTable:
    """Return the columns of a table with its episodes one after another."""
    action = table.select(config.action, config.observations)
    specifications = [config.position, *([config.velocity] if config.velocity else [])]
    parts = [table.select(text, config.observations) for text in specifications]
    num_extra = parts[0].shape[-2] - action.shape[-2]  # one more state than actions, or none
    if any(part.shape[:-1] != parts[0].shape[:-1] for part in parts) or num_extra not in (0, 1):
        shapes = ", ".join(
            f"{text} {part.shape}" for text, part in zip(specifications, parts, strict=True)
        )
        raise ValueError(
            f"{table.source}: {config.action} {action.shape} does not match {shapes}; "
            "give columns with equally many rows"
        )
    if num_extra:
        padding = [(0, 0)] * (action.ndim - 2) + [(0, 1), (0, 0)]
        action = np.pad(action, padding, mode="edge")
    state = np.concatenate(parts, axis=-1)
    count, length = int(np.prod(state.shape[:-1])), state.shape[-2]
    episode_end = _episode_ends(table, config, count)
    if state.ndim > 2:  # many episodes of equal length
        episode_end[length - 1 :: max(length, 1)] = True
    next_state = _next_states(table, specifications, config)
    state, action = (x.reshape(count, x.shape[-1]) for x in (state, action))
    order = np.arange(count)
    if next_state is not None:
        next_state = next_state.reshape(state.shape)
        order, episode_end = chain_transitions(state, next_state, episode_end)
        state, action, next_state = state[order], action[order], next_state[order]
    episode_end[-1:] = True
    time = _time(table, config, count)
    if config.max_gap is not None:
        episode_end[:-1] |= np.diff(time) > config.max_gap
    has_action = ~episode_end if num_extra else np.ones(count, dtype=bool)
    return TransitionTable(order, time, state, action, episode_end, has_action, next_state)


def _next_states(
    table: Table, specifications: Sequence[str], config: SequenceConfig
) -> np.ndarray | None:
    """Return the state after each row, if the file has it for all columns."""
    columns = [
        column for text in specifications for column in parse_columns(text, config.observations)
    ]
    if not all(NEXT_PREFIX + key in table.columns for key, _ in columns):
        return None
    if config.rate is None:
        raise ValueError(f"{table.source}: the next states have no stamps; give --rate HZ")
    return np.concatenate(
        [table.column_block(NEXT_PREFIX + key, c) for key, c in columns], axis=-1
    )


def _episode_ends(table: Table, config: SequenceConfig, count: int) -> np.ndarray:
    """Return which rows are the last of an episode (count,)."""
    episode_end = np.zeros(count, dtype=bool)
    for name in EPISODE_END_FLAGS:
        if name in table.columns:
            episode_end |= _flat_column(table, name, count).astype(bool)
    for name, values in table.columns.items():
        if name.rpartition("/")[2] == EPISODE_ENDS:
            if not len(values) or values[-1] != count or not (np.diff(values) > 0).all():
                raise ValueError(
                    f"{table.source}: {name} must rise to {count}, the number of rows"
                )
            episode_end[values.astype(int) - 1] = True
    if config.episode is not None:
        values = _flat_column(table, config.episode, count)
        episode_end[:-1] |= values[1:] != values[:-1]
    return episode_end


def _flat_column(table: Table, name: str, count: int, default: str = "") -> np.ndarray:
    values = table.select(name, default).reshape(-1) if default else table.column(name).reshape(-1)
    if len(values) != count:
        raise ValueError(f"{table.source}: {name} has {len(values)} rows, the states {count}")
    return values


def _time(table: Table, config: SequenceConfig, count: int) -> np.ndarray:
    """Return the time of each row (count,) [s].

    Raises:
        ValueError: the stamps are so far apart that their unit is wrong.
    """
    if config.rate is not None:
        return np.arange(count) / config.rate
    stamps = _flat_column(table, str(config.time), count, config.observations).astype(float)
    time = np.asarray(stamps * SECONDS[config.time_unit])
    step = float(np.nanmedian(np.diff(time))) if count > 1 else 0.0
    if step >= MAX_STEP:
        raise ValueError(
            f"{table.source}: {config.time} rises by {step:.6g} s from row to row; give the unit "
            f"of the stamps with --time-unit {'|'.join(SECONDS)}"
        )
    return time
