"""Action labels of video frames from a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invdyn_ros.config import describe_error

KEY_COLUMNS = ("video", "frame")


class ActionLabels(NamedTuple):
    """Cumulative actions of the frames of videos, from their first labelled frame on."""

    names: tuple[str, ...]
    positions: dict[str, dict[int, np.ndarray]]  # video -> frame -> (n,)

    def position_at(self, video: str, frame: int) -> np.ndarray:
        """Return the cumulative action (n,) in a frame of a video; NaN without a label."""
        return self.positions.get(video, {}).get(frame, np.full(len(self.names), np.nan))


def read_action_labels(path: Path) -> ActionLabels:
    """Read the columns `video`, `frame` and one per action, the change since the previous frame.

    Raises:
        ValueError: no file, a missing column, a bad number or a duplicate frame.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            names = tuple(name for name in rows.fieldnames or () if name not in KEY_COLUMNS)
            if len(names) != len(rows.fieldnames or ()) - len(KEY_COLUMNS) or not names:
                actual = ", ".join(rows.fieldnames or ()) or "none"
                raise ValueError(
                    f"{path} has columns {actual}; expected are video, frame and one per action"
                )
            actions: dict[str, dict[int, np.ndarray]] = {}
            for k, row in enumerate(rows, 1):
                frame, values = _values(row, names, f"{path}: row {k}")
                video = actions.setdefault(row["video"], {})
                if frame in video:
                    raise ValueError(f"{path}: row {k}: frame {frame} appears twice")
                video[frame] = values
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read actions {path}: {describe_error(error)}") from error
    return ActionLabels(names, {video: _cumulative(rows) for video, rows in actions.items()})


def _values(row: dict[str, str], names: tuple[str, ...], where: str) -> tuple[int, np.ndarray]:
    try:
        frame, values = int(row["frame"]), np.array([float(row[name]) for name in names])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
    if not np.isfinite(values).all():
        raise ValueError(f"{where}: {values} is not finite; leave the row out")
    return frame, values


def _cumulative(actions: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    frames = sorted(actions)
    total = np.cumsum([actions[frame] for frame in frames], axis=0)
    return dict(zip(frames, total, strict=True))
