"""Tables of named columns from files of arrays: npz, HDF5, zarr, parquet and CSV."""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from invdyn_ros.data.files import check_size, reading
from invdyn_ros.data.parquet import read_table
from invdyn_ros.sources.import_result import recording_names

MATRIX = "observations"  # array of a CSV file without a header
MAX_DIMENSIONS = 3  # of an array of motion; images have more
ZARR_FILES = (".zgroup", ".zarray", "zarr.json")


class Table(NamedTuple):
    """Columns of a file, or of a group in a file."""

    source: str
    columns: dict[str, np.ndarray]  # name -> (N, ...) or (episodes, T, ...)
    recording: str = ""

    def column(self, name: str) -> np.ndarray:
        """Return a column.

        Raises:
            ValueError: there is no such column.
        """
        if name not in self.columns:
            raise ValueError(
                f"{self.source}: no column '{name}'; it has "
                f"{', '.join(map(_description, self.columns.items())) or 'none of numbers'}"
            )
        return self.columns[name]

    def select(self, text: str, default: str) -> np.ndarray:
        """Return the columns (N, k) or (episodes, T, k) of a text; see `parse_columns`."""
        return np.concatenate(
            [self.column_block(*p) for p in parse_columns(text, default)], axis=-1
        )

    def column_block(self, name: str, columns: slice) -> np.ndarray:
        """Return a slice (N, k) or (episodes, T, k) of an array.

        Raises:
            ValueError: the array does not exist or is not that wide.
        """
        values = self.column(name).astype(np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if columns.stop is not None and not columns.start < columns.stop <= values.shape[-1]:
            raise ValueError(
                f"{self.source}: {name} has {values.shape[-1]} columns; "
                f"{columns.start}:{columns.stop} are out of range"
            )
        return values[..., columns]


def _description(column: tuple[str, np.ndarray]) -> str:
    """Return name and columns of an array, as options name them."""
    name, values = column
    return f"{name}:0:{values.shape[-1]}" if values.ndim > 1 else name


def parse_columns(text: str, default: str) -> list[tuple[str, slice]]:
    """Parse NAME, NAME:A:B or A:B (of the default name), or several of these separated by commas.

    Returns:
        (name, columns) pairs; A:B are the columns A to B-1.
    """
    columns = []
    for word in text.split(","):
        parts = re.fullmatch(r"(?:(.+):)?(\d+):(\d+)", word)
        if parts is None:
            columns.append((word, slice(None)))
        else:
            name, first, end = parts.groups()
            columns.append((name or default, slice(int(first), int(end))))
    return columns


def read_tables(path: str | Path, key: str) -> list[Table]:
    """Read a file, a zarr store or a folder of files.

    Args:
        path: file, zarr store or folder.
        key: a column of every table. If groups of a file have it, each group is a table.

    Raises:
        ValueError: no such file, an unknown format, or a damaged file.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if path.is_dir() and not _is_zarr(path):
        files = [p for p in sorted(path.iterdir()) if p.suffix in READERS or _is_zarr(p)]
        if not files:
            raise ValueError(f"{path}: no file of a known format; known are {', '.join(READERS)}")
        return [
            table._replace(recording=name)
            for file, name in zip(files, recording_names(files), strict=True)
            for table in read_tables(file, key)
        ]
    suffix = ".zarr" if _is_zarr(path) else path.suffix
    if suffix not in READERS:
        raise ValueError(f"{path}: unknown file format; known are {', '.join(READERS)}")
    with reading(path, f"{suffix[1:]} file"):
        columns = READERS[suffix](path)
    (name,) = recording_names([path])
    return [table._replace(recording=name) for table in _split_groups(path, columns, key)]


def _npz(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        return _numeric_arrays(((name, file[name]) for name in file.files), path)


def _hdf5(path: Path) -> dict[str, np.ndarray]:
    import h5py

    datasets: dict[str, Any] = {}

    def collect(name: str, item: Any) -> None:  # links to other files are not followed
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(
                    f"{path}: '{name}' is stored in another file; copy the values into one file"
                )
            datasets[name] = item

    with h5py.File(path, "r") as file:
        file.visititems(collect)
        return _numeric_arrays(datasets.items(), path)


def _zarr(path: Path) -> dict[str, np.ndarray]:
    import zarr

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # zarr leaves tasks with errors
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that belong to no array
        return _numeric_arrays(_zarr_arrays(zarr.open_group(str(path), mode="r"), ""), path)


def _parquet(path: Path) -> dict[str, np.ndarray]:
    table = read_table(path)
    arrays = ((name, arrow_to_numpy(table[name])) for name in table.column_names)
    return _numeric_arrays(arrays, path)


def _csv(path: Path) -> dict[str, np.ndarray]:
    from invdyn_ros.sources.csv_files import read_csv_columns  # pyarrow.csv is slow to import

    return read_csv_columns(path, MATRIX)


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".zarr": _zarr,
    ".parquet": _parquet,
    ".csv": _csv,
}


def arrow_to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Return an arrow column as (rows,) or (rows, width); null is NaN.

    Raises:
        ValueError: lists of different lengths.
    """
    column = column.combine_chunks()
    if not (pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False))
    if len(column) and len(flat) % len(column):
        raise ValueError("rows of a list column differ in length")
    return flat.reshape(len(column), -1 if len(column) else 0)


def _numeric_arrays(arrays: Iterable[tuple[str, Any]], path: Path) -> dict[str, np.ndarray]:
    """Load the numeric arrays of at most MAX_DIMENSIONS dimensions."""
    stored = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
    columns, size = {}, 0
    for name, values in arrays:
        if values.dtype.kind in "biuf" and 1 <= len(values.shape) <= MAX_DIMENSIONS:
            size += math.prod(values.shape) * values.dtype.itemsize
            check_size(path, size, stored)
            columns[name] = np.asarray(values)
    return columns


def _zarr_arrays(group: Any, prefix: str) -> Iterable[tuple[str, Any]]:
    for name in sorted(group.keys()):
        item = group[name]
        if hasattr(item, "keys"):
            yield from _zarr_arrays(item, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", item


def _split_groups(path: Path, columns: dict[str, np.ndarray], key: str) -> list[Table]:
    """Return a table for each group with the key, in the order of the numbers in their names."""
    groups = [name.removesuffix(key) for name in columns if name.endswith(f"/{key}")]
    if key in columns or not groups:
        return [Table(str(path), columns)]
    outside = {
        name: values for name, values in columns.items() if not name.startswith(tuple(groups))
    }
    return [
        Table(
            f"{path}:{group[:-1]}",
            {n.removeprefix(group): v for n, v in columns.items() if n.startswith(group)}
            | outside,
        )
        for group in sorted(groups, key=_natural_sort_key)
    ]


def _natural_sort_key(text: str) -> list[int | str]:
    """Return a key that sorts demo_2 before demo_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def _is_zarr(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in ZARR_FILES)
