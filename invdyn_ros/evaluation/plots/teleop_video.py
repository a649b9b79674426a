"""Video of a teleop run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation.person_errors import (
    PersonTargets,
    measured_errors,
    person_targets,
)
from invdyn_ros.evaluation.plots.playback import Playback, overview_camera
from invdyn_ros.evaluation.plots.style import BLUE, VIDEO_GRAY, VIDEO_PANEL
from invdyn_ros.evaluation.plots.video_writer import (
    FOOTER,
    HEADER,
    HEIGHT,
    MAX_ALERTS,
    MAX_SECONDS,
    RATE,
    SHOWN_SECONDS,
    WIDTH,
    Canvas,
    Curve,
    VideoWriter,
)
from invdyn_ros.evaluation.run_events import Event, active_events
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


def teleop_video(
    recording: Recording,
    robot: Robot,
    file: Path,
    side: str = "left",
    events: Sequence[Event] = (),
) -> None:
    """Write a video of up to a minute of the person and the arm that follows.

    Args:
        recording: the run.
        robot: the arm.
        file: MP4 to write.
        side: arm of the person that was followed, "left" or "right".
        events: faults, contacts, violations, holds and lost images, shown in red.
    """
    playback = Playback(recording, robot)
    start, end = teleop_span(playback)
    end = min(end, start + MAX_SECONDS)
    stamps, distance = wrist_distances(recording, robot, side, start, end)
    top = max(1.1 * float(distance.max(initial=0.0)), 50.0)
    curve = Curve(CURVE_BOX, stamps, distance, (start, end), BLUE, top)
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
            active = active_events(events, time, SHOWN_SECONDS)
            for is_lost, box in ((False, ARM_BOX), (True, PERSON_BOX)):
                texts = [event.text for event in active if (event.kind == "lost") == is_lost]
                canvas.alert(box, texts[:MAX_ALERTS])
            current = float(np.interp(time, stamps, distance)) if len(stamps) else None
            _caption(canvas, time - start, current)
            frame = np.array(canvas.array())
            curve.mark(frame, [(event.start, event.end) for event in events])
            if len(stamps):
                curve.draw(frame, time)
            video.add(frame)


def wrist_distances(
    recording: Recording, robot: Robot, side: str, start: float, end: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return times [s] and distances [mm] of the measured wrist from the person's, (F,) each.

    Args:
        recording: the run.
        robot: the arm.
        side: arm of the person that was followed.
        start: first time [s].
        end: last time [s].
    """
    targets = person_targets(recording, robot, side)
    times = recording.joints.time
    if len(times):
        start, end = max(start, float(times[0])), min(end, float(times[-1]))
    inside = (targets.time >= start) & (targets.time <= end)
    within = PersonTargets(*(part[inside] for part in targets))
    errors = measured_errors(recording, robot, within)
    return within.time[: len(errors.wrist)], errors.wrist


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


def _caption(canvas: Canvas, seconds: float, distance: float | None) -> None:
    """Write time and distance of the measured wrist [mm] at the bottom of a frame."""
    y = HEIGHT - FOOTER / 2
    canvas.text((24, y), f"{seconds:5.2f} s", 22, bold=True)
    if distance is not None:
        text = f"measured wrist to person: {distance:.0f} mm"
        canvas.text((CURVE_BOX[0] - 28, y), text, 18, VIDEO_GRAY, anchor="rm")
