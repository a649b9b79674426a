"""Video of a teleop run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation.person_errors import (
    PersonTargets,
    measured_errors,
    person_targets,
)
from invdyn_ros.evaluation.plots.playback import EMPTY_SCENE, Playback, overview_camera
from invdyn_ros.evaluation.plots.style import GREEN, ORANGE, RED, VIDEO_GRAY, VIDEO_PANEL, rgb
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
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.teleop.pose import LEFT_COLOR, RIGHT_COLOR
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retargeting import Retargeter
from invdyn_ros.typing import Array

PERSON_BOX = (0, HEADER, 600, HEIGHT - HEADER - FOOTER)  # [px]
ARM_BOX = (600, HEADER, WIDTH - 600, HEIGHT - HEADER - FOOTER)
CURVE_BOX = (860, HEIGHT - FOOTER + 12, 396, FOOTER - 24)
SIDE_COLORS = {  # of the person's arms, in both views
    side: f"#{r:02x}{g:02x}{b:02x}"
    for side, (r, g, b) in (("left", LEFT_COLOR), ("right", RIGHT_COLOR))
}
MARKER = (cv2.MARKER_CROSS, 26, 3, cv2.LINE_AA)
MARKER_OUTLINE = ((30, 30, 30), cv2.MARKER_CROSS, 30, 7, cv2.LINE_AA)
DEFAULT_CONFIG = RetargetConfig()
MAX_STATE = 46  # letters that fit beside time and distance
OPEN_FRACTION = 0.9  # of the largest opening
MAX_GAP = 0.3  # [s] for which the last command or image of a person counts


def teleop_span(playback: Playback) -> tuple[float, float]:
    """Return first and last time [s] of the images, or of the joints without any images."""
    if not playback.image_stamps:
        return playback.span
    return playback.image_stamps[0], playback.image_stamps[-1]


def teleop_video(
    recording: Recording,
    robot: Robot,
    file: Path,
    config: RetargetConfig = DEFAULT_CONFIG,
    events: Sequence[Event] = (),
    scene: Scene | None = None,
) -> None:
    """Write a video of up to a minute of the person and the arm that follows.

    Args:
        recording: the run.
        robot: the arm.
        file: MP4 to write.
        config: settings with which the person was followed.
        events: faults, contacts, violations, holds and lost images, shown in red.
        scene: table and block; None: an empty table.
    """
    playback = Playback(recording, robot)
    start, end = teleop_span(playback)
    end = min(end, start + MAX_SECONDS)
    stamps, distance = wrist_distances(recording, robot, config, start, end)
    top = max(1.1 * float(distance.max(initial=0.0)), 50.0)
    curve = Curve(CURVE_BOX, stamps, distance, (start, end), SIDE_COLORS[config.side], top)
    base = _base(robot.name, config.side)
    targets, workspace = (
        person_targets(recording, robot, config),
        Retargeter(robot, config).workspace,
    )
    times = np.arange(start, end + 0.5 / RATE, 1 / RATE)
    with (
        VideoWriter(file) as video,
        overview_camera(
            [playback], scene or EMPTY_SCENE, robot, *ARM_BOX[2:], others=targets.hand
        ) as camera,
    ):
        for time in tqdm(times, "video", unit=" frames", mininterval=1):
            canvas = base.copy()
            view, hand = playback.render(camera, time), hand_target(targets, time)
            if hand is not None:
                _draw_target(view, camera.camera.project(hand), rgb(SIDE_COLORS[config.side]))
            canvas.paste(view, ARM_BOX)
            _draw_person(canvas, playback.image(time))
            _draw_alerts(canvas, active_events(events, time, SHOWN_SECONDS))
            current = float(np.interp(time, stamps, distance)) if len(stamps) else None
            reason = None if hand is None else workspace.project(hand)[1]
            text, color = arm_state(recording, time, reason)
            if scene is not None:
                text += gripper_state(playback.opening(time), robot)
            _caption(canvas, time - start, current, (text, color))
            frame = np.array(canvas.array())
            curve.mark(frame, [(event.start, event.end) for event in events])
            if len(stamps):
                curve.draw(frame, time)
            video.add(frame)


def _draw_person(canvas: Canvas, image: np.ndarray | None) -> None:
    """Draw an image of the person, or that there is none."""
    if image is None:
        canvas.placeholder(PERSON_BOX, "no images of the person were recorded")
    else:
        canvas.fill(image, PERSON_BOX)


def _draw_alerts(canvas: Canvas, events: Sequence[Event]) -> None:
    """Draw what goes wrong on the arm, and lost images on the person."""
    for is_lost, box in ((False, ARM_BOX), (True, PERSON_BOX)):
        texts = [event.text for event in events if (event.kind == "lost") == is_lost]
        canvas.alert(box, texts[:MAX_ALERTS])


def hand_target(targets: PersonTargets, time: float) -> Array | None:
    """Return where the robot's hand should be (3,) [m]; None without a person."""
    index = int(np.searchsorted(targets.time, time + 1e-6, side="right")) - 1
    if index < 0 or time - targets.time[index] > MAX_GAP:
        return None
    return np.asarray(targets.hand[index])


