"""Columns of CSV files as programs write them: with or without a header, in several dialects."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv

DELIMITERS = (";", "\t", ",")  # in this order: a comma may be that of a decimal number
COMMENT = "#"
SNIFFED = 1 << 16  # [bytes] at the start of a file that tell its dialect
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Dialect(NamedTuple):
    """How a CSV file is written.

    Attributes:
        encoding: of the text.
        delimiter: between the values.
        decimal_point: of the numbers.
        names: of the columns; None: there is no header.
        first_line: lines before the first row.
        width: number of columns.
    """

    encoding: str
    delimiter: str
    decimal_point: str
    names: list[str] | None
    first_line: int
    width: int


def read_csv_columns(path: Path, matrix: str) -> dict[str, np.ndarray]:
    """Read the columns of numbers, and stamps of date and time in seconds.

    Args:
        path: the file.
        matrix: name of the (N, k) array of all columns if the file has no header.

    Raises:
        ValueError: a name stands twice in the header, or a text among the numbers of a column.
    """
    dialect = find_dialect(path)
    names = dialect.names or [str(k) for k in range(dialect.width)]
    twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if twice:
        raise ValueError(f"{path}: its header has '{twice[0]}' twice; rename one of them")
    table = read_csv(
        path,
        ReadOptions(encoding=dialect.encoding, skip_rows=dialect.first_line, column_names=names),
        ParseOptions(delimiter=dialect.delimiter),
        ConvertOptions(decimal_point=dialect.decimal_point, strings_can_be_null=True),
    )
    columns = {}
    for name, column in zip(names, table.columns, strict=True):
        values = _numbers(column.combine_chunks(), f"{path}: column '{name}'")
        if values is not None:
            columns[name] = values
    return columns if dialect.names else {matrix: np.column_stack(list(columns.values()))}


def find_dialect(path: Path) -> Dialect:
    """Return how a CSV file is written, from its first lines.

    Raises:
        ValueError: it has no line beside comments.
    """
    with path.open("rb") as file:
        start = file.read(SNIFFED)
    encoding = "utf-16" if start.startswith(UTF16_MARKS) else "utf-8"
    lines = start.decode(encoding.replace("utf-8", "utf-8-sig"), errors="replace").splitlines()
    nonempty = [k for k, line in enumerate(lines) if line.strip()]
    rows = [k for k in nonempty if not lines[k].lstrip().startswith(COMMENT)]
    if not rows:
        raise ValueError(f"{path}: it has no rows; record or download it again")
    first = lines[rows[0]]
    delimiter = next((d for d in DELIMITERS if d in first), ",")
    point = "," if delimiter != "," and any(_has_comma(lines[k]) for k in rows[:2]) else "."
    fields = _fields(first, delimiter)
    if not all(_is_number(field, point) for field in fields):
        return Dialect(encoding, delimiter, point, fields, rows[0] + 1, len(fields))
    comments = [lines[k].lstrip(" " + COMMENT) for k in nonempty if k < rows[0]]
    header = _fields(comments[-1], delimiter) if comments else []  # as numpy.savetxt writes it
    names = header if len(header) == len(fields) > 1 else None
    return Dialect(encoding, delimiter, point, names, rows[0], len(fields))


def _has_comma(line: str) -> bool:
    """Return whether a line has a number with a decimal comma."""
    return re.search(r"\d,\d", line) is not None


def _fields(line: str, delimiter: str) -> list[str]:
    """Return the values of a line, without quotes and spaces around them."""
    (fields,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    return [field.strip() for field in fields]


def _is_number(text: str, point: str = ".") -> bool:
    """Return whether a text is a number, or stands for a missing one."""
    try:
        float(text.replace(point, ".") or "nan")
    except ValueError:
        return False
    return True


def _numbers(column: pa.Array, where: str) -> np.ndarray | None:
    """Return the numbers of a column, null is NaN; None: it holds texts.

    Raises:
        ValueError: there is a text among numbers.
    """
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns")).cast(pa.int64())
        return np.asarray(column.to_numpy(zero_copy_only=False)) / 1e9
    if pa.types.is_string(column.type):
        texts = column.to_pylist()
        wrong = [k for k, text in enumerate(texts) if not _is_number(text or "")]
        if len(wrong) < len(texts) / 2:  # fewer are no labels
            raise ValueError(
                f"{where} holds '{texts[wrong[0]]}' in row {wrong[0]} (of {len(wrong)} such "
                "rows); repair them, or leave the field empty and give --skip-invalid"
            )
        return None
    values = np.asarray(column.to_numpy(zero_copy_only=False))
    if values.dtype == object:  # no row, or only missing values
        return np.full(len(values), np.nan)
    return values if values.dtype.kind in "biuf" else None
