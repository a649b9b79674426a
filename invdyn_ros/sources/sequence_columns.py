"""Columns of a table that hold motion, actions, time and episodes, and their units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from invdyn_ros.sources.array_files import Table
from invdyn_ros.sources.column_names import WILDCARD, Columns, describe
from invdyn_ros.sources.column_roles import find_episode, find_time
from invdyn_ros.sources.column_units import ColumnUnit, unit_of
from invdyn_ros.sources.sequence_config import ActionUnit, SequenceConfig

# columns that are true in the last row of an episode
EPISODE_END_FLAGS = (
    *("terminals", "timeouts", "terminations", "truncations", "dones"),
    *("terminated", "truncated", "done", "is_last"),
)
EPISODE_ENDS = "episode_ends"  # column of the first row after each episode
NEXT_PREFIX = "next_"  # before the name of a column: its values in the next state
SECOND = ColumnUnit("s", 1.0)
# dimension in the header of a column of actions -> units of actions
ACTION_UNITS: dict[str, tuple[ActionUnit, ...]] = {
    "N m": ("N m", "N m without gravity"),
    "N": ("N m", "N m without gravity"),
    "A": ("A",),
    "rad": ("rad",),
    "m": ("rad",),
}


class SequenceColumns(NamedTuple):
    """Columns of a table by what they hold."""

    position: list[Columns]
    velocity: list[Columns]
    action: list[Columns]
    next_state: list[Columns]
    """Empty if the table does not have them for all positions and velocities."""
    time: list[Columns]
    """Stamps, or seconds and nanoseconds; empty if there is a rate."""
    time_unit: ColumnUnit | None
    """None: it is not stated."""
    episode: str | None
    flags: tuple[str, ...]
    ends: tuple[str, ...]
    unit: ActionUnit
    choices: tuple[str, ...]
    """What was chosen without being named by the user, in words."""

    @property
    def names(self) -> list[str]:
        """Names of all columns in use."""
        columns = [*self.position, *self.velocity, *self.action, *self.next_state, *self.time]
        episode = () if self.episode is None else (self.episode,)
        return [*(item.name for item in columns), *self.flags, *self.ends, *episode]


def find_sequence_columns(
    table: Table, config: SequenceConfig, joints: Sequence[str]
) -> SequenceColumns:
    """Return the columns of a table that a configuration names, or that are known by their names.

    Args:
        table: columns of a file.
        config: columns and units that the user states.
        joints: names of the joints; empty: unknown.

    Raises:
        ValueError: a column is missing, or its unit is another one than stated.
    """
    default, names = config.observations, table.contents.widths
    if not config.position:
        raise ValueError(
            f"{table.source}: give --position with the columns of the joint positions, and "
            f"--velocity, --action and --time where it has them; it has {describe(names)}"
        )
    action = table.find(config.action, default, joints)
    position = table.find(config.position, default, joints)
    velocity = table.find(config.velocity, default, joints) if config.velocity else []
    time = _time_columns(table, config)
    try:
        unit, action = _actions(action, config)
        position = [_in_si(item, "rad", config) for item in position]
        velocity = [_in_si(item, "rad/s", config) for item in velocity]
        time, time_unit = _time_unit(time, config)
    except ValueError as error:
        raise ValueError(f"{table.source}: {error}") from error
    following = [item._replace(name=NEXT_PREFIX + item.name) for item in [*position, *velocity]]
    episode = config.episode
    if episode is None and not table.is_episode:
        episode = find_episode([*names, *table.contents.labels])
    choices = (
        _choice("positions", config.position, position),
        _choice("velocities", config.velocity or "", velocity),
        _choice("actions", config.action, action),
    )
    return SequenceColumns(
        position,
        velocity,
        action,
        following if all(item.name in names for item in following) else [],
        time,
        time_unit,
        episode,
        () if table.is_episode else tuple(f for f in EPISODE_END_FLAGS if f in names),
        tuple(name for name in names if name.rpartition("/")[2] == EPISODE_ENDS),
        unit,
        tuple(filter(None, choices)),
    )


def _in_si(columns: Columns, dimension: str, config: SequenceConfig) -> Columns:
    """Return columns with the factor to SI units.

    Args:
        columns: of positions or velocities.
        dimension: "rad" or "rad/s".
        config: unit that the user states, which counts more than one in the header.

    Raises:
        ValueError: the header states a unit of another dimension.
    """
    if config.position_unit is not None:
        return columns._replace(factor=math.pi / 180 if config.position_unit == "deg" else 1.0)
    unit = unit_of(columns.name, dimension)
    if unit is None:
        return columns
    if unit.dimension not in (dimension, dimension.replace("rad", "m")):
        raise ValueError(
            f"column '{columns.name}' is in {unit.dimension}, not in {dimension}; choose another "
            "one, or state its unit with --position-unit"
        )
    return columns._replace(factor=unit.factor)


def _actions(columns: list[Columns], config: SequenceConfig) -> tuple[ActionUnit, list[Columns]]:
    """Return the unit of the actions, and their columns with the factor to it.

    Raises:
        ValueError: no unit is stated, or another one than in the header.
    """
    units = [unit_of(item.name, "N m") or unit_of(item.name, "rad") for item in columns]
    stated = [ACTION_UNITS.get(unit.dimension, ()) for unit in units if unit]
    choice = config.unit or (stated[0][0] if stated and stated[0] else None)
    if choice is None:
        raise ValueError(
            "the unit of the actions is not stated; give --unit 'N m', 'N m without gravity', A "
            "or rad"
        )
    for item, unit in zip(columns, units, strict=True):
        if unit is not None and choice not in ACTION_UNITS.get(unit.dimension, ()):
            raise ValueError(
                f"column '{item.name}' is in {unit.dimension}, but --unit is {choice}"
            )
    if config.position_unit == "deg" and choice == "rad":
        return choice, [item._replace(factor=math.pi / 180) for item in columns]
    factors = [unit.factor if unit else 1.0 for unit in units]
    return choice, [
        item._replace(factor=factor) for item, factor in zip(columns, factors, strict=True)
    ]


def _time_columns(table: Table, config: SequenceConfig) -> list[Columns]:
    """Return the columns of stamps, or of seconds and nanoseconds; none if there is a rate.

    Raises:
        ValueError: there is neither a rate nor a column of stamps.
    """
    if config.rate is not None:
        return []
    if config.time is not None:
        return table.find(config.time, config.observations)
    names = table.contents.widths
    columns = [Columns(name) for name in find_time(names)]
    if not columns:
        texts = find_time(table.contents.labels)
        problem = (
            f"column '{texts[0]}' holds texts that are no stamps such as 2026-11-30 14:00:00.01"
            if texts
            else "no column is named as stamps are"
        )
        raise ValueError(
            f"{table.source}: {problem}; give --rate HZ, or --time COLUMN, one of "
            f"{describe(names)}"
        )
    return columns


def _time_unit(
    columns: list[Columns], config: SequenceConfig
) -> tuple[list[Columns], ColumnUnit | None]:
    """Return the columns of stamps in one unit, and that unit if it is stated."""
    if len(columns) == 2:  # seconds and nanoseconds
        return [columns[0], columns[1]._replace(factor=1e-9)], SECOND
    is_stated = len(columns) == 1 and config.time_unit is None
    return columns, unit_of(columns[0].name, "s") if is_stated else None


def _choice(what: str, text: str, columns: Sequence[Columns]) -> str:
    """Return in words which columns a pattern stands for, and whether their unit is converted."""
    factors = {item.factor for item in columns}
    if WILDCARD not in text and factors <= {1.0}:
        return ""
    first, last = columns[0].name, columns[-1].name
    names = first if len(columns) == 1 else f"{first} to {last}"
    return f"{what} {names}" + ("" if factors <= {1.0} else " converted to SI units")
