"""Reader of videos, with the displacement of a wrist from image to image as action.

Each frame gap g gives separate episodes of every g-th frame. An image without a detected wrist
ends an episode.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import cv2
import numpy as np
from pydantic import Field, PositiveInt
from tqdm import tqdm

from invdyn_ros.config import PositiveInts, Validated
from invdyn_ros.data.trajectory import NO_POINTS, NO_VERB, Trajectory
from invdyn_ros.models.augmentation import WRIST_JOINTS
from invdyn_ros.perception.wrist_tracker import WristTracker, WristTrackerConfig
from invdyn_ros.sources.csv_labels import ActionLabels, read_action_labels
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.sources.source import Collection, Source
from invdyn_ros.sources.video_clips import Clip, decode_evenly, video_clips
from invdyn_ros.workers import JobExecutor, WorkerOptions, parallel_map

JITTER_FACTOR = 1.4826 / math.sqrt(6)  # median of |second difference| to std of normal noise


@dataclass(frozen=True)
class VideoConfig(Validated):
    """Frames and labels of videos."""

    annotations: Path | None = None
    """EPIC-KITCHENS annotations (CSV) of the frame folders; default: video files."""
    frame_gaps: PositiveInts = (4, 8)
    """Frames from one image of an episode to the next; each gap gives its own episodes."""
    frame_step: PositiveInt = 1
    """Only every n-th frame is read; each gap must be a multiple of it."""
    image_size: Annotated[int, Field(ge=16)] = 96
    """Side of the square images after scaling [px]."""
    labels: Literal["wrist", "csv", "none"] = "wrist"
    """Actions: the wrist detected by MediaPipe, the file --actions, or none."""
    actions: Path | None = None
    """CSV with columns video, frame and one per action, the change since the previous frame."""
    hand: WristTrackerConfig = field(default_factory=WristTrackerConfig)
    """Detection of the wrist."""

    def __post_init__(self) -> None:
        """Check that the frames of all gaps are read, and that labels and actions match."""
        super().__post_init__()
        if invalid := [gap for gap in self.frame_gaps if gap % self.frame_step]:
            raise ValueError(f"gap {invalid[0]} is not a multiple of frame_step {self.frame_step}")
        if (self.labels == "csv") != (self.actions is not None):
            raise ValueError(
                f"labels are {self.labels} and actions {self.actions}; give both "
                "--labels csv and --actions FILE.csv, or neither"
            )


class VideoFrames(NamedTuple):
    """Images and labels of a clip at T times."""

    time: np.ndarray  # (T,) [s]
    images: np.ndarray  # (T, side, side, 3) uint8
    position: np.ndarray  # (T, n) such as of a wrist; NaN without a detection
    names: tuple[str, ...]  # of the n coordinates


class LabelQuality(NamedTuple):
    """Quality of wrist labels."""

    labelled_fraction: float  # of the images
    jitter: float  # std of the wrist position, as a fraction of the image size; NaN if unknown

    def text(self) -> str:
        """Return both numbers as a sentence."""
        return (
            f"a wrist in {100 * self.labelled_fraction:.1f}% of the images, "
            f"jitter {100 * self.jitter:.3f}% of their size"
        )


def read_videos(
    path: Path, config: VideoConfig, executor: JobExecutor | None = None
) -> tuple[ImportResult, LabelQuality | None]:
    """Read a video file, a folder of them, or EPIC-KITCHENS frame folders.

    Args:
        path: the file or folder.
        config: frames and labels.
        executor: reads the videos, with the same files at the same paths; None: this process.

    Returns:
        The episodes, and the quality of wrist labels.

    Raises:
        ValueError: nothing to read, or a missing or damaged file.
    """
    csv_labels = read_action_labels(config.actions) if config.actions else None
    clips = list(video_clips(path, config.annotations, config.frame_step))
    run = partial(_read_clip, config, csv_labels)
    read = tqdm(
        map(run, clips) if executor is None else parallel_map(run, clips, executor),
        total=len(clips),
        unit="video",
        desc="reading",
        file=sys.stderr,
    )
    clip_frames = list(zip(clips, read, strict=True))
    trajectories: list[Trajectory] = []
    changes: Counter[str] = Counter()
    for clip, video_frames in clip_frames:
        try:
            clip_episodes = list(video_episodes(clip, video_frames, config))
        except ValueError as error:
            raise ValueError(f"{path}: {clip.source}: {error}") from error
        trajectories += clip_episodes
        num_unlabelled = int(np.isnan(video_frames.position).any(1).sum())
        changes["images without a label"] -= num_unlabelled
        changes["in episodes of other gaps, or alone"] += (
            sum(map(len, clip_episodes)) - len(video_frames.time) + num_unlabelled
        )
    rows = sum(len(video_frames.time) for _, video_frames in clip_frames)
    quality = (
        label_quality([frames.position for _, frames in clip_frames])
        if config.labels == "wrist"
        else None
    )
    return ImportResult(trajectories, rows, dict(changes)), quality


def read_video(file: Path, image_size: int, rate: float) -> Trajectory:
    """Read a video without labels, at about a rate [Hz].

    Args:
        file: the video.
        image_size: side of the square images [px].
        rate: images per second [Hz].

    Raises:
        ValueError: it is not a video.
    """
    clip = Clip(file.stem, NO_VERB, partial(decode_evenly, file, rate))
    frames = _read_clip(VideoConfig(image_size=image_size, labels="none"), None, clip)
    return _episode(clip, frames, slice(None))


def resize_square(image: np.ndarray, image_size: int) -> np.ndarray:
    """Scale an image to a square (image_size, image_size, 3)."""
    return np.asarray(cv2.resize(image, (image_size, image_size), interpolation=cv2.INTER_AREA))


def label_quality(wrists: list[np.ndarray]) -> LabelQuality:
    """Return the quality of wrist positions (T, 2) of clips, NaN without a detection.

    Jitter is the std of normal noise that has the median absolute second difference of the
    positions, since a smooth motion has small second differences.
    """
    is_labelled = np.concatenate([~np.isnan(w[:, 0]) for w in wrists])
    second_differences = [np.abs(np.diff(w, n=2, axis=0)).ravel() for w in wrists if len(w) > 2]
    known = np.concatenate([*second_differences, np.empty(0)])
    known = known[~np.isnan(known)]
    jitter = JITTER_FACTOR * float(np.median(known)) if len(known) else float("nan")
    return LabelQuality(float(is_labelled.mean()), jitter)


def _read_clip(config: VideoConfig, csv_labels: ActionLabels | None, clip: Clip) -> VideoFrames:
    """Read all images of a clip and label them."""
    time, images, positions = [], [], []
    video = clip.source.rpartition("/")[2]
    unlabelled = np.full(len(WRIST_JOINTS), np.nan) if config.labels == "wrist" else np.empty(0)
    tracker = WristTracker(config.hand) if config.labels == "wrist" else None
    try:
        for frame in clip.open():
            position = (
                tracker(frame.image)
                if tracker
                else csv_labels and csv_labels.position_at(video, frame.index)
            )
            time.append(frame.time)
            images.append(resize_square(frame.image, config.image_size))
            positions.append(unlabelled if position is None else position)
    finally:
        if tracker:
            tracker.close()
    names = csv_labels.names if csv_labels else WRIST_JOINTS if tracker else ()
    return VideoFrames(np.array(time), np.stack(images), np.stack(positions), names)


def video_episodes(
    clip: Clip, video_frames: VideoFrames, config: VideoConfig
) -> Iterator[Trajectory]:
    """Yield the episodes of each gap, without images that have no label.

    Args:
        clip: source of the images.
        video_frames: images and labels.
        config: frame gaps.
    """
    known = ~np.isnan(video_frames.position).any(1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    for gap in config.frame_gaps:
        stride = gap // config.frame_step
        for start, stop in edges.reshape(-1, 2):
            for phase in range(stride):
                rows = slice(start + phase, stop, stride)
                if len(video_frames.time[rows]) > 1:
                    yield _episode(clip, video_frames, rows)


def _episode(clip: Clip, video_frames: VideoFrames, rows: slice) -> Trajectory:
    position, absent = video_frames.position[rows], np.empty((0, len(video_frames.names)))
    action = np.concatenate([0 * position[:1], np.diff(position, axis=0)])
    return Trajectory(
        time=video_frames.time[rows],
        position=absent,
        velocity=absent,
        acceleration=absent,
        action=action if video_frames.names else absent,
        joint_names=video_frames.names,
        action_unit="1",
        frames=video_frames.images[rows],
        recording=clip.source,
        verb=clip.verb,
        points=position[:, None] if video_frames.names == WRIST_JOINTS else NO_POINTS,
    )


@dataclass(frozen=True)
class VideoSource(WorkerOptions, Source):
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
        with self.executor() as executor:
            result, quality = read_videos(self.path, self.video, executor)
        if quality is None:
            return Collection(result, "video")
        metadata = {"label_quality": quality._asdict()}
        return Collection(result, "wrist", metadata=metadata, notes=(quality.text(),))
