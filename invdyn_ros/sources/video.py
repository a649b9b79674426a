"""Videos enter, of EPIC-KITCHENS or any; pairs of pictures with what moved between them leave.

A pair at a gap of g frames is two consecutive rows of an episode that takes every g-th frame, so a
dataset holds each gap as episodes of their own. A picture without a wrist ends an episode.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import cv2
import numpy as np
from pydantic import Field, PositiveInt

from invdyn_ros.config import PositiveInts, Validated
from invdyn_ros.data.trajectory import NO_POINTS, NO_VERB, Trajectory
from invdyn_ros.models.augmentation import WRIST_JOINTS
from invdyn_ros.perception.camera import CameraConfig, Frame, open_camera, read_video_info
from invdyn_ros.perception.wrist_tracker import WristTracker, WristTrackerConfig
from invdyn_ros.sources import epic_kitchens as epic
from invdyn_ros.sources.csv_labels import ActionLabels, read_action_labels
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.sources.source import Collection, Source

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm")
DETECTION_SIZE = 640  # [px] longer side of the pictures in which hands are looked for
JITTER_FACTOR = 1.4826 / math.sqrt(6)  # median of |second difference| to deviation of normal noise


@dataclass(frozen=True)
class VideoConfig(Validated):
    """What is taken from a video."""

    annotations: Path | None = None
    """EPIC-KITCHENS annotations (CSV) of the frame folders; none: the path is of video files."""
    frame_gaps: PositiveInts = (4, 8)
    """Frames between the two pictures of a pair; each gap gives pairs of its own."""
    frame_step: PositiveInt = 1
    """Only each so many-th frame is read; every gap is a multiple of it."""
    image_size: Annotated[int, Field(ge=16)] = 96
    """Side of the square that every picture is scaled to [px]."""
    labels: Literal["wrist", "csv", "none"] = "wrist"
    """What moved: the wrist that MediaPipe sees, what --actions says, or nobody knows."""
    actions: Path | None = None
    """CSV with columns video, frame and one per action: what moved since the frame before."""
    hand: WristTrackerConfig = field(default_factory=WristTrackerConfig)
    """When a wrist counts as seen."""

    def __post_init__(self) -> None:
        """Check that the frames of every pair are read."""
        super().__post_init__()
        if wrong := [gap for gap in self.frame_gaps if gap % self.frame_step]:
            raise ValueError(f"gap {wrong[0]} is not a multiple of frame_step {self.frame_step}")
        if (self.labels == "csv") != (self.actions is not None):
            raise ValueError(
                f"labels are {self.labels} and actions {self.actions}; give both "
                "--labels csv and --actions FILE.csv, or neither"
            )


class Clip(NamedTuple):
    """Consecutive pictures of one recording."""

    source: str
    verb: int
    frames: Iterable[Frame]


class VideoFrames(NamedTuple):
    """What was seen in a clip, at T times."""

    time: np.ndarray  # (T,) [s]
    images: np.ndarray  # (T, side, side, 3) uint8
    position: np.ndarray  # (T, n) what moves, such as a wrist; NaN where none was seen
    names: tuple[str, ...]  # of the n


class LabelQuality(NamedTuple):
    """How good pseudo-actions are."""

    labelled_fraction: float  # share of the pictures with a wrist
    jitter: float  # deviation of a wrist's place, in shares of the picture; NaN if unknown

    def text(self) -> str:
        """Return both figures in words."""
        return (
            f"a wrist in {100 * self.labelled_fraction:.1f}% of the pictures, "
            f"jitter {100 * self.jitter:.3f}% of their size"
        )


def read_videos(path: Path, config: VideoConfig) -> tuple[ImportResult, LabelQuality | None]:
    """Read all pairs of a video file, a folder of them, or EPIC-KITCHENS frame folders.

    Returns:
        The episodes, and how good their labels are if they have any.

    Raises:
        ValueError: nothing to read, or anything damaged or missing.
    """
    given = read_action_labels(config.actions) if config.actions else None
    seen = [(clip, _read_clip(clip, config, given)) for clip in video_clips(path, config)]
    trajectories: list[Trajectory] = []
    changes: Counter[str] = Counter()
    for clip, shots in seen:
        made = list(video_episodes(clip, shots, config))
        trajectories += made
        lost = int(np.isnan(shots.position).any(1).sum())
        changes["pictures without a label"] -= lost
        changes["in episodes of other gaps, or alone"] += (
            sum(map(len, made)) - len(shots.time) + lost
        )
    rows = sum(len(shots.time) for _, shots in seen)
    quality = label_quality([s.position for _, s in seen]) if config.labels == "wrist" else None
    return ImportResult(trajectories, rows, dict(changes)), quality


def video_clips(path: Path, config: VideoConfig) -> Iterator[Clip]:
    """Yield the clips at a path, in the order of the annotations or of the file names.

    Raises:
        ValueError: there are none, or their frames are not there.
    """
    if config.annotations is not None:
        segments = epic.read_annotations(config.annotations)
        epic.check_folders(path, segments)
        rate = epic.frame_rates(segments)
        for s in segments:
            yield Clip(
                s.source, s.verb, epic.read_frames(path, s, config.frame_step, rate[s.video])
            )
        return
    for file in video_files(path):
        yield Clip(file.stem, NO_VERB, _decode_frames(file, config.frame_step))


def video_files(path: Path) -> list[Path]:
    """Return the video file, or those in a folder by name.

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
            f"{path} holds no video ({', '.join(SUFFIXES)}); "
            "frame folders of EPIC-KITCHENS need --annotations FILE.csv"
        )
    if twice := [a for a, b in pairwise(f.stem for f in files) if a == b]:
        raise ValueError(f"{path} holds two videos of the name {twice[0]}; rename one")
    return files


