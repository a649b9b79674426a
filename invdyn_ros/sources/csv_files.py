"""Columns of CSV and text files as programs write them, in several dialects."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow.csv import ConvertOptions, InvalidRow, ParseOptions, ReadOptions, read_csv

from invdyn_ros.sources.array_formats import Contents, arrow_to_numpy
from invdyn_ros.sources.csv_dialect import (
    COMMENTS,
    SNIFFED,
    Dialect,
    find_dialect,
    is_number,
    split_fields,
)

MISSING = ("None", "none", "-", "--", "NAN")  # beside those that pyarrow knows
STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
BOOLEANS = ("true", "false")
BLOCK = 1 << 22  # [bytes]


def csv_contents(path: Path) -> Contents:
    """Return the columns of a file, from its first lines.

    Raises:
        ValueError: it has no rows.
    """
    dialect = find_dialect(path)
    names = _names(dialect)
    labels = [name for k, name in enumerate(names) if _is_text(_values(dialect, k))]
    widths = {name: 0 for name in names if name and name not in labels}
    matrix = tuple(names) if dialect.names is None else ()
    cut = _cut_line(path, dialect)
    notes = (f"{path}: its last line is cut off; it is left out",) if cut else ()
    return Contents(widths, tuple(labels), matrix, notes)


def read_csv_columns(path: Path, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    """Read some columns: numbers, stamps of date and time in seconds, or the number of each text.

    Args:
        path: the file.
        names: of the columns; those of a file without a header are 0, 1, ...

    Raises:
        ValueError: a name stands twice in the header, or a text among the numbers of a column.
    """
    dialect = find_dialect(path)
    known = _names(dialect)
    twice = [name for name in names if known.count(name) > 1]
    if twice:
        raise ValueError(f"{path}: its header has '{twice[0]}' twice; rename one of them")
    types = {}
    for name in names:
        values = _values(dialect, known.index(name))
        if _is_text(values):
            types[name] = pa.string()
        elif not any(STAMP.match(text) or text.lower() in BOOLEANS for text in values):
            types[name] = pa.float64()  # the first rows may hold integers only
    try:
        columns = _read(path, dialect, names, types)
    except pa.ArrowInvalid as error:
        raise _explained(path, dialect, names, error) from error
    arrays = {}
    for name in names:
        column = columns.pop(name)  # which frees its memory
        if pa.types.is_null(column.type):
            column = column.cast(pa.float64())
        arrays[name] = arrow_to_numpy(column, f"{path}: column '{name}'")
    return arrays


def _read(
    path: Path, dialect: Dialect, names: Sequence[str], types: Mapping[str, pa.DataType]
) -> dict[str, pa.ChunkedArray]:
    """Read columns of a file as Arrow columns of given types; others are inferred."""
    keys = {name: str(_names(dialect).index(name)) for name in names}
    cut = _cut_line(path, dialect)

    def on_invalid_row(row: InvalidRow) -> str:
        text = row.text.strip()
        return "skip" if text.startswith(COMMENTS) or (cut and text == cut) else "error"

    table = read_csv(
        _Unpadded(path, dialect.encoding) if dialect.padded else path,
        ReadOptions(
            encoding="utf-8" if dialect.padded else dialect.encoding,
            skip_rows=dialect.first_line,
            column_names=[str(k) for k in range(dialect.width)],
            block_size=BLOCK,
        ),
        ParseOptions(delimiter=dialect.delimiter, invalid_row_handler=on_invalid_row),
        ConvertOptions(
            decimal_point=dialect.decimal_point,
            strings_can_be_null=True,
            null_values=[*ConvertOptions().null_values, *MISSING],
            include_columns=list(keys.values()),
            column_types={keys[name]: kind for name, kind in types.items()},
        ),
    )
    return {name: table[key] for name, key in keys.items()}


def _names(dialect: Dialect) -> list[str]:
    """Return a name for each column; without a header its number."""
    names = dialect.names or [str(k) for k in range(dialect.width)]
    return [*names, *[""] * (dialect.width - len(names))]


def _values(dialect: Dialect, column: int) -> list[str]:
    """Return the values of a column in the first rows, without missing ones."""
    missing = {*ConvertOptions().null_values, *MISSING}
    values = [row[column] for row in dialect.sample if column < len(row)]
    return [text for text in values if text not in missing]


def _is_text(values: Sequence[str]) -> bool:
    """Return whether most values of a column are texts."""
    texts = [
        text
        for text in values
        if not (is_number(text, ",") or is_number(text) or STAMP.match(text))
        and text.lower() not in BOOLEANS
    ]
    return len(texts) > len(values) / 2


def _cut_line(path: Path, dialect: Dialect) -> str:
    """Return the last line if a program ended while writing it, or ""."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - SNIFFED, 0))
        end = file.read()
    text = end.decode(dialect.encoding, errors="replace")
    line = text.splitlines()[-1].strip() if not text.endswith(("\n", "\r")) else ""
    return line if line and len(split_fields(line, dialect.delimiter)) < dialect.width else ""


def _explained(
    path: Path, dialect: Dialect, names: Sequence[str], error: pa.ArrowInvalid
) -> Exception:
    """Return an error that names the row of a text among numbers, or the error."""
    short = re.search(r"Expected (\d+) columns, got (\d+): (.*)", str(error))
    if short:
        return ValueError(
            f"{path}: the row '{short[3]}' has {short[2]} values, others have {short[1]}; repair "
            "or remove it"
        )
    if "conversion error" not in str(error):
        return error
    columns = _read(path, dialect, names, dict.fromkeys(names, pa.string()))
    for name, column in columns.items():
        texts = column.to_pylist()
        wrong = [
            k for k, text in enumerate(texts) if not is_number(text or "", dialect.decimal_point)
        ]
        if wrong and not _is_text(_values(dialect, _names(dialect).index(name))):
            return ValueError(
                f"{path}: column '{name}' holds '{texts[wrong[0]]}' in row {wrong[0]} (of "
                f"{len(wrong)} such rows); repair them, or leave the field empty and give "
                "--skip-invalid"
            )
    return error


class _Unpadded(io.RawIOBase):
    """A text file with a single blank between the values of a line, as UTF-8."""

    def __init__(self, path: Path, encoding: str) -> None:
        super().__init__()
        self._file = path.open(encoding=encoding.replace("utf-8", "utf-8-sig"))
        self._buffer = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, at the end of the file fewer."""
        while size < 0 or len(self._buffer) < size:
            text = self._file.read(BLOCK) + self._file.readline()
            if not text:
                break
            lines = re.sub(r"[ \t]+", " ", text)
            self._buffer += re.sub(r"(?m)^ | $", "", lines).encode()
        size = len(self._buffer) if size < 0 else size
        part, self._buffer = self._buffer[:size], self._buffer[size:]
        return part

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
