"""Columns of a table by name, range and pattern."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from invdyn_ros.sources.column_units import without_unit

WILDCARD = "*"
ALL = slice(None)


class Columns(NamedTuple):
    """Columns of an array, with the factor to SI units."""

    name: str
    part: slice = ALL
    factor: float = 1.0


def parse_columns(text: str, default: str) -> list[tuple[str, slice]]:
    """Parse NAME, NAME:A:B or A:B (of the default name), or several of these separated by commas.

    Returns:
        (name, columns) pairs; A:B are the columns A to B-1.
    """
    columns = []
    for word in text.split(","):
        parts = re.fullmatch(r"(?:(.+):)?(\d+):(\d+)", word.strip())
        if parts is None:
            columns.append((word.strip(), ALL))
        else:
            name, first, end = parts.groups()
            columns.append((name or default, slice(int(first), int(end))))
    return columns


def find_columns(
    text: str, default: str, widths: Mapping[str, int], joints: Sequence[str] = ()
) -> list[Columns]:
    """Return the columns of a table that a text names; see `parse_columns`.

    A name may be without the unit in brackets that the column has, and stand for several columns
    by a `*`: those with a number there, if there are any, in the order of the numbers; else in the
    order of the joints that they are named after, or of the file.

    Args:
        text: columns as a user names them.
        default: array of ranges without a name.
        widths: name of each column of the table -> number of its columns.
        joints: names of the joints.

    Raises:
        ValueError: there is no such column, or several of this name.
    """
    columns = []
    for name, part in parse_columns(text, default):
        if name in widths:
            columns.append(Columns(name, part))
            continue
        plain = {key: without_unit(key) for key in widths}
        if WILDCARD in name:
            columns += [Columns(key, part) for key in _matches(name, widths, joints)]
            continue
        same = [key for key, short in plain.items() if short == name]
        if len(same) != 1:
            number = f"{len(same)} columns" if same else "no column"
            raise ValueError(f"{number} '{name}'; it has {describe(widths)}")
        columns.append(Columns(same[0], part))
    return columns


def _matches(pattern: str, widths: Mapping[str, int], joints: Sequence[str]) -> list[str]:
    """Return the columns whose name without a unit matches a pattern, in order."""
    plain = {key: without_unit(key) for key in widths}
    expression = re.compile(re.escape(pattern).replace(re.escape(WILDCARD), "(.*)"))
    matched = {key: expression.fullmatch(name) for key, name in plain.items()}
    parts = {key: "".join(match.groups()) for key, match in matched.items() if match}
    if not parts:
        raise ValueError(f"no column '{pattern}'; it has {describe(widths)}")
    numbers = {key: _number(part) for key, part in parts.items()}
    if any(number is not None for number in numbers.values()):
        return sorted(
            (key for key in parts if numbers[key] is not None), key=lambda key: numbers[key] or 0
        )
    of_joint = [[key for key in parts if _is_of(plain[key], joint)] for joint in joints]
    if joints and all(len(keys) == 1 for keys in of_joint) and len(parts) >= len(joints):
        return [key for (key,) in of_joint]
    return list(parts)


def _number(part: str) -> int | None:
    """Return the number that a wildcard stands for, without a unit after it."""
    match = re.fullmatch(r"\W*(\d+)\W*(_[A-Za-z]+)?", part)
    return int(match[1]) if match else None


def _is_of(name: str, joint: str) -> bool:
    """Return whether a column is named after a joint."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(joint)}(?![A-Za-z0-9])", name) is not None


def describe(widths: Mapping[str, int]) -> str:
    """Return the names of columns in words, numbered ones as the pattern that they match."""
    names = [f"{name}:0:{width}" if width else name for name, width in widths.items()]
    if any(widths.values()):  # without a header columns also have a number as a name
        names = [name for name in names if not name.isdigit()]
    texts = []
    for pattern, group in groupby(names, lambda name: re.sub(r"\d+(?!.*\d)", WILDCARD, name)):
        members = list(group)
        numbered = len(members) > 1
        texts.append(f"{pattern} ({len(members)} columns)" if numbered else members[0])
    return ", ".join(texts) or "none of numbers"
