"""Actions that somebody measured, frame by frame: a CSV enters; places of each video leave."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

KEY_COLUMNS = ("video", "frame")


class ActionLabels(NamedTuple):
    """What moved in videos, summed up since their first known frame."""

    names: tuple[str, ...]
    positions: dict[str, dict[int, np.ndarray]]  # video -> frame -> (n,)

    def position_at(self, video: str, frame: int) -> np.ndarray:
        """Return the place (n,) in a frame of a video, NaN where nobody measured."""
        return self.positions.get(video, {}).get(frame, np.full(len(self.names), np.nan))


def read_action_labels(path: Path) -> ActionLabels:
    """Read columns `video`, `frame` and one per action: what moved since the frame before.

    Raises:
        ValueError: no file, a missing column, a bad number or a frame that stands there twice.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            names = tuple(name for name in rows.fieldnames or () if name not in KEY_COLUMNS)
            if len(names) != len(rows.fieldnames or ()) - len(KEY_COLUMNS) or not names:
                found = ", ".join(rows.fieldnames or ()) or "none"
                raise ValueError(
                    f"{path} has columns {found}; right are video, frame and one per action"
                )
            moved: dict[str, dict[int, np.ndarray]] = {}
            for k, row in enumerate(rows, 1):
                frame, values = _values(row, names, f"{path}: row {k}")
                video = moved.setdefault(row["video"], {})
                if frame in video:
                    raise ValueError(f"{path}: row {k}: frame {frame} stands there twice")
                video[frame] = values
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text file"
        raise ValueError(f"cannot read actions {path}: {reason}") from error
    return ActionLabels(names, {video: _cumulative(rows) for video, rows in moved.items()})


def _values(row: dict[str, str], names: tuple[str, ...], where: str) -> tuple[int, np.ndarray]:
    try:
        frame, values = int(row["frame"]), np.array([float(row[name]) for name in names])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
    if not np.isfinite(values).all():
        raise ValueError(f"{where}: {values} is not finite; leave the row out")
    return frame, values


def _cumulative(moved: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    frames = sorted(moved)
    total = np.cumsum([moved[frame] for frame in frames], axis=0)
    return dict(zip(frames, total, strict=True))
