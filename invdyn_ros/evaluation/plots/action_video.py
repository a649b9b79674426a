"""Video with true and predicted actions drawn beside the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from invdyn_ros.evaluation.plots.style import VIDEO_GRAY, VIDEO_LINE, VIDEO_PANEL, VIDEO_TEXT, rgb
from invdyn_ros.evaluation.plots.video_writer import (
    HEADER,
    HEIGHT,
    RATE,
    WIDTH,
    Canvas,
    VideoWriter,
)

TRUE, PREDICTED = VIDEO_GRAY, "#ffb84d"
IMAGE_SIZE = 560  # [px]
MARGIN = 40
MAX_ACTIONS = 7

Box = tuple[int, int, int, int]  # x, y, width and height [px]


def write_action_video(
    file: Path,
    frames: np.ndarray,
    actions: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    title: str,
    rate: float,
) -> None:
    """Write a video in real time, with the actions up to the current image beside it.

    Args:
        file: MP4 to write.
        frames: (T, H, W, 3) uint8 RGB.
        actions: true and predicted, (T, n) each, in the same unit.
        names: names of the n actions.
        title: title line.
        rate: images per second [Hz].
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    count = min(len(names), MAX_ACTIONS)
    left, height = MARGIN + IMAGE_SIZE + 60, IMAGE_SIZE // count
    width = WIDTH - IMAGE_SIZE - 2 * MARGIN - 60
    boxes = [(left, HEADER + 30 + k * height, width, height - 24) for k in range(count)]
    max_values = [float(np.abs(actions[0][:, k]).max()) * 1.2 or 1.0 for k in range(count)]
    labels = [f"{name}  ±{top:.3g}" for name, top in zip(names, max_values, strict=False)]
    background = _background(title, boxes, labels)
    scale = IMAGE_SIZE // max(frames.shape[1:3])
    with VideoWriter(file, WIDTH, HEIGHT) as video:
        for now, frame in enumerate(frames, 1):
            canvas = background.copy()
            large = np.kron(frame, np.ones((scale, scale, 1), np.uint8)) if scale > 1 else frame
            canvas.paste(large, (MARGIN, HEADER + 30, IMAGE_SIZE, IMAGE_SIZE))
            image = canvas.array().copy()
            for k, (box, top) in enumerate(zip(boxes, max_values, strict=True)):
                for values, color in zip(actions, (TRUE, PREDICTED), strict=True):
                    _line(image, box, values[:now, k] / top, len(frames), color)
            video.add(image, max(1, round(RATE / rate)))


def _background(title: str, boxes: Sequence[Box], labels: Sequence[str]) -> Canvas:
    """Return what all frames show: the title, the legend and an empty chart in each box."""
    background, left = Canvas(), MARGIN + IMAGE_SIZE
    background.text((MARGIN, HEADER / 2 + 6), title, 22, bold=True)
    background.legend_entry((left + 60, HEADER / 2 + 6), "true", TRUE)
    background.legend_entry((left + 160, HEADER / 2 + 6), "predicted", PREDICTED)
    for (x, y, width, height), label in zip(boxes, labels, strict=True):
        background.pen.rectangle((x, y, x + width, y + height), fill=VIDEO_PANEL)
        background.pen.line((x, y + height / 2, x + width, y + height / 2), fill=VIDEO_LINE)
        background.text((x, y - 12), label, 14, VIDEO_TEXT)
    return background


def _line(image: np.ndarray, box: Box, values: np.ndarray, count: int, color: str) -> None:
    """Draw a curve into a box, in place.

    Args:
        image: (H, W, 3) uint8 RGB, drawn on.
        box: of the chart.
        values: (T,) between -1 and 1.
        count: number of values that fill the width of the box.
        color: "#rrggbb".
    """
    x, y, width, height = box
    columns = x + np.arange(len(values)) / max(count - 1, 1) * width
    rows = y + height / 2 * (1 - np.clip(values, -1, 1))
    points = np.round(16 * np.column_stack([columns, rows])).astype(np.int32)
    cv2.polylines(image, [points], False, rgb(color), 2, cv2.LINE_AA, 4)
