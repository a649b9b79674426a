"""Arrays of zarr stores, folders or zip files, whose other arrays may have unknown codecs."""

from __future__ import annotations

import json
import logging
import os
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT_FILES = (".zgroup", ".zarray", "zarr.json")
ZIP_SUFFIX = ".zarr.zip"


Arrays = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Name of each array of a file -> its shape and type."""


def is_zarr(path: Path) -> bool:
    """Return whether a path is a zarr store."""
    if path.is_dir():
        return any((path / name).is_file() for name in ROOT_FILES)
    return path.name.endswith(ZIP_SUFFIX)


def stored_zarr_arrays(path: Path) -> Arrays:
    """Return shape and type of the arrays of a store, from their metadata.

    The zarr library opens no group in which one array has a codec that is not installed, such as
    that of images.
    """
    arrays = {}
    for name, content in sorted(_metadata_files(path)):
        values = json.loads(content)
        if not isinstance(values, dict) or values.get("node_type", "array") != "array":
            continue
        kind = values.get("data_type", values.get("dtype"))
        try:
            arrays[name] = tuple(map(int, values["shape"])), np.dtype(kind)
        except TypeError:
            continue  # a type that NumPy lacks, or a structure
    return arrays


def _metadata_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name of each array of a store, or group, and the content of its metadata."""
    kinds = (".zarray", "zarr.json")
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            for name in sorted(set(kinds) & set(files)):
                content = (Path(folder) / name).read_bytes()
                if name == ".zarray" or b'"array"' in content:
                    folders.clear()  # of chunks, which may be many
                yield Path(folder).relative_to(path).as_posix(), content
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            parent, _, last = name.rpartition("/")
            if last in kinds:
                yield parent, archive.read(name)


def stored_size(path: Path, names: Sequence[str]) -> int:
    """Return the size of the files of some arrays of a store [bytes]."""
    if path.is_file():
        return path.stat().st_size
    folders = [path / name for name in names]
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*"))


def zarr_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the values of some arrays of a store."""
    import zarr

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # zarr leaves tasks with errors
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that belong to no array
        store: Any = zarr.storage.ZipStore(path, mode="r") if path.is_file() else str(path)
        return {
            name: np.asarray(zarr.open_array(store, path=name, mode="r")[...]) for name in names
        }
