"""A planar body between observations: true and said states enter; an MP4 and a GIF leave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import mujoco
import numpy as np
from PIL import Image

from invdyn_ros.evaluation.plots.style import EDGE, MIST, PANEL, SNOW, rgb
from invdyn_ros.evaluation.plots.video_writer import HEADER, WIDTH, Canvas, VideoWriter

TRUE, COLORS = MIST, ("#6fb1ff", "#ffb84d")  # of what was, and of two ways of saying it
BODY_BOX = (40, HEADER + 24, 460, 290)  # x, y, width and height of the first body's box [px]
BODY_BOX_OFFSET = 306  # [px] from one body's box to the next
CURVES = (560, HEADER + 24, WIDTH - 600, 596)
LABEL_HEIGHT = 30  # [px] between boxes, for words
MAX_PIXELS_PER_METRE, GROUND_HEIGHT = (
    110,
    42,
)  # [px] of a metre at most, and from the floor to the lower edge
TOP_MARGIN = 12  # [px] kept free above a body
GIF_SIZE = (720, 405)  # [px] of the GIF
GIF_FRAME_STEP = 2  # frames of the film that one of the GIF stands for


class MotionPredictions(NamedTuple):
    """One motion of T samples."""

    time: np.ndarray  # (T,) [s]
    state: np.ndarray  # (T, 2n)
    mask: np.ndarray  # (T,) bool
    predictions: Mapping[str, np.ndarray]  # name -> (T, 2n), two of them


def write_body_video(
    stem: Path,
    model: mujoco.MjModel,
    motion: MotionPredictions,
    columns: Mapping[str, int],
    title: str,
) -> list[Path]:
    """Write STEM.mp4 and STEM.gif, a frame per sample, and return both.

    Args:
        stem: path without suffix.
        model: the body.
        shown: what it did, and what was said of it.
        columns: name -> column of the state, of the curves that are drawn.
        title: one line.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    board = _header(motion, title)
    boxes = _boxes(board, columns)
    spans = [_value_range(motion.state[:, column]) for column in columns.values()]
    for (name, box), (low, high) in zip(boxes.items(), spans, strict=True):
        board.text((box[0], box[1] - 11), f"{name}, {low:.3g} to {high:.3g}", 14, SNOW)
    page = board.array().copy()
    for column, box, span in zip(columns.values(), boxes.values(), spans, strict=True):
        _curve(page, box, motion, column, span)
    metre = _pixels_per_metre(model, motion.state)
    files = [stem.with_suffix(suffix) for suffix in (".mp4", ".gif")]
    small = []
    with VideoWriter(files[0]) as film:
        for row in range(len(motion.time)):
            frame = page.copy()
            for number, ((_, states), color) in enumerate(
                zip(motion.predictions.items(), COLORS, strict=True)
            ):
                corner = BODY_BOX[0], BODY_BOX[1] + number * BODY_BOX_OFFSET
                _draw_body(frame, model, motion.state[row], states[row], (corner, color), metre)
            for left, top, width, height in boxes.values():
                at = left + round(width * row / max(len(motion.time) - 1, 1))
                cv2.line(frame, (at, top), (at, top + height), rgb(SNOW), 1, cv2.LINE_AA)
            film.add(frame)
            if row % GIF_FRAME_STEP == 0:
                small.append(Image.fromarray(frame).resize(GIF_SIZE, Image.Resampling.LANCZOS))
    palette = small[0].quantize(64)
    pages = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in small]
    pages[0].save(
        files[1], save_all=True, append_images=pages[1:], duration=50 * GIF_FRAME_STEP, loop=0
    )
    return files


def _header(shown: MotionPredictions, title: str) -> Canvas:
    """Return an empty page with a title, and what the colours stand for."""
    board = Canvas()
    board.text((BODY_BOX[0], HEADER / 2 + 6), title, 22, bold=True)
    x = CURVES[0] + 150
    for name, color in (("true", TRUE), *zip(shown.predictions, COLORS, strict=True)):
        board.legend_entry((x, HEADER / 2 + 6), name, color)
        x += 40 + 11 * len(name)
    return board


