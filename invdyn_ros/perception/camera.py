"""Camera: a device or a video file enters, RGB frames with the time of their source leave."""

from __future__ import annotations

import math
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


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture."""

    image: np.ndarray
    """RGB pixels (height, width, 3), uint8."""
    time: float
    """When it was taken [s]: from the start of a video file, since the epoch for a device."""
    index: int
    """Frames before this one, also across repetitions of a looped video."""


class VideoInfo(NamedTuple):
    """What a video file says of itself."""

    width: int  # [px]
    height: int  # [px]
    frame_rate: float  # [Hz]
    num_frames: int
    duration: float  # [s]


@dataclass(frozen=True)
class CameraConfig(Validated):
    """Where pictures come from: `video` or `camera`, one of the two."""

    video: str = ""
    """Video file; empty for none."""
    camera: int = -1
    """Device index, as in /dev/video0; -1 for none."""
    max_size: Annotated[int, Field(ge=32)] = 480
    """Larger pictures shrink to this longer side [px]; pose estimation looks at 256 px anyway."""
    loop: bool = False
    """Start a video again when it ends; time goes on."""
    rate: Annotated[float, Field(ge=0, lt=math.inf)] = 0.0
    """Frames per second [Hz]: asked of a device, in a video the others are left out; 0 for all."""

    def __post_init__(self) -> None:
        """Refuse settings that name no source, or two."""
        super().__post_init__()
        if bool(self.video) == (self.camera >= 0):
            raise ValueError(
                "give either a video or a camera, "
                f"got video {self.video!r} and camera {self.camera}"
            )


def open_camera(config: CameraConfig) -> Iterator[Frame]:
    """Open a source now and give its frames one by one, as fast as they are asked for.

    The caller keeps the pace of a video by the frames' own times. Closing the iterator frees the
    device.

    Raises:
        FileNotFoundError: no such video file, or no such camera.
        ValueError: the file is no video, or the device gives no picture.
    """
    if config.video:
        return _video_frames(_open_video(config.video), read_video_info(config.video), config)
    return _device_frames(_open_device(config), config)


def read_video_info(video: str | Path) -> VideoInfo:
    """Read size, rate and length of a video file without decoding it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no video.
    """
    capture = _open_video(video)
    width, height = (
        int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    if not (rate > 0 and frames > 0):
        raise ValueError(f"{video} has no frames; expected a video such as .mp4, .avi or .mkv")
    return VideoInfo(width, height, rate, frames, frames / rate)


def _open_video(video: str | Path) -> cv2.VideoCapture:
    if not Path(video).exists():
        raise FileNotFoundError(f"no video file {video}")
    with suppress_native_output():
        capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise ValueError(
            f"cannot read {video} as a video; expected a file such as .mp4, .avi or .mkv"
        )
    return capture


def _open_device(config: CameraConfig) -> cv2.VideoCapture:
    with suppress_native_output():
        capture = cv2.VideoCapture(config.camera)
    if not capture.isOpened():
        found = ", ".join(
            sorted(p.name.removeprefix("video") for p in Path("/dev").glob("video[0-9]*"))
        )
        raise FileNotFoundError(f"no camera {config.camera}; this machine has {found or 'none'}")
    if config.rate:
        capture.set(cv2.CAP_PROP_FPS, config.rate)
    # a queue of old pictures is pure latency
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _video_frames(
    capture: cv2.VideoCapture, info: VideoInfo, config: CameraConfig
) -> Iterator[Frame]:
    """Give frames of a file; with a wanted rate, the first frame of each period."""
    index = position = 0
    start = due = 0.0  # [s] when this repetition began, when the next frame is wanted
    try:
        while True:
            grabbed, bgr = capture.read()
            if not grabbed:
                if position == 0:
                    raise ValueError(f"{config.video} has no frame that can be decoded")
                if not config.loop:
                    return
                start, position = start + max(info.duration, position / info.frame_rate), 0
                capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                continue
            # containers without time stamps report 0 for every frame
            stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3 or position / info.frame_rate
            position += 1
            if start + stamp < due - 1e-6:
                continue
            if config.rate:
                due = max(due + 1 / config.rate, start + stamp)
            yield Frame(_rgb(bgr, config.max_size), start + stamp, index)
            index += 1
    finally:
        capture.release()


def _device_frames(capture: cv2.VideoCapture, config: CameraConfig) -> Iterator[Frame]:
    index = 0
    try:
        while True:
            grabbed = capture.grab()
            stamp = time.time()
            grabbed, bgr = capture.retrieve() if grabbed else (False, None)
            if not grabbed or bgr is None:
                raise ValueError(f"camera {config.camera} gives no picture (after {index} frames)")
            yield Frame(_rgb(bgr, config.max_size), stamp, index)
            index += 1
    finally:
        capture.release()


def _rgb(bgr: np.ndarray, max_size: int) -> np.ndarray:
    """Shrink to `max_size` on the longer side and change BGR to RGB."""
    height, width = bgr.shape[:2]
    scale = max_size / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
