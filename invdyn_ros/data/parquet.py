"""Reading of the Parquet files of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from invdyn_ros.data.files import check_size, reading
from invdyn_ros.data.image_codec import decode_image
from invdyn_ros.data.lerobot_format import ACCELERATION, IMAGE, POINTS, STATE
from invdyn_ros.data.trajectory import NO_FRAMES, NO_POINTS, NO_VERB
from invdyn_ros.typing import Array, Image

BYTES_PER_CELL = 8  # of a parquet file, at least


class EpisodeMetadata(NamedTuple):
    """Row of the episode table; datasets written by other software lack these columns."""

    start_time: float = 0.0  # [s]
    recording: str = ""
    source: str = ""  # name of the recording in older datasets
    verb_class: int = NO_VERB


def read_columns(path: Path, n: int) -> dict[str, np.ndarray]:
    """Read the columns of a data file as arrays (rows,), (rows, width) or images (rows, H, W, 3).

    Args:
        path: Parquet file.
        n: number of joints.

    Raises:
        ValueError: the file is damaged, or a column is missing or of the wrong width.
    """
    table = read_table(path)
    widths = {
        STATE: (n, 2 * n),
        ACCELERATION: (n,),
        "action": (n,),
        "timestamp": (1,),
        "episode_index": (1,),
    }
    input_column = IMAGE if IMAGE in table.column_names else STATE
    for name in (input_column, "timestamp", "episode_index"):
        if name not in table.column_names:
            raise ValueError(f"{path}: no column {name!r}; it has {', '.join(table.column_names)}")
    columns: dict[str, np.ndarray] = {}
    for name in widths.keys() & set(table.column_names):
        column = table[name].combine_chunks()
        is_list = pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)
        flat = np.asarray(
            (column.flatten() if is_list else column).to_numpy(zero_copy_only=False),
            dtype=np.float64,
        )
        width = len(flat) // max(len(table), 1)
        if len(table) and (width not in widths[name] or width * len(table) != len(flat)):
            expected = " or ".join(map(str, widths[name]))
            raise ValueError(
                f"{path}: column {name!r} holds {width} numbers per row; "
                f"{n} joints need {expected}"
            )
        # with a single joint these columns may be stored without lists
        is_matrix = name in (STATE, ACCELERATION, "action")
        columns[name] = flat.reshape(len(table), width if len(table) else n) if is_matrix else flat
    if input_column == IMAGE:
        columns[IMAGE] = _read_images(table[IMAGE], path)
        if POINTS in table.column_names:
            columns[POINTS] = _read_points(table[POINTS], path)
    return columns


def _read_images(column: pa.ChunkedArray, path: Path) -> Image:
    """Return images (rows, H, W, 3)."""
    if not pa.types.is_struct(column.type):
        raise ValueError(f"{path}: column {IMAGE!r} holds {column.type}, not PNG files")
    rows = enumerate(column.combine_chunks().field("bytes"))
    frames = [decode_image(row.as_py() or b"", f"{path}: image of row {k}") for k, row in rows]
    if len({frame.shape for frame in frames}) > 1:
        raise ValueError(f"{path}: images differ in size; write the dataset again")
    return np.stack(frames) if frames else NO_FRAMES


def _read_points(column: pa.ChunkedArray, path: Path) -> Array:
    """Return image points (rows, L, 2) as fractions of the image size."""
    if not len(column):
        return NO_POINTS
    rows = column.to_pylist()
    sizes = sorted({len(row) if isinstance(row, list) else -1 for row in rows})
    if len(sizes) > 1 or sizes[0] < 2 or sizes[0] % 2:
        counts = " or ".join("none" if size < 0 else str(size) for size in sizes)
        raise ValueError(
            f"{path}: column {POINTS!r} holds {counts} numbers per row; it needs two per point "
            "and the same number in all rows"
        )
    try:
        return np.array(rows, dtype=np.float64).reshape(len(rows), -1, 2)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: column {POINTS!r} does not hold numbers ({error})") from error


def read_episodes(directory: Path) -> dict[int, EpisodeMetadata]:
    """Read the episode table, by episode index."""
    episodes: dict[int, EpisodeMetadata] = {}
    for path in sorted(directory.glob("meta/episodes/chunk-*/file-*.parquet")):
        table = read_table(path)
        columns = [name for name in EpisodeMetadata._fields if name in table.column_names]
        if "episode_index" in table.column_names and columns:
            for row in table.select(["episode_index", *columns]).to_pylist():
                episode = int(row.pop("episode_index"))
                episodes[episode] = EpisodeMetadata(**row)
    return episodes


def read_table(path: Path) -> pa.Table:
    """Read a parquet file.

    Raises:
        ValueError: the file is damaged.
    """
    with reading(path, "parquet file"):
        header = pq.read_metadata(path)
        cells = header.num_rows * header.num_columns
        check_size(path, cells * BYTES_PER_CELL, path.stat().st_size)
        return pq.read_table(path, partitioning=None)
