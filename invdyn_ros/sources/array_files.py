"""Tables of named columns from files of arrays, of which only those asked for are decoded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invdyn_ros.data.files import reading
from invdyn_ros.data.lerobot_format import INFO
from invdyn_ros.sources.array_formats import FORMATS, ArrayFormat, Contents
from invdyn_ros.sources.column_names import ALL, Columns, find_columns, parse_columns
from invdyn_ros.sources.column_units import without_unit
from invdyn_ros.sources.import_result import recording_names
from invdyn_ros.sources.minari_arrow import EPISODE as MINARI_EPISODE
from invdyn_ros.sources.minari_arrow import episode_folders
from invdyn_ros.sources.zarr_files import is_zarr

MINARI_FOLDER = "data"  # of the files in the folder of a Minari dataset
TEXTS = (".txt", ".dat")  # of recordings, but also of notes
CACHED_ROWS = 8192  # that are filled while they are in the cache
MATRIX = "observations"  # array of a CSV file without a header


class Table(NamedTuple):
    """Columns of a file, or of a group in a file, none of which is decoded yet."""

    source: str
    contents: Contents
    read: Callable[[Sequence[str]], Mapping[str, np.ndarray]]
    recording: str = ""
    is_episode: bool = False
    """Whether the rows are one episode, as in the group demo_12."""

    def find(self, text: str, default: str, joints: Sequence[str] = ()) -> list[Columns]:
        """Return the columns that a text names; see `find_columns`.

        Args:
            text: columns as a user names them.
            default: array of ranges without a name.
            joints: names of the joints.

        Raises:
            ValueError: there are no such columns.
        """
        widths, matrix = self.contents.widths, self.contents.matrix
        if matrix:
            widths = widths | {MATRIX: len(matrix)}
        try:
            selected = find_columns(text, default, widths, joints)
        except ValueError as error:
            names = [name for name, _ in parse_columns(text, default)]
            texts = [
                label
                for label in self.contents.labels
                if any(fnmatchcase(without_unit(label), name) for name in names)
            ]
            hint = ", since it has no header; name ranges, such as 0:2" if matrix else ""
            problem = f"column '{texts[0]}' holds texts, not numbers" if texts else error
            raise ValueError(f"{self.source}: {problem}{hint}") from error
        columns = []
        for item in selected:
            if matrix and item.name == MATRIX:
                _check_range(self.source, item, len(matrix))
                columns += [item._replace(name=name, part=ALL) for name in matrix[item.part]]
            else:
                columns.append(item)
        return columns

    def load(self, names: Iterable[str]) -> LoadedTable:
        """Read some columns."""
        return LoadedTable(self.source, self.read(list(dict.fromkeys(names))))


class LoadedTable(NamedTuple):
    """Values of the columns of a table that are in use."""

    source: str
    arrays: Mapping[str, np.ndarray]  # name -> (N, ...) or (episodes, T, ...)

    def block(self, columns: Sequence[Columns]) -> np.ndarray:
        """Return columns side by side as (N, k) or (episodes, T, k), in SI units.

        Raises:
            ValueError: an array is not that wide, or they have different numbers of rows.
        """
        parts = []
        for item in columns:
            values = self.arrays[item.name]
            values = values[:, None] if values.ndim == 1 else values
            _check_range(self.source, item, values.shape[-1])
            parts.append(values[..., item.part])
        if len({part.shape[:-1] for part in parts}) > 1:
            names = ", ".join(
                f"{item.name} {part.shape}" for item, part in zip(columns, parts, strict=True)
            )
            raise ValueError(f"{self.source}: {names}; choose columns of equally many rows")
        ends = np.cumsum([part.shape[-1] for part in parts])
        block = np.empty((*parts[0].shape[:-1], ends[-1]))
        for row in range(0, len(block), CACHED_ROWS):
            rows = slice(row, row + CACHED_ROWS)
            for item, part, end in zip(columns, parts, ends, strict=True):
                place = block[rows, ..., end - part.shape[-1] : end]
                np.multiply(part[rows], item.factor, out=place)
        return block

    def flat(self, name: str, count: int) -> np.ndarray:
        """Return a column of `count` rows as (count,).

        Raises:
            ValueError: it has another number of rows.
        """
        values = self.arrays[name].reshape(-1)
        if len(values) != count:
            raise ValueError(f"{self.source}: {name} has {len(values)} rows, the states {count}")
        return values


def _check_range(source: str, columns: Columns, width: int) -> None:
    part = columns.part
    if part.stop is not None and not part.start < part.stop <= width:
        raise ValueError(
            f"{source}: {columns.name} has {width} columns; {part.start}:{part.stop} are out of "
            "range"
        )


def read_tables(path: str | Path, key: str) -> list[Table]:
    """Return the tables of a file, a zarr store or a folder of files.

    Args:
        path: file, zarr store or folder.
        key: a column of every table. If groups of a file have it, each group is a table.

    Raises:
        ValueError: no such file, an unknown format, or a damaged file.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if path.is_dir() and not is_zarr(path):
        files = [p for p in sorted(path.iterdir()) if _format_name(p) in FORMATS]
        if not files and (folders := episode_folders(path)):
            return [_episode_table(folder) for folder in folders]
        if not files and (path / INFO).is_file():
            raise ValueError(f"{path} is a LeRobot folder; read it with 'invdyn collect dataset'")
        if not files and (path / MINARI_FOLDER).is_dir():
            tables = read_tables(path / MINARI_FOLDER, key)
            return [table._replace(recording=path.resolve().name) for table in tables]
        if not files:
            raise ValueError(f"{path}: no file of a known format; known are {', '.join(FORMATS)}")
        return _folder_tables(files, key)
    name = _format_name(path)
    if name not in FORMATS:
        raise ValueError(f"{path}: unknown file format; known are {', '.join(FORMATS)}")
    (recording,) = recording_names([path])
    table = _table(path, f"{name[1:]} file", FORMATS[name])
    return _split_groups(table._replace(recording=recording), key)