def arm_state(recording: Recording, time: float, unreachable: str | None) -> tuple[str, str]:
    """Return the state of the arm in words, and its color.

    Args:
        recording: the run.
        time: the time [s].
        unreachable: why the hand's target is out of the workspace; None: it is not.
    """
    for kind, label in (("fault", "stopped"), ("hold", "holding")):
        for status in recording.statuses:
            if status.kind == kind and status.start <= time <= status.end:
                return f"{label}: {status.text.partition(';')[0]}", RED
    commands = recording.desired.time
    index = int(np.searchsorted(commands, time + 1e-6, side="right")) - 1
    if index < 0 or time - commands[index] > MAX_GAP:
        return "not engaged", VIDEO_GRAY
    if unreachable:
        return f"engaged, target unreachable: {unreachable}", ORANGE
    return "engaged", GREEN


def gripper_state(opening: float, robot: Robot) -> str:
    """Return whether the gripper is open or closed, to follow the state of the arm."""
    if robot.gripper is None or not np.isfinite(opening):
        return ""
    is_open = opening > OPEN_FRACTION * robot.gripper.max_opening
    return f", gripper {'open' if is_open else 'closed'}"


def wrist_distances(
    recording: Recording, robot: Robot, config: RetargetConfig, start: float, end: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return times [s] and distances [mm] of the measured wrist from the person's, (F,) each.

    Args:
        recording: the run.
        robot: the arm.
        config: settings with which the person was followed.
        start: first time [s].
        end: last time [s].
    """
    targets = person_targets(recording, robot, config)
    times = recording.joints.time
    if len(times):
        start, end = max(start, float(times[0])), min(end, float(times[-1]))
    inside = (targets.time >= start) & (targets.time <= end)
    within = PersonTargets(*(part[inside] for part in targets))
    errors = measured_errors(recording, robot, within)
    return within.time[: len(errors.wrist)], errors.wrist


def _draw_target(view: np.ndarray, pixel: Array, color: tuple[int, int, int]) -> None:
    """Draw a cross at a pixel (2,) of a view (H, W, 3), in place, if it is inside."""
    x, y = pixel
    if 0 <= x < view.shape[1] and 0 <= y < view.shape[0]:
        cv2.drawMarker(view, (round(x), round(y)), *MARKER_OUTLINE)
        cv2.drawMarker(view, (round(x), round(y)), color, *MARKER)


def _base(arm: str, side: str) -> Canvas:
    """Return the static part of a frame."""
    canvas = Canvas()
    end = canvas.text((24, HEADER / 2), "teleop", 22, bold=True)
    canvas.legend_entry(
        (end + 20, HEADER / 2), f"the person's {side} arm drives", SIDE_COLORS[side]
    )
    end = canvas.text((ARM_BOX[0] + 16, HEADER / 2), arm, 22, bold=True)
    end = canvas.text((end + 14, HEADER / 2), "as measured", 18, VIDEO_GRAY)
    canvas.legend_entry((end + 24, HEADER / 2), "+  target of the hand", SIDE_COLORS[side])
    x, y, width, height = CURVE_BOX
    canvas.pen.rectangle((x - 12, y - 8, x + width + 12, y + height + 8), fill=VIDEO_PANEL)
    return canvas


def _caption(
    canvas: Canvas, seconds: float, distance: float | None, state: tuple[str, str]
) -> None:
    """Write time, state and distance of the measured wrist [mm] at the bottom of a frame."""
    y = HEIGHT - FOOTER / 2
    canvas.text((24, y), f"{seconds:5.2f} s", 22, bold=True)
    text, color = state
    canvas.text((130, y), text if len(text) <= MAX_STATE else f"{text[:MAX_STATE]}…", 18, color)
    if distance is not None:
        text = f"wrist to target: {distance:.0f} mm"
        canvas.text((CURVE_BOX[0] - 28, y), text, 18, VIDEO_GRAY, anchor="rm")
