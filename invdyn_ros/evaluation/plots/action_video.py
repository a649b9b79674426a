"""A video with its actions: pictures, true and predicted actions enter; an MP4 leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from invdyn_ros.evaluation.plots.style import EDGE, MIST, PANEL, SNOW, rgb
from invdyn_ros.evaluation.plots.video_writer import (
    HEADER,
    HEIGHT,
    RATE,
    WIDTH,
    Canvas,
    VideoWriter,
)

TRUE, PREDICTED = MIST, "#ffb84d"
SIDE = 560  # [px] of the picture
MARGIN = 40
MAX_ACTIONS = 7  # actions that are drawn


def write_action_video(
    file: Path,
    frames: np.ndarray,
    actions: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    title: str,
    rate: float,
) -> None:
    """Write a video at its own pace, its actions drawn beside it up to the picture shown.

    Args:
        file: MP4 to write.
        frames: (T, H, W, 3) uint8 RGB.
        actions: true and predicted, (T, n) each, in the same unit.
        names: of the n actions.
        title: one line.
        rate: pictures per second [Hz].
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    board, shown = Canvas(), min(len(names), MAX_ACTIONS)
    board.text((MARGIN, HEADER / 2 + 6), title, 22, bold=True)
    board.legend_entry((MARGIN + SIDE + 60, HEADER / 2 + 6), "true", TRUE)
    board.legend_entry((MARGIN + SIDE + 160, HEADER / 2 + 6), "predicted", PREDICTED)
    height = SIDE // shown
    boxes = [
        (MARGIN + SIDE + 60, HEADER + 30 + k * height, WIDTH - SIDE - 2 * MARGIN - 60, height - 24)
        for k in range(shown)
    ]
    tops = [float(np.abs(actions[0][:, k]).max()) * 1.2 or 1.0 for k in range(shown)]
    for box, name, top in zip(boxes, names, tops, strict=False):
        x, y, width, tall = box
        board.pen.rectangle((x, y, x + width, y + tall), fill=PANEL)
        board.pen.line((x, y + tall / 2, x + width, y + tall / 2), fill=EDGE)
        board.text((x, y - 12), f"{name}  ±{top:.3g}", 14, SNOW)
    scale = SIDE // max(frames.shape[1:3])
    with VideoWriter(file, WIDTH, HEIGHT) as film:
        for now, frame in enumerate(frames, 1):
            page = board.copy()
            large = np.kron(frame, np.ones((scale, scale, 1), np.uint8)) if scale > 1 else frame
            page.paste(large, (MARGIN, HEADER + 30, SIDE, SIDE))
            picture = page.array().copy()
            for k, (box, top) in enumerate(zip(boxes, tops, strict=True)):
                for values, color in zip(actions, (TRUE, PREDICTED), strict=True):
                    _line(picture, box, values[:now, k] / top, len(frames), color)
            film.add(picture, max(1, round(RATE / rate)))


def _line(
    picture: np.ndarray, box: tuple[int, int, int, int], values: np.ndarray, count: int, color: str
) -> None:
    """Draw values (T,) of -1 to 1 into a box as wide as `count` of them, in place."""
    x, y, width, tall = box
    across = x + np.arange(len(values)) / max(count - 1, 1) * width
    down = y + tall / 2 * (1 - np.clip(values, -1, 1))
    points = np.round(16 * np.column_stack([across, down])).astype(np.int32)
    cv2.polylines(picture, [points], False, rgb(color), 2, cv2.LINE_AA, 4)
