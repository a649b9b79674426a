"""Files of arrays: their columns, and the values of those that are asked for."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from invdyn_ros.data.files import check_size
from invdyn_ros.data.parquet import BYTES_PER_CELL
from invdyn_ros.sources.zarr_files import Arrays, stored_size, stored_zarr_arrays, zarr_arrays

MAX_DIMENSIONS = 3  # of an array of motion; images have more


class Contents(NamedTuple):
    """Columns of a file, none of which is decoded yet."""

    widths: dict[str, int]
    """Columns of numbers -> number of values per row, 0 for a plain column."""
    labels: tuple[str, ...] = ()
    """Columns of text."""
    matrix: tuple[str, ...] = ()
    """Columns of a file without a header."""
    notes: tuple[str, ...] = ()
    """Lines for the user."""


class ArrayFormat(NamedTuple):
    """How a kind of file is read.

    Attributes:
        contents: returns the columns of a file.
        read: returns some of its columns; those of text as the number of each text.
    """

    contents: Callable[[Path], Contents]
    read: Callable[[Path, Sequence[str]], Mapping[str, np.ndarray]]


def numeric_contents(arrays: Arrays) -> Contents:
    """Return the arrays of motion among arrays of given shapes and types."""
    return Contents(
        {
            name: shape[-1] if len(shape) > 1 else 0
            for name, (shape, dtype) in arrays.items()
            if dtype.kind in "biuf" and 1 <= len(shape) <= MAX_DIMENSIONS
        }
    )


def _size(arrays: Arrays, names: Sequence[str]) -> int:
    """Return the size of decoded arrays [bytes]."""
    return sum(math.prod(arrays[name][0]) * arrays[name][1].itemsize for name in names)


def _npz_arrays(path: Path) -> Arrays:
    arrays = {}
    with zipfile.ZipFile(path) as file:
        for name in (name for name in file.namelist() if name.endswith(".npy")):
            with file.open(name) as stream:
                version = np.lib.format.read_magic(stream)
                read_header = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read_header(stream)
                arrays[name.removesuffix(".npy")] = shape, dtype
    return arrays


def _read_npz(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    check_size(path, _size(_npz_arrays(path), names), path.stat().st_size)
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        return {name: file[name] for name in names}


def _hdf5_datasets(file: Any) -> dict[str, Any]:
    import h5py

    datasets: dict[str, Any] = {}

    def collect(name: str, item: Any) -> None:  # links to other files are not followed
        if isinstance(item, h5py.Dataset):
            datasets[name] = item

    file.visititems(collect)
    return datasets


def _hdf5_contents(path: Path) -> Contents:
    import h5py

    with h5py.File(path, "r") as file:
        datasets = _hdf5_datasets(file).items()
        return numeric_contents({name: (item.shape or (), item.dtype) for name, item in datasets})


def _read_hdf5(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    import h5py

    with h5py.File(path, "r") as file:
        items = {name: file[name] for name in names}
        for name, item in items.items():
            if item.external or item.is_virtual:
                raise ValueError(
                    f"{path}: '{name}' is stored in another file; copy the values into one file"
                )
        size = _size({n: (item.shape, item.dtype) for n, item in items.items()}, names)
        check_size(path, size, path.stat().st_size)
        return {name: np.asarray(item) for name, item in items.items()}


def _zarr_contents(path: Path) -> Contents:
    return numeric_contents(stored_zarr_arrays(path))


def _read_zarr(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    check_size(path, _size(stored_zarr_arrays(path), names), stored_size(path, names))
    return zarr_arrays(path, names)


def _parquet_contents(path: Path) -> Contents:
    schema, metadata = pq.read_schema(path), pq.read_metadata(path)
    counts = {}
    if metadata.num_row_groups and metadata.row_group(0).num_rows:
        group = metadata.row_group(0)
        chunks = (group.column(k) for k in range(group.num_columns))
        counts = {c.path_in_schema.split(".")[0]: c.num_values // group.num_rows for c in chunks}
    widths, labels = {}, []
    for field in schema:
        kind = field.type.value_type if is_list(field.type) else field.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            widths[field.name] = counts.get(field.name, 0) if is_list(field.type) else 0
        elif pa.types.is_timestamp(kind):
            widths[field.name] = 0
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            labels.append(field.name)
    return Contents(widths, tuple(labels))


def _read_parquet(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    rows = pq.read_metadata(path).num_rows
    check_size(path, rows * len(names) * BYTES_PER_CELL, path.stat().st_size)
    table = pq.read_table(path, columns=list(names), partitioning=None)
    return {name: arrow_to_numpy(table[name], f"{path}: column '{name}'") for name in names}


def is_list(kind: pa.DataType) -> bool:
    """Return whether a type of Arrow is a list."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def arrow_to_numpy(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """Return an arrow column as (rows,) or (rows, width); null is NaN, a text its number.

    Raises:
        ValueError: lists of different lengths.
    """
    if pa.types.is_timestamp(column.type):  # of date and time, in seconds
        column = column.cast(pa.timestamp("ns")).cast(pa.int64())
        return np.asarray(column.to_numpy()) / 1e9
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.asarray(column.combine_chunks().dictionary_encode().indices.to_numpy())
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())  # which has NaN for null as a float
    if not is_list(column.type):
        return np.asarray(column.to_numpy())
    column = column.combine_chunks()
    lengths = np.diff(column.offsets.to_numpy()) if hasattr(column, "offsets") else np.array([0])
    flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False))
    if len(column) and (lengths != lengths[0]).any():
        raise ValueError(f"{where} has lists of {lengths.min()} to {lengths.max()} values")
    return flat.reshape(len(column), -1 if len(column) else 0)


def _csv_contents(path: Path) -> Contents:
    from invdyn_ros.sources.csv_files import csv_contents  # pyarrow.csv is slow to import

    return csv_contents(path)


def _read_csv(path: Path, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    from invdyn_ros.sources.csv_files import read_csv_columns

    return read_csv_columns(path, names)


_CSV = ArrayFormat(_csv_contents, _read_csv)
FORMATS = {
    ".npz": ArrayFormat(lambda path: numeric_contents(_npz_arrays(path)), _read_npz),
    ".h5": ArrayFormat(_hdf5_contents, _read_hdf5),
    ".hdf5": ArrayFormat(_hdf5_contents, _read_hdf5),
    ".zarr": ArrayFormat(_zarr_contents, _read_zarr),
    ".parquet": ArrayFormat(_parquet_contents, _read_parquet),
    ".csv": _CSV,
    ".tsv": _CSV,
    ".txt": _CSV,
    ".dat": _CSV,
    ".lvm": _CSV,
}