def _table(path: Path, kind: str, format_: ArrayFormat) -> Table:
    """Return the table of a file, or of a folder that is read as one."""
    with reading(path, kind):
        contents = format_.contents(path)

    def read(names: Sequence[str]) -> Mapping[str, np.ndarray]:
        with reading(path, kind):
            return format_.read(path, names)

    return Table(str(path), contents, read)


def _episode_table(folder: Path) -> Table:
    """Return the table of an episode of Minari in Arrow files."""
    table = _table(folder, "episode of Minari", MINARI_EPISODE)
    recording = folder.resolve().parent.name
    return table._replace(recording=recording, is_episode=True)


def _folder_tables(files: Sequence[Path], key: str) -> list[Table]:
    """Return the tables of several files; a text without the key, such as a README, is left out.

    Raises:
        ValueError: a damaged file, or no text has the key.
    """
    tables: list[Table] = []
    texts: dict[Path, ValueError] = {}
    for file, name in zip(files, recording_names(files), strict=True):
        try:
            parts = read_tables(file, key)
            if file.suffix.lower() in TEXTS:
                parts[0].find(key, MATRIX)
        except ValueError as error:
            if file.suffix.lower() not in TEXTS:
                raise
            texts[file] = error
        else:
            tables += [table._replace(recording=name) for table in parts]
    if not tables:
        raise next(iter(texts.values()))
    contents = tables[0].contents
    notes = tuple(f"{file}: no recording; it is left out" for file in texts)
    tables[0] = tables[0]._replace(contents=contents._replace(notes=(*contents.notes, *notes)))
    return tables


def _format_name(path: Path) -> str:
    return ".zarr" if is_zarr(path) else path.suffix.lower()


def _split_groups(table: Table, key: str) -> list[Table]:
    """Return a table for each group with the key, in the order of the numbers in their names."""
    names = table.contents.widths
    groups = {name.removesuffix(key) for name in names if name.endswith(f"/{key}")}
    if key in names or not groups:
        return [table]
    members: dict[str, list[str]] = {group: [] for group in ("", *groups)}
    for name in names:
        folders = (name[: k + 1] for k, letter in enumerate(name) if letter == "/")
        members[next((folder for folder in folders if folder in groups), "")].append(name)
    outside = members.pop("")
    return [
        _group(table, group, members[group], outside)
        for group in sorted(groups, key=_natural_sort_key)
    ]


def _group(table: Table, group: str, inside: Sequence[str], outside: Sequence[str]) -> Table:
    """Return the columns of a group, without its name, and those that are in no group."""
    full = {name.removeprefix(group): name for name in inside} | {name: name for name in outside}

    def read(names: Sequence[str]) -> dict[str, np.ndarray]:
        arrays = table.read([full[name] for name in names])
        return {name: arrays[full[name]] for name in names}

    widths = {name: table.contents.widths[long] for name, long in full.items()}
    return Table(
        f"{table.source}:{group[:-1]}",
        Contents(widths),
        read,
        table.recording,
        re.fullmatch(r".*\d/", group) is not None,
    )


def _natural_sort_key(text: str) -> list[int | str]:
    """Return a key that sorts demo_2 before demo_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]
