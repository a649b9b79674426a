"""The tables of a dataset folder: parquet files enter; columns and episodes leave."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from invdyn_ros.data.image_codec import decode_image
from invdyn_ros.data.lerobot_format import ACCELERATION, IMAGE, POINTS, STATE
from invdyn_ros.data.trajectory import NO_FRAMES, NO_POINTS, NO_VERB


class EpisodeMetadata(NamedTuple):
    """What the episode list says; other writers leave it out."""

    start_time: float = 0.0  # [s]
    source: str = ""
    verb_class: int = NO_VERB


def read_columns(path: Path, n: int) -> dict[str, np.ndarray]:
    """Read the columns of one data file as arrays (rows,) or (rows, width)."""
    table = read_table(path)
    widths = {
        STATE: (n, 2 * n),
        ACCELERATION: (n,),
        "action": (n,),
        "timestamp": (1,),
        "episode_index": (1,),
    }
    seen = IMAGE if IMAGE in table.column_names else STATE
    for name in (seen, "timestamp", "episode_index"):
        if name not in table.column_names:
            raise ValueError(f"{path}: no column {name!r}; it has {', '.join(table.column_names)}")
    columns = {}
    for name in widths.keys() & set(table.column_names):
        column = table[name].combine_chunks()
        wide = pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)
        flat = np.asarray(
            (column.flatten() if wide else column).to_numpy(zero_copy_only=False), dtype=np.float64
        )
        width = len(flat) // max(len(table), 1)
        if len(table) and (width not in widths[name] or width * len(table) != len(flat)):
            expected = " or ".join(map(str, widths[name]))
            raise ValueError(
                f"{path}: column {name!r} holds {width} numbers per row; "
                f"{n} joints ask for {expected}"
            )
        block = name in (STATE, ACCELERATION, "action")  # of one joint it may be without lists
        columns[name] = flat.reshape(len(table), width if len(table) else n) if block else flat
    if seen == IMAGE:
        columns[IMAGE] = _read_images(table[IMAGE], path)
        if POINTS in table.column_names:
            columns[POINTS] = _read_points(table[POINTS], path)
    return columns


def _read_images(column: pa.ChunkedArray, path: Path) -> np.ndarray:
    """Return pictures (rows, H, W, 3) uint8."""
    if not pa.types.is_struct(column.type):
        raise ValueError(f"{path}: column {IMAGE!r} holds {column.type}, not PNG files")
    rows = enumerate(column.combine_chunks().field("bytes"))
    frames = [decode_image(row.as_py() or b"", f"{path}: picture of row {k}") for k, row in rows]
    if len({frame.shape for frame in frames}) > 1:
        raise ValueError(f"{path}: pictures differ in size; write the dataset again")
    return np.stack(frames) if frames else NO_FRAMES


def _read_points(column: pa.ChunkedArray, path: Path) -> np.ndarray:
    """Return places in pictures (rows, L, 2), in shares of their size."""
    if not len(column):
        return NO_POINTS
    rows = column.to_pylist()
    sizes = sorted({len(row) if isinstance(row, list) else -1 for row in rows})
    if len(sizes) > 1 or sizes[0] < 2 or sizes[0] % 2:
        found = " or ".join("none" if size < 0 else str(size) for size in sizes)
        raise ValueError(
            f"{path}: column {POINTS!r} holds {found} numbers per row; it needs a pair for each "
            "place, and as many in all rows"
        )
    try:
        return np.array(rows, dtype=np.float64).reshape(len(rows), -1, 2)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: column {POINTS!r} does not hold numbers ({error})") from error


def read_episodes(directory: Path) -> dict[int, EpisodeMetadata]:
    """Return what the episode list says of each episode."""
    known: dict[int, EpisodeMetadata] = {}
    for path in sorted(directory.glob("meta/episodes/chunk-*/file-*.parquet")):
        table = read_table(path)
        told = [name for name in EpisodeMetadata._fields if name in table.column_names]
        if "episode_index" in table.column_names and told:
            for row in table.select(["episode_index", *told]).to_pylist():
                episode = int(row.pop("episode_index"))
                known[episode] = EpisodeMetadata(**row)
    return known


def read_table(path: Path) -> pa.Table:
    """Read a parquet file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is damaged ({str(error).splitlines()[0]}); write the dataset again"
        ) from error
