"""How a CSV or text file is written: separator, decimal point, header and units."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from invdyn_ros.sources.column_units import parse_unit

DELIMITERS = (";", "\t", ",", "|")  # in this order: a comma may be that of a decimal number
BLANK = " "  # separator of files whose columns are separated by any number of blanks
COMMENTS = ("#", "%", "//")
SNIFFED = 1 << 16  # [bytes] at the start of a file that tell its dialect
SAMPLED_ROWS = 20
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
NO_UNIT = ("", "-", "1")


class Dialect(NamedTuple):
    """How a CSV file is written.

    Attributes:
        encoding: of the text.
        delimiter: between the values.
        decimal_point: of the numbers.
        names: of the columns; None: there is no header.
        first_line: lines before the first row.
        width: number of columns.
        padded: whether blanks beside the values have to be removed.
        sample: fields of the first rows.
    """

    encoding: str
    delimiter: str
    decimal_point: str
    names: list[str] | None
    first_line: int
    width: int
    padded: bool
    sample: list[list[str]]


def find_dialect(path: Path) -> Dialect:
    """Return how a CSV file is written, from its first lines.

    Raises:
        ValueError: it has no line beside comments.
    """
    with path.open("rb") as file:
        start = file.read(SNIFFED)
    encoding = _encoding(start)
    lines = start.decode(encoding.replace("utf-8", "utf-8-sig"), errors="replace").splitlines()
    if len(start) == SNIFFED and len(lines) > 1:
        lines.pop()  # a part of a line
    nonempty = [k for k, line in enumerate(lines) if line.strip()]
    rows = [k for k in nonempty if not _is_comment(lines[k])]
    if not rows:
        raise ValueError(f"{path}: it has no rows; record or download it again")
    delimiter = _delimiter([lines[k] for k in rows[:SAMPLED_ROWS]])
    has_comma = any(re.search(r"\d,\d", lines[k]) for k in rows[-SAMPLED_ROWS:])
    point = "," if delimiter != "," and has_comma else "."
    rows = rows[: 3 * SAMPLED_ROWS]
    fields = [split_fields(lines[k], delimiter) for k in rows]
    first = _first_row(fields, point)
    if first is None and has_comma:  # quoted numbers such as "0,5" between commas
        point = ","
        first = _first_row(fields, point)
    if first is None:
        raise ValueError(f"{path}: it has no rows of numbers; record or download it again")
    first = _after_preamble(fields, first, point)
    data, width = fields[first:], max(map(len, fields[first : first + 2]))
    before = [lines[k].lstrip() for k in nonempty if k < rows[first]]
    comments = [line.lstrip(BLANK + "".join(COMMENTS)) for line in before if _is_comment(line)]
    is_indexed = any(len(row) == width and row[-1] for row in data)
    names = _header(fields[:first], comments, delimiter, width, is_indexed)
    padded = delimiter == BLANK and any(lines[k] != BLANK.join(lines[k].split()) for k in rows)
    return Dialect(encoding, delimiter, point, names, rows[first], width, padded, data)


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(COMMENTS)


def _encoding(start: bytes) -> str:
    """Return the encoding of a text from its first bytes."""
    if start.startswith(UTF16_MARKS):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "cp1252"  # of a degree sign in a header, as old programs write it
    return "utf-8"


def _delimiter(lines: Sequence[str]) -> str:
    """Return the separator that most lines have."""
    for delimiter in DELIMITERS:
        if sum(delimiter in line for line in lines) > len(lines) / 2:
            return delimiter
    return BLANK if any(len(line.split()) > 1 for line in lines) else ","


def split_fields(line: str, delimiter: str) -> list[str]:
    """Return the values of a line, without quotes and spaces around them."""
    text = BLANK.join(line.split()) if delimiter == BLANK else line
    (fields,) = csv.reader([text], delimiter=delimiter, skipinitialspace=True)
    return [field.strip() for field in fields]


def _first_row(rows: Sequence[list[str]], point: str) -> int | None:
    """Return the index of the first row that is neither a title, nor a header, nor of units."""
    for k, fields in enumerate(rows):
        widths = [len(row) for row in rows[k + 1 : k + 3]]
        is_title = (
            len(widths) == 2
            and widths[0] == widths[1] != len(fields)
            and all(len(row) != widths[0] for row in rows[:k])
        )
        numbers = [field for field in fields if field and is_number(field, point)]
        following = rows[k + 1] if k + 1 < len(rows) else []
        if numbers and not is_title and not _is_numbered_header(fields, numbers, following):
            return k
    return None


def _after_preamble(rows: Sequence[list[str]], first: int, point: str) -> int:
    """Return the index of the first row after a preamble of names and values, as LabVIEW writes.

    Such a preamble has another number of columns than the rows, and a header after it.
    """
    start = first
    for k, fields in enumerate(rows[first:-1], first):
        named = [field for field in fields if field and not is_number(field, point)]
        width = len(rows[k + 1])
        is_header = len(fields) - width in (0, 1) and len(named) >= max(width, 2)
        if is_header and width != len(rows[first]):
            start = k + 1
    return start


def _is_numbered_header(
    fields: Sequence[str], numbers: Sequence[str], following: Sequence[str]
) -> bool:
    """Return whether a line is a header such as ",0,1,2" or "0,1,2", which pandas writes.

    Args:
        fields: of the line.
        numbers: those that are not empty and numbers.
        following: fields of the next line.
    """
    is_counted = len(numbers) > 1 and list(numbers) == [str(k) for k in range(len(numbers))]
    has_fractions = not any(field.isdigit() for field in following)
    is_same = len(fields) == len(following)
    return is_counted and is_same and (len(numbers) < len(fields) or has_fractions)


def _header(
    titles: Sequence[list[str]],
    comments: Sequence[str],
    delimiter: str,
    width: int,
    is_indexed: bool,
) -> list[str] | None:
    """Return the names of the columns, None if there are none.

    Args:
        titles: fields of the lines before the first row.
        comments: comments before the first row, without their marks.
        delimiter: between the values.
        width: number of columns.
        is_indexed: whether the first column is the one that a shorter header lacks, as R writes
            the numbers of rows; otherwise it is the last one, which is empty.
    """
    near = [fields for fields in titles if abs(width - len(fields)) <= 1]
    missing = [[""] * (width - len(fields)) for fields in near]
    lines = [
        (blank + fields if is_indexed else fields + blank)[:width]
        for fields, blank in zip(near, missing, strict=True)
    ]
    if lines:
        units = [parse_unit(field) for field in lines[-1]]
        known = all(unit or field in NO_UNIT for unit, field in zip(units, lines[-1], strict=True))
        if len(lines) > 1 and known and any(units):
            return [
                f"{name} [{field}]" if unit else name
                for name, field, unit in zip(lines[-2], lines[-1], units, strict=True)
            ]
        return [_joined([line[k] for line in lines], lines[-1]) for k in range(width)]
    # as numpy.savetxt writes it
    header = split_fields(comments[-1], delimiter) if comments else []
    return header if len(header) == width > 1 else None


def _joined(levels: Sequence[str], names: Sequence[str]) -> str:
    """Return the name of a column of a header of several levels, as pandas writes it.

    Args:
        levels: of the column.
        names: of all columns, in the last level.
    """
    last = levels[-1]
    return last if last and names.count(last) == 1 else "_".join(filter(None, levels))


def is_number(text: str, point: str = ".") -> bool:
    """Return whether a text is a number, or stands for a missing one."""
    try:
        float(text.replace(point, ".") or "nan")
    except ValueError:
        return False
    return True
