"""RGB frames with time stamps from a camera or a video file."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
from pydantic import Field

from invdyn_ros.config import Validated
from invdyn_ros.native_output import suppress_native_output
from invdyn_ros.perception.network_camera import NetworkCamera, is_url
from invdyn_ros.perception.video_orientation import Orientation, read_orientation
from invdyn_ros.typing import MAX_RATE, Image

MEASURED_FRAMES = 60  # at the start of a video without a number of frames
# threads of FFmpeg report damaged frames at any time; OpenCV reads this when it opens a video
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a camera or a video."""

    image: Image
    """(height, width, 3) uint8 RGB."""
    time: float
    """Time of exposure [s], since the start of a video file or, of a camera, since the epoch."""
    index: int
    """Number of yielded frames before this one, including all repetitions of a looped video."""
    full_size: tuple[int, int] = (0, 0)
    """Width and height of the image before it was scaled down [px]; zeros if unknown."""


class VideoInfo(NamedTuple):
    """Properties of a video file."""

    width: int  # [px]
    height: int  # [px]
    frame_rate: float  # [Hz]
    num_frames: int  # 0: unknown, as of the recording of a browser
    duration: float  # [s], 0: unknown


@dataclass(frozen=True)
class CameraConfig(Validated):
    """Source of the images, either a video or a camera."""

    video: str = ""
    """Video file; empty for none."""
    camera: int | str = -1
    """Index, as of /dev/video0, device file, or URL of a network camera; -1 for none."""
    max_size: Annotated[int, Field(ge=32)] = 480
    """Longer side to which larger images are scaled down [px]; pose estimation uses 256 px."""
    loop: bool = False
    """Repeat the video when it ends; time stamps continue."""
    rate: Annotated[float, Field(ge=0, lt=math.inf)] = 0.0
    """Frames per second [Hz]: requested from a camera, subsampled from a video; 0 for all."""

    def __post_init__(self) -> None:
        """Check that exactly one source is given."""
        super().__post_init__()
        if bool(self.video) == self.has_camera:
            raise ValueError(
                "give either a video or a camera, "
                f"got video {self.video!r} and camera {self.camera}"
            )

    @property
    def has_camera(self) -> bool:
        """Whether the source is a camera."""
        return self.camera >= 0 if isinstance(self.camera, int) else bool(self.camera)


def open_camera(config: CameraConfig) -> Iterator[Frame]:
    """Open a source and iterate over its frames.

    The source is opened immediately. Frames of a video are returned as fast as they are requested;
    the caller paces them by their time stamps. Closing the iterator frees the device.

    Raises:
        FileNotFoundError: no such video file or camera.
        ValueError: the file is not a video, or, while iterating, no frame can be read.
    """
    if config.video:
        return _video_frames(_open_video(config.video), read_video_info(config.video), config)
    if isinstance(config.camera, str) and is_url(config.camera):
        return _network_frames(NetworkCamera(config.camera), config)
    return _device_frames(_open_device(config), config)


def read_video_info(video: str | Path) -> VideoInfo:
    """Read size, frame rate and duration of a video file without decoding it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a video.
    """
    capture = _open_video(video)
    width, height = (
        int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    if (read_orientation(video) or Orientation()).is_transposed:
        width, height = height, width
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if frames <= 0:
        rate, frames = _measure_rate(capture, rate), 0
    capture.release()
    if not 0 < rate <= MAX_RATE:
        raise ValueError(f"{video} has no frames; expected a video such as .mp4, .avi or .mkv")
    return VideoInfo(width, height, rate, frames, frames / rate)


def _measure_rate(capture: cv2.VideoCapture, rate: float) -> float:
    """Return the rate of the first frames [Hz]: `rate` if there is only one, 0 without one."""
    stamps: list[float] = []  # [s]
    while len(stamps) < MEASURED_FRAMES and capture.grab():
        stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
    if len(stamps) > 1 and stamps[-1] > stamps[0]:
        return (len(stamps) - 1) / (stamps[-1] - stamps[0])
    return rate if stamps else 0.0


def _open_video(video: str | Path) -> cv2.VideoCapture:
    if not Path(video).exists():
        raise FileNotFoundError(f"no video file {video}")
    with suppress_native_output():
        threads = [cv2.CAP_PROP_N_THREADS, cv2.getNumThreads()]  # a worker process has one
        capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, threads)
    if not capture.isOpened():
        raise ValueError(
            f"cannot read {video} as a video; expected a file such as .mp4, .avi or .mkv"
        )
    # as players show it; OpenCV's default differs from version to version
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, int(read_orientation(video) is None))
    return capture


def _open_device(config: CameraConfig) -> cv2.VideoCapture:
    with suppress_native_output():
        camera = config.camera
        options = (camera, cv2.CAP_V4L2) if isinstance(camera, str) else (camera,)
        capture = cv2.VideoCapture(*options)
    if not capture.isOpened():
        devices = ", ".join(
            sorted(p.name.removeprefix("video") for p in Path("/dev").glob("video[0-9]*"))
        )
        raise FileNotFoundError(f"no camera {config.camera}; this machine has {devices or 'none'}")
    if config.rate:
        capture.set(cv2.CAP_PROP_FPS, config.rate)
    # queued images would only add latency
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _video_frames(
    capture: cv2.VideoCapture, info: VideoInfo, config: CameraConfig
) -> Iterator[Frame]:
    """Yield the frames of a file; if a rate is given, the first frame of each period."""
    index = position = 0
    orientation = read_orientation(config.video) or Orientation()
    start = due = stamp = 0.0  # [s] of this repetition, of the next frame, of the last one
    try:
        while True:
            with suppress_native_output():  # FFmpeg reports each damaged frame
                success, bgr = capture.read()
            if not success:
                if position == 0:
                    raise ValueError(f"{config.video} has no frame that can be decoded")
                if not config.loop:
                    return
                start += max(info.duration, stamp + 1 / info.frame_rate)
                position = 0
                capture.release()
                capture = _open_video(config.video)  # not every file can be sought
                continue
            # containers without time stamps report 0 for every frame
            stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3 or position / info.frame_rate
            position += 1
            if start + stamp < due - 1e-6:
                continue
            if config.rate:
                due = max(due + 1 / config.rate, start + stamp)
            yield _frame(orientation.upright(bgr), start + stamp, index, config.max_size)
            index += 1
    finally:
        capture.release()


def _device_frames(capture: cv2.VideoCapture, config: CameraConfig) -> Iterator[Frame]:
    index = 0
    try:
        while True:
            success = capture.grab()
            stamp = time.time()
            success, bgr = capture.retrieve() if success else (False, None)
            if not success or bgr is None:
                raise ValueError(f"camera {config.camera} returned no image after {index} frames")
            yield _frame(bgr, stamp, index, config.max_size)
            index += 1
    finally:
        capture.release()


def _network_frames(camera: NetworkCamera, config: CameraConfig) -> Iterator[Frame]:
    """Yield the newest image of a stream, each once."""
    index = 0
    try:
        while (newest := camera.read()) is not None:
            stamp, bgr = newest
            yield _frame(bgr, stamp, index, config.max_size)
            index += 1
        raise ValueError(f"{config.camera} sends no more images, after {index}")
    finally:
        camera.release()


def _frame(bgr: np.ndarray, stamp: float, index: int, max_size: int) -> Frame:
    """Return a frame of an image (H, W, 3) BGR, whose longer side is at most `max_size`."""
    height, width = bgr.shape[:2]
    scale = max_size / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    return Frame(rgb, stamp, index, (width, height))