def _pixels_per_metre(model: mujoco.MjModel, states: np.ndarray) -> float:
    """Return the length of a metre [px] with which a body stays within its box in all states."""
    highest = max(
        float(ends[:, 1].max()) + radius
        for state in states
        for ends, radius in _capsules(model, state)
    )
    return min(MAX_PIXELS_PER_METRE, (BODY_BOX[3] - GROUND_HEIGHT - TOP_MARGIN) / highest)


def _boxes(board: Canvas, columns: Mapping[str, int]) -> dict[str, tuple[int, int, int, int]]:
    """Draw an empty box x, y, w, h [px] for each curve, and return them."""
    left, top, width, height = CURVES
    tall = height // len(columns)
    boxes = {}
    for number, name in enumerate(columns):
        box = boxes[name] = (left, top + number * tall, width, tall - LABEL_HEIGHT)
        board.pen.rectangle((*box[:2], box[0] + box[2], box[1] + box[3]), fill=PANEL)
    return boxes


def _value_range(values: np.ndarray) -> tuple[float, float]:
    """Return what a box shows, a little more than the values (T,)."""
    low, high = float(values.min()), float(values.max())
    margin = 0.25 * max(high - low, 1e-6)
    return low - margin, high + margin


def _curve(
    page: np.ndarray,
    box: tuple[int, int, int, int],
    shown: MotionPredictions,
    column: int,
    span: tuple[float, float],
) -> None:
    """Draw a column of all states into a box, and dots where it was seen, in place."""
    true = shown.state[:, column]
    values = [true, *(states[:, column] for states in shown.predictions.values())]
    for line, color, thick in zip(values, (TRUE, *COLORS), (4, 2, 2), strict=True):
        points = [_points(box, line, *span)]
        cv2.polylines(page, points, False, rgb(color), thick, cv2.LINE_AA, 4)
    for x, y in _points(box, true, *span)[shown.mask] // 16:
        cv2.circle(page, (int(x), int(y)), 6, rgb(SNOW), -1, cv2.LINE_AA)


def _points(
    box: tuple[int, int, int, int], values: np.ndarray, low: float, high: float
) -> np.ndarray:
    """Return values (T,) as points (T, 2) in a box, in sixteenths of a pixel."""
    left, top, width, height = box
    across = left + width * np.arange(len(values)) / max(len(values) - 1, 1)
    down = top + height * (1 - (np.clip(values, low, high) - low) / (high - low))
    return np.round(16 * np.column_stack([across, down])).astype(np.int32)


def _draw_body(
    frame: np.ndarray,
    model: mujoco.MjModel,
    true: np.ndarray,
    said: np.ndarray,
    where: tuple[tuple[int, int], str],
    metre: float,
) -> None:
    """Draw a body as it was and as it is said to have been, in place; the camera goes with it."""
    (left, top), color = where
    _, _, width, height = BODY_BOX
    view = frame[top : top + height, left : left + width]
    view[:] = rgb(PANEL)
    cv2.line(view, (0, height - GROUND_HEIGHT), (width, height - GROUND_HEIGHT), rgb(EDGE), 3)
    centre = float(_capsules(model, true)[0][0][:, 0].mean())
    for state, shade, share in ((true, TRUE, 1.0), (said, color, 0.75)):
        layer = view.copy()
        for ends, radius in _capsules(model, state):
            spots = [
                (
                    round(float(width / 2 + metre * (x - centre))),
                    round(float(height - GROUND_HEIGHT - metre * z)),
                )
                for x, z in ends
            ]
            thick = max(2, round(2 * metre * radius))
            cv2.line(layer, spots[0], spots[1], rgb(shade), thick, cv2.LINE_AA)
        view[:] = cv2.addWeighted(layer, share, view, 1 - share, 0)


def _capsules(model: mujoco.MjModel, state: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Return ends (2, 2) [m] in the plane and radius of each capsule of a body."""
    data = mujoco.MjData(model)
    data.qpos[:] = state[: model.nq]
    mujoco.mj_kinematics(model, data)
    found = []
    for k in range(model.ngeom):
        if model.geom_type[k] == mujoco.mjtGeom.mjGEOM_CAPSULE:
            radius, half, _ = model.geom_size[k]
            axis = half * data.geom_xmat[k].reshape(3, 3)[:, 2]
            ends = np.stack([data.geom_xpos[k] - axis, data.geom_xpos[k] + axis])
            found.append((ends[:, [0, 2]], float(radius)))
    return found