def read_video(file: Path, image_size: int, rate: float) -> Trajectory:
    """Read a video without labels, at the frames that come closest to a rate [Hz].

    Raises:
        ValueError: it is no video.
    """
    every = max(1, round(read_video_info(file).frame_rate / rate))
    config = VideoConfig(
        frame_gaps=(every,), frame_step=every, image_size=image_size, labels="none"
    )
    clip = Clip(file.stem, NO_VERB, _decode_frames(file, every))
    return _episode(clip, _read_clip(clip, config, None), slice(None))


def resize_square(image: np.ndarray, image_size: int) -> np.ndarray:
    """Return a picture as the square (pixels, pixels, 3) that is kept of it."""
    return np.asarray(cv2.resize(image, (image_size, image_size), interpolation=cv2.INTER_AREA))


def label_quality(wrists: list[np.ndarray]) -> LabelQuality:
    """Return how good labels are, from the wrists (T, 2) of clips, NaN where none was seen.

    Jitter is what second differences of a smooth motion would not show: their median, as the
    deviation of normal noise.
    """
    seen = np.concatenate([~np.isnan(w[:, 0]) for w in wrists])
    bends = [np.abs(np.diff(w, n=2, axis=0)).ravel() for w in wrists if len(w) > 2]
    known = np.concatenate([*bends, np.empty(0)])
    known = known[~np.isnan(known)]
    jitter = JITTER_FACTOR * float(np.median(known)) if len(known) else float("nan")
    return LabelQuality(float(seen.mean()), jitter)


def _decode_frames(file: Path, step: int) -> Iterator[Frame]:
    read_video_info(file)
    frames = open_camera(CameraConfig(video=str(file), max_size=DETECTION_SIZE))
    return (frame for frame in frames if frame.index % step == 0)


def _read_clip(clip: Clip, config: VideoConfig, given: ActionLabels | None) -> VideoFrames:
    """Look at all pictures of a clip."""
    time, pictures, places = [], [], []
    video = clip.source.rpartition("/")[2]
    unseen = np.full(len(WRIST_JOINTS), np.nan) if config.labels == "wrist" else np.empty(0)
    finder = WristTracker(config.hand) if config.labels == "wrist" else None
    try:
        for frame in clip.frames:
            place = (
                finder(frame.image) if finder else given and given.position_at(video, frame.index)
            )
            time.append(frame.time)
            pictures.append(resize_square(frame.image, config.image_size))
            places.append(unseen if place is None else place)
    finally:
        if finder:
            finder.close()
    names = given.names if given else WRIST_JOINTS if finder else ()
    return VideoFrames(np.array(time), np.stack(pictures), np.stack(places), names)


def video_episodes(clip: Clip, shots: VideoFrames, config: VideoConfig) -> Iterator[Trajectory]:
    """Yield the episodes of each gap, none across a picture that has no label."""
    known = ~np.isnan(shots.position).any(1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    for gap in config.frame_gaps:
        stride = gap // config.frame_step
        for start, stop in edges.reshape(-1, 2):
            for phase in range(stride):
                rows = slice(start + phase, stop, stride)
                if len(shots.time[rows]) > 1:
                    yield _episode(clip, shots, rows)


def _episode(clip: Clip, shots: VideoFrames, rows: slice) -> Trajectory:
    place, absent = shots.position[rows], np.empty((0, len(shots.names)))
    moved = np.concatenate([0 * place[:1], np.diff(place, axis=0)])
    return Trajectory(
        time=shots.time[rows],
        position=absent,
        velocity=absent,
        acceleration=absent,
        action=moved if shots.names else absent,
        joint_names=shots.names,
        action_unit="1",
        frames=shots.images[rows],
        source=clip.source,
        verb=clip.verb,
        points=place[:, None] if shots.names == WRIST_JOINTS else NO_POINTS,
    )


@dataclass(frozen=True)
class VideoSource(Source):
    """Read videos, or frame folders of EPIC-KITCHENS with --annotations.

    An action is the displacement of a wrist since the previous image, to the right and down, as
    fractions of the image size.
    """

    path: Path
    """A video file, a folder of them, or the folder with PXX/PXX_YY/frame_0000000001.jpg."""
    video: VideoConfig = field(default_factory=VideoConfig)
    """Frames and labels."""

    def collect(self) -> Collection:
        """Read all videos at the path."""
        result, quality = read_videos(self.path, self.video)
        if quality is None:
            return Collection(result, "video")
        metadata = {"label_quality": quality._asdict()}
        return Collection(result, "wrist", metadata=metadata, notes=(quality.text(),))
