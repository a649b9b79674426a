"""Video of a planar body: true states beside the predictions of a time-series model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import mujoco
import numpy as np

from invdyn_ros.evaluation.plots.gif import GIF_FRAME_STEP, gif_frame, write_gif
from invdyn_ros.evaluation.plots.style import VIDEO_GRAY, VIDEO_LINE, VIDEO_PANEL, VIDEO_TEXT, rgb
from invdyn_ros.evaluation.plots.video_writer import HEADER, WIDTH, Canvas, VideoWriter

TRUE, COLORS = VIDEO_GRAY, ("#6fb1ff", "#ffb84d")  # of true states, and of two predictions
BODY_BOX = (40, HEADER + 24, 460, 290)  # [px] x, y, width and height of the upper box
BODY_BOX_OFFSET = 306  # [px] from the upper to the lower box
CURVES = (560, HEADER + 24, WIDTH - 600, 596)
LABEL_HEIGHT = 30  # [px] between the boxes of two curves
MAX_PIXELS_PER_METRE = 110  # [px/m]
VIDEO_SUFFIXES = (".mp4", ".gif")
GROUND_HEIGHT = 42  # [px] below the floor
TOP_MARGIN = 12  # [px] free above a body


class MotionPredictions(NamedTuple):
    """One motion of T samples, with predictions of all of its states."""

    time: np.ndarray  # (T,) [s]
    state: np.ndarray  # (T, 2n)
    mask: np.ndarray  # (T,) whether the state was observed
    predictions: Mapping[str, np.ndarray]  # name -> (T, 2n), two of them


def write_body_video(
    stem: Path,
    model: mujoco.MjModel,
    motion: MotionPredictions,
    columns: Mapping[str, int],
    title: str,
) -> list[Path]:
    """Write STEM.mp4 and STEM.gif, with a frame per sample, and return their paths.

    Args:
        stem: path without suffix.
        model: the body.
        motion: true states and predictions.
        columns: name -> column of the state, for the curves.
        title: title line.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    background = _header(motion, title)
    boxes = _boxes(background, columns)
    spans = [_value_range(motion.state[:, column]) for column in columns.values()]
    for (name, box), (low, high) in zip(boxes.items(), spans, strict=True):
        background.text((box[0], box[1] - 11), f"{name}, {low:.3g} to {high:.3g}", 14, VIDEO_TEXT)
    page = background.array().copy()
    for column, box, span in zip(columns.values(), boxes.values(), spans, strict=True):
        _curve(page, box, motion, column, span)
    scale = _pixels_per_metre(model, motion.state)
    files = [stem.with_suffix(suffix) for suffix in VIDEO_SUFFIXES]
    gif_frames = []
    with VideoWriter(files[0]) as video:
        for row in range(len(motion.time)):
            frame = page.copy()
            for number, ((_, states), color) in enumerate(
                zip(motion.predictions.items(), COLORS, strict=True)
            ):
                corner = BODY_BOX[0], BODY_BOX[1] + number * BODY_BOX_OFFSET
                _draw_body(frame, model, motion.state[row], states[row], (corner, color), scale)
            for left, top, width, height in boxes.values():
                x = left + round(width * row / max(len(motion.time) - 1, 1))
                cv2.line(frame, (x, top), (x, top + height), rgb(VIDEO_TEXT), 1, cv2.LINE_AA)
            video.add(frame)
            if row % GIF_FRAME_STEP == 0:
                gif_frames.append(gif_frame(frame))
    write_gif(files[1], gif_frames)
    return files


def _header(motion: MotionPredictions, title: str) -> Canvas:
    """Return an empty frame with a title and a legend."""
    canvas = Canvas()
    canvas.text((BODY_BOX[0], HEADER / 2 + 6), title, 22, bold=True)
    x = CURVES[0] + 150
    for name, color in (("true", TRUE), *zip(motion.predictions, COLORS, strict=True)):
        canvas.legend_entry((x, HEADER / 2 + 6), name, color)
        x += 40 + 11 * len(name)
    return canvas


def _pixels_per_metre(model: mujoco.MjModel, states: np.ndarray) -> float:
    """Return the scale [px/m] at which the body is inside its box in all states."""
    highest = max(
        float(ends[:, 1].max()) + radius
        for state in states
        for ends, radius in _capsules(model, state)
    )
    return min(MAX_PIXELS_PER_METRE, (BODY_BOX[3] - GROUND_HEIGHT - TOP_MARGIN) / highest)


