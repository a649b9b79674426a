"""Episodes of Minari datasets in Arrow files, one folder each.

The layout is that of Minari's `ArrowStorage`: `data/NUMBER/*.arrow`, whose column of observations
has a row more than there are steps; the other columns are padded to as many rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from invdyn_ros.data.files import check_size
from invdyn_ros.data.parquet import BYTES_PER_CELL
from invdyn_ros.sources.array_formats import ArrayFormat, Contents, arrow_to_numpy, is_list

PADDED = ("actions", "rewards", "terminations", "truncations")
SUFFIX = ".arrow"


def episode_folders(path: Path) -> list[Path]:
    """Return the folders of the episodes in the data folder of a dataset, in their order."""
    folders = [folder for folder in path.iterdir() if folder.name.isdecimal()]
    folders = [folder for folder in folders if any(folder.glob(f"*{SUFFIX}"))]
    return sorted(folders, key=lambda folder: int(folder.name))


def _contents(folder: Path) -> Contents:
    widths: dict[str, int] = {}
    for name, kind in _columns(_table(folder).schema):
        value = kind.value_type if is_list(kind) else kind
        if pa.types.is_integer(value) or pa.types.is_floating(value) or pa.types.is_boolean(value):
            widths[name] = kind.list_size if pa.types.is_fixed_size_list(kind) else 0
    return Contents(widths)


def _read(folder: Path, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    table = _table(folder)
    size = sum(file.stat().st_size for file in folder.glob(f"*{SUFFIX}"))
    check_size(folder, table.num_rows * len(names) * BYTES_PER_CELL, size)
    arrays = {}
    for name in names:
        first, *fields = name.split("/")
        column = table[first].combine_chunks()
        for field in fields:
            column = column.field(field)
        values = arrow_to_numpy(pa.chunked_array([column]), f"{folder}: column '{name}'")
        arrays[name] = values[:-1] if first in PADDED else values
    return arrays


def _columns(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    """Return names and types of all columns; those in a structure are structure/name."""
    columns, remaining = [], [(field.name, field.type) for field in schema]
    while remaining:
        name, kind = remaining.pop(0)
        if pa.types.is_struct(kind):
            remaining += [(f"{name}/{kind[k].name}", kind[k].type) for k in range(len(kind))]
        else:
            columns.append((name, kind))
    return columns


def _table(folder: Path) -> pa.Table:
    """Return the rows of an episode, which stay in their files until they are used."""
    import pyarrow.ipc  # slow to import

    parts = []
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        with pa.memory_map(str(file)) as source:
            parts.append(pyarrow.ipc.open_file(source).read_all())
    return pa.concat_tables(parts)


EPISODE = ArrayFormat(_contents, _read)
