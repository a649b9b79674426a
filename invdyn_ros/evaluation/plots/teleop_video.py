"""Video of a teleop run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from invdyn_ros.data.recording import Recording, align_stamps
from invdyn_ros.evaluation.plots.playback import Playback, overview_camera
from invdyn_ros.evaluation.plots.style import BLUE, VIDEO_GRAY, VIDEO_PANEL
from invdyn_ros.evaluation.plots.video_writer import (
    FOOTER,
    HEADER,
    HEIGHT,
    MAX_SECONDS,
    RATE,
    WIDTH,
    Canvas,
    Curve,
    VideoWriter,
)
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import Robot

PERSON_BOX = (0, HEADER, 600, HEIGHT - HEADER - FOOTER)  # [px]
ARM_BOX = (600, HEADER, WIDTH - 600, HEIGHT - HEADER - FOOTER)
CURVE_BOX = (860, HEIGHT - FOOTER + 12, 396, FOOTER - 24)
EMPTY_SCENE = load_scene("kuka_iiwa")  # a table without blocks


def teleop_span(playback: Playback) -> tuple[float, float]:
    """Return first and last time [s] of the images, or of the joints without any images."""
    if not playback.image_stamps:
        return playback.span
    return playback.image_stamps[0], playback.image_stamps[-1]


def teleop_video(recording: Recording, robot: Robot, file: Path) -> None:
    """Write a video of up to a minute of the person and the arm that follows.

    Args:
        recording: the run.
        robot: the arm.
        file: MP4 to write.
    """
    playback = Playback(recording, robot)
    start, end = teleop_span(playback)
    end = min(end, start + MAX_SECONDS)
    measured, desired = align_stamps(recording.joints, recording.desired)
    stamps, errors = measured.time, measured.q - desired.q
    rms = 1e3 * np.sqrt(np.mean(errors**2, axis=1)) if len(stamps) else np.empty(0)
    inside = (stamps >= start) & (stamps <= end)
    stamps, rms = stamps[inside], rms[inside]
    top = max(1.2 * float(rms.max(initial=0.0)), 1.0)
    curve = Curve(CURVE_BOX, stamps, rms, (start, end), BLUE, top)
    base = _base(robot.name)
    times = np.arange(start, end + 0.5 / RATE, 1 / RATE)
    with (
        VideoWriter(file) as video,
        overview_camera([playback], EMPTY_SCENE, robot, *ARM_BOX[2:]) as camera,
    ):
        for time in tqdm(times, "video", unit=" frames", mininterval=1):
            canvas = base.copy()
            canvas.paste(playback.render(camera, time), ARM_BOX)
            image = playback.image(time)
            if image is None:
                canvas.placeholder(PERSON_BOX, "no images of the person were recorded")
            else:
                canvas.paste(image, PERSON_BOX)
            current_rms = float(np.interp(time, stamps, rms)) if len(rms) else None
            _caption(canvas, time - start, current_rms)
            frame = np.array(canvas.array())
            if len(rms):
                curve.draw(frame, time)
            video.add(frame)


def _base(arm: str) -> Canvas:
    """Return the static part of a frame."""
    canvas = Canvas()
    end = canvas.text((24, HEADER / 2), "teleop", 22, bold=True)
    canvas.text((end + 14, HEADER / 2), "camera image with detected landmarks", 18, VIDEO_GRAY)
    end = canvas.text((ARM_BOX[0] + 16, HEADER / 2), arm, 22, bold=True)
    canvas.text((end + 14, HEADER / 2), "measured joint positions", 18, VIDEO_GRAY)
    x, y, width, height = CURVE_BOX
    canvas.pen.rectangle((x - 12, y - 8, x + width + 12, y + height + 8), fill=VIDEO_PANEL)
    return canvas


def _caption(canvas: Canvas, seconds: float, rms: float | None) -> None:
    """Write time and joint error at the bottom of a frame."""
    y = HEIGHT - FOOTER / 2
    canvas.text((24, y), f"{seconds:5.2f} s", 22, bold=True)
    if rms is not None:
        canvas.text((ARM_BOX[0] + 16, y), f"joint error {rms:.1f} mrad", 18, VIDEO_GRAY)