def _boxes(canvas: Canvas, columns: Mapping[str, int]) -> dict[str, tuple[int, int, int, int]]:
    """Draw an empty box for each curve; return name -> x, y, width and height [px]."""
    left, top, width, height = CURVES
    box_spacing = height // len(columns)
    boxes = {}
    for number, name in enumerate(columns):
        box = boxes[name] = (left, top + number * box_spacing, width, box_spacing - LABEL_HEIGHT)
        canvas.pen.rectangle((*box[:2], box[0] + box[2], box[1] + box[3]), fill=VIDEO_PANEL)
    return boxes


def _value_range(values: np.ndarray) -> tuple[float, float]:
    """Return the limits of a box for values (T,), with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = 0.25 * max(high - low, 1e-6)
    return low - margin, high + margin


def _curve(
    page: np.ndarray,
    box: tuple[int, int, int, int],
    motion: MotionPredictions,
    column: int,
    span: tuple[float, float],
) -> None:
    """Draw true and predicted values of a column into a box, in place, with dots at observations.

    Args:
        page: (H, W, 3) uint8 RGB, drawn on.
        box: x, y, width and height [px].
        motion: true states and predictions.
        column: of the states.
        span: lower and upper limit of the box.
    """
    true = motion.state[:, column]
    values = [true, *(states[:, column] for states in motion.predictions.values())]
    for line, color, thickness in zip(values, (TRUE, *COLORS), (4, 2, 2), strict=True):
        points = [_points(box, line, *span)]
        cv2.polylines(page, points, False, rgb(color), thickness, cv2.LINE_AA, 4)
    for x, y in _points(box, true, *span)[motion.mask] // 16:
        cv2.circle(page, (int(x), int(y)), 6, rgb(VIDEO_TEXT), -1, cv2.LINE_AA)


def _points(
    box: tuple[int, int, int, int], values: np.ndarray, low: float, high: float
) -> np.ndarray:
    """Return values (T,) as points (T, 2) in a box, in sixteenths of a pixel."""
    left, top, width, height = box
    x = left + width * np.arange(len(values)) / max(len(values) - 1, 1)
    y = top + height * (1 - (np.clip(values, low, high) - low) / (high - low))
    return np.round(16 * np.column_stack([x, y])).astype(np.int32)


def _draw_body(
    frame: np.ndarray,
    model: mujoco.MjModel,
    true: np.ndarray,
    predicted: np.ndarray,
    corner_and_color: tuple[tuple[int, int], str],
    scale: float,
) -> None:
    """Draw the true and the predicted body, in place; the camera follows the true one.

    Args:
        frame: (H, W, 3) uint8 RGB, drawn on.
        model: the body.
        true: (2n,) state.
        predicted: (2n,) state.
        corner_and_color: corner of the box (x, y) [px], and color of the prediction.
        scale: [px/m].
    """
    (left, top), color = corner_and_color
    _, _, width, height = BODY_BOX
    view = frame[top : top + height, left : left + width]
    view[:] = rgb(VIDEO_PANEL)
    cv2.line(
        view, (0, height - GROUND_HEIGHT), (width, height - GROUND_HEIGHT), rgb(VIDEO_LINE), 3
    )
    centre = float(_capsules(model, true)[0][0][:, 0].mean())
    for state, shade, opacity in ((true, TRUE, 1.0), (predicted, color, 0.75)):
        layer = view.copy()
        for ends, radius in _capsules(model, state):
            pixels = [
                (
                    round(float(width / 2 + scale * (x - centre))),
                    round(float(height - GROUND_HEIGHT - scale * z)),
                )
                for x, z in ends
            ]
            thickness = max(2, round(2 * scale * radius))
            cv2.line(layer, pixels[0], pixels[1], rgb(shade), thickness, cv2.LINE_AA)
        view[:] = cv2.addWeighted(layer, opacity, view, 1 - opacity, 0)


def _capsules(model: mujoco.MjModel, state: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Return the ends (2, 2) in the plane and the radius of each capsule of a body [m]."""
    data = mujoco.MjData(model)
    data.qpos[:] = state[: model.nq]
    mujoco.mj_kinematics(model, data)
    capsules = []
    for k in range(model.ngeom):
        if model.geom_type[k] == mujoco.mjtGeom.mjGEOM_CAPSULE:
            radius, half, _ = model.geom_size[k]
            axis = half * data.geom_xmat[k].reshape(3, 3)[:, 2]
            ends = np.stack([data.geom_xpos[k] - axis, data.geom_xpos[k] + axis])
            capsules.append((ends[:, [0, 2]], float(radius)))
    return capsules
