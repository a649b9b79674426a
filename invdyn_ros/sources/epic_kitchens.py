"""Reader of EPIC-KITCHENS-100 annotations and frame folders, as published.

Frames are `PXX/PXX_YY/frame_%010d.jpg`, counted from 1, and `stop_frame` is included
(arXiv 2006.13256; layout of the download scripts).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invdyn_ros.config import describe_error
from invdyn_ros.data.image_codec import decode_image
from invdyn_ros.perception.camera import Frame

COLUMNS = ("participant_id", "video_id", "start_frame", "stop_frame", "stop_timestamp")
LABEL_COLUMNS = ("verb_class",)  # missing in the test annotations


class Segment(NamedTuple):
    """One narrated action."""

    participant: str
    video: str
    start: int  # first frame, from 1
    stop: int  # last frame, included
    stop_time: float  # [s]
    verb: int

    @property
    def source(self) -> str:
        """Name of the recording."""
        return f"{self.participant}/{self.video}"


def read_annotations(path: Path) -> list[Segment]:
    """Read the segments of an annotations file, in its order.

    Raises:
        ValueError: no file, a missing column (a test file has no labels), or an invalid value.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            names = rows.fieldnames or []
            for name in (*COLUMNS, *LABEL_COLUMNS):
                if name not in names:
                    hint = "; a test file has no labels: give one for training or validation"
                    raise ValueError(
                        f"{path}: no column '{name}'{hint if name in LABEL_COLUMNS else ''}; "
                        f"it has {', '.join(names) or 'none'}"
                    )
            segments = [_segment(row, f"{path}: row {k}") for k, row in enumerate(rows, 1)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read annotations {path}: {describe_error(error)}") from error
    if not segments:
        raise ValueError(f"{path} has no segments; copy it again")
    return segments


def frame_rates(segments: list[Segment]) -> dict[str, float]:
    """Return the frame rate [Hz] of each video, from the stamp of its last annotated frame."""
    last: dict[str, Segment] = {}
    for segment in segments:
        if segment.video not in last or segment.stop > last[segment.video].stop:
            last[segment.video] = segment
    return {video: segment.stop / segment.stop_time for video, segment in last.items()}


def check_folders(root: Path, segments: list[Segment]) -> None:
    """Check that the frame folder of each segment exists.

    Raises:
        ValueError: it does not.
    """
    for source in dict.fromkeys(segment.source for segment in segments):
        if not (root / source).is_dir():
            raise ValueError(
                f"no frame folder {root / source}; frames are PXX/PXX_YY/frame_0000000001.jpg "
                "as published"
            )


def read_frames(root: Path, segment: Segment, step: int, rate: float) -> Iterator[Frame]:
    """Yield every `step`-th frame of a segment with its time.

    Args:
        root: folder with PXX/PXX_YY.
        segment: the segment.
        step: frames from one yielded frame to the next.
        rate: frame rate of the video [Hz].

    Raises:
        ValueError: a frame is missing or damaged.
    """
    for number in range(segment.start, segment.stop + 1, step):
        path = root / segment.source / f"frame_{number:010d}.jpg"
        if not path.is_file():
            raise ValueError(f"{path} is missing; extract the frames of {segment.video} again")
        image: np.ndarray = decode_image(path.read_bytes(), str(path))
        yield Frame(image, (number - 1) / rate, number)


def _segment(row: dict[str, str], where: str) -> Segment:
    try:
        hours, minutes, seconds = row["stop_timestamp"].split(":")
        segment = Segment(
            row["participant_id"],
            row["video_id"],
            int(row["start_frame"]),
            int(row["stop_frame"]),
            3600 * int(hours) + 60 * int(minutes) + float(seconds),
            int(row["verb_class"]),
        )
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{where}: {error}; copy the file again") from error
    if not (1 <= segment.start <= segment.stop and segment.stop_time > 0):
        raise ValueError(
            f"{where}: frames {segment.start} to {segment.stop} are not a valid range"
        )
    return segment
