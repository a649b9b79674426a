"""Animated GIF files, smaller and slower than the video of the same frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from invdyn_ros.evaluation.plots.video_writer import RATE

GIF_SIZE = (720, 405)  # [px]
GIF_FRAME_STEP = 2  # frames of the video per frame of the GIF
COLORS = 64


def gif_frame(frame: np.ndarray) -> Image.Image:
    """Return a frame (H, W, 3) uint8 of a video in the size of a GIF."""
    return Image.fromarray(frame).resize(GIF_SIZE, Image.Resampling.LANCZOS)


def write_gif(file: Path, frames: Sequence[Image.Image]) -> None:
    """Write every GIF_FRAME_STEP-th frame of a video as a GIF with the colors of the last one."""
    palette = frames[-1].quantize(COLORS)
    pages = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    duration = 1000 * GIF_FRAME_STEP // RATE  # [ms]
    pages[0].save(file, save_all=True, append_images=pages[1:], duration=duration, loop=0)
