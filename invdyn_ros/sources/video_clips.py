"""Clips of videos and of frame folders, and their images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from invdyn_ros.data.trajectory import NO_VERB
from invdyn_ros.perception.camera import CameraConfig, Frame, open_camera, read_video_info
from invdyn_ros.sources import epic_kitchens as epic

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm")
DETECTION_SIZE = 640  # [px] longer side of the images for hand detection


class Clip(NamedTuple):
    """Consecutive frames of one recording, which `open` reads."""

    source: str
    verb: int
    open: Callable[[], Iterable[Frame]]


def video_clips(path: Path, annotations: Path | None, step: int) -> Iterator[Clip]:
    """Yield the clips at a path, in the order of the annotations or of the file names.

    Args:
        path: a video file, a folder of them, or the frame folders of the annotations.
        annotations: CSV of EPIC-KITCHENS; None: video files.
        step: frames from one read frame to the next.

    Raises:
        ValueError: there are none, or their frames are missing.
    """
    if annotations is not None:
        segments = epic.read_annotations(annotations)
        epic.check_folders(path, segments)
        rate = epic.frame_rates(segments)
        for s in segments:
            frames = partial(epic.read_frames, path, s, step, rate[s.video])
            yield Clip(s.source, s.verb, frames)
        return
    for file in video_files(path):
        yield Clip(file.stem, NO_VERB, partial(decode_frames, file, step))


def video_files(path: Path) -> list[Path]:
    """Return the video file, or the video files of a folder in the order of their names.

    Raises:
        ValueError: there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"no video or folder {path}")
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(
            f"{path} has no video ({', '.join(SUFFIXES)}); "
            "frame folders of EPIC-KITCHENS need --annotations FILE.csv"
        )
    if duplicates := [a for a, b in pairwise(f.stem for f in files) if a == b]:
        raise ValueError(f"{path} has two videos of the name {duplicates[0]}; rename one")
    return files


def decode_frames(file: Path, step: int) -> Iterator[Frame]:
    """Return every step-th frame of a video file."""
    read_video_info(file)
    frames = open_camera(CameraConfig(video=str(file), max_size=DETECTION_SIZE))
    return (frame for frame in frames if frame.index % step == 0)


def decode_evenly(file: Path, rate: float) -> Iterator[Frame]:
    """Yield the frames of a video file at about a rate, also where its frame rate varies.

    They are every n-th one of a video whose frames are evenly spaced, for the n whose rate is
    nearest; of other ones those that are due at the same times.

    Args:
        file: the video.
        rate: frames per second [Hz].
    """
    frame_rate = read_video_info(file).frame_rate
    period = max(1, round(frame_rate / rate)) / frame_rate
    due = -math.inf
    for frame in open_camera(CameraConfig(video=str(file), max_size=DETECTION_SIZE)):
        if frame.time >= due - 0.5 / frame_rate:  # stamps may be rounded
            first = frame.time if due == -math.inf else due
            due = first + period * max(1, math.floor((frame.time - first) / period + 1.5))
            yield frame
