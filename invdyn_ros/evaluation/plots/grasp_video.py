"""Video of a grasp_sim run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation.grasp_report import detect_success
from invdyn_ros.evaluation.plots.playback import Playback, overview_camera
from invdyn_ros.evaluation.plots.style import GREEN, ORANGE, VIDEO_GRAY, VIDEO_LINE, VIDEO_PANEL
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
from invdyn_ros.grasp.policies.success import GOAL_TOLERANCE, LIFT_HEIGHT
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene

if TYPE_CHECKING:  # needs PyBullet
    from invdyn_ros.arms.rendering import SceneRenderer

SCENE_SIZE = (800, HEIGHT - HEADER - FOOTER)  # [px] of the view of the whole arm
CAMERA_BOX = (SCENE_SIZE[0], HEADER, 480, 360)  # [px] of the camera image
PLOT_BOX = (SCENE_SIZE[0] + 56, HEADER + 360 + 48, 396, 150)
LAST_FRAME_SECONDS = 0.8  # for which the last frame of an episode is shown


class EpisodeEvents(NamedTuple):
    """Time at which the block was first detected, lifted and placed [s]; infinite if never."""

    detected: float
    lifted: float
    placed: float


def episode_events(recording: Recording, scene: Scene) -> EpisodeEvents:
    """Return the times of the events of an episode."""
    outcome = detect_success(recording, scene)
    detected = min((*recording.camera_detections, *recording.base_detections), default=np.inf)
    if outcome is None:
        return EpisodeEvents(detected, np.inf, np.inf)
    samples = recording.joints
    lifted = placed = np.inf
    if recording.result is not None and outcome.placed and len(samples.time):
        placed = float(samples.time[-1])  # a real arm's result comes at the end
    for time, (centre, _) in sorted(recording.block_poses.items()):
        if outcome.lifted and centre[2] - outcome.initial_position[2] >= LIFT_HEIGHT:
            lifted = min(lifted, time)
        near = np.linalg.norm(centre - outcome.goal) <= GOAL_TOLERANCE
        released = np.interp(time, samples.time, samples.opening) > outcome.open_width
        if outcome.placed and near and released:
            placed = min(placed, time)
    return EpisodeEvents(detected, lifted, placed)


def grasp_video(
    episodes: Sequence[Recording],
    robot: Robot,
    scene: Scene,
    file: Path,
    events: Sequence[Sequence[Event]] = (),
) -> None:
    """Write a video of episodes: a view of the arm beside the image of its camera.

    Args:
        episodes: one recording each, of which up to a minute is shown.
        robot: the arm.
        scene: nominal scene of the graph.
        file: MP4 to write.
        events: of each episode: faults, contacts, violations and holds, shown in red.
    """
    playbacks = [Playback(episode, robot) for episode in episodes]
    with VideoWriter(file) as video:
        if not playbacks:
            canvas = Canvas()
            canvas.placeholder((0, 0, WIDTH, HEIGHT), "no episode was recorded")
            return video.add(canvas.array(), RATE)
        with overview_camera(playbacks, scene, robot, *SCENE_SIZE) as camera:
            for number, playback in enumerate(playbacks):
                title = f"episode {number + 1} of {len(playbacks)}"
                alerts = events[number] if number < len(events) else ()
                _write_episode(video, camera, playback, scene, title, alerts)


def _write_episode(
    video: VideoWriter,
    camera: SceneRenderer,
    playback: Playback,
    scene: Scene,
    title: str,
    episode_alerts: Sequence[Event],
) -> None:
    """Append the frames of one episode to the video."""
    start, end = playback.span
    end = min(end, start + MAX_SECONDS)
    events = episode_events(playback.recording, scene)
    heights = playback.block_centres[:, 2] - playback.block_centres[:1, 2]
    top = max(0.12, 1.1 * float(heights.max(initial=0.0)))
    curve = Curve(PLOT_BOX, playback.block_times, heights, (start, end), ORANGE, top)
    base = _base(playback.robot.name, title, top, bool(len(heights)))
    times = np.arange(start, end + 0.5 / RATE, 1 / RATE)
    for i, time in enumerate(tqdm(times, f"video, {title}", unit=" frames", mininterval=1)):
        canvas = base.copy()
        canvas.paste(playback.render(camera, time), (0, HEADER, *SCENE_SIZE))
        active = active_events(episode_alerts, time, SHOWN_SECONDS)
        canvas.alert((0, HEADER, *SCENE_SIZE), [event.text for event in active[:MAX_ALERTS]])
        image = playback.image(time)
        if image is None:
            canvas.placeholder(CAMERA_BOX, "no camera images were recorded")
        else:
            canvas.paste(image, CAMERA_BOX)
        height = None
        if len(heights):
            height = float(np.interp(time, playback.block_times, heights))
        _caption(canvas, time, start, events, height)
        frame = np.array(canvas.array())
        curve.mark(frame, [(event.start, event.end) for event in episode_alerts])
        if height is not None:
            curve.draw(frame, time)
        video.add(frame, 1 if i + 1 < len(times) else 1 + round(LAST_FRAME_SECONDS * RATE))


def _base(arm: str, title: str, top: float, plotted: bool) -> Canvas:
    """Return the static part of a frame."""
    canvas = Canvas()
    end = canvas.text((24, HEADER / 2), "grasp_sim", 22, bold=True)
    canvas.text((end + 14, HEADER / 2), f"{arm}  ·  {title}", 20, VIDEO_GRAY)
    canvas.text((CAMERA_BOX[0] + 16, HEADER / 2), "camera image", 18, VIDEO_GRAY)
    x, y, width, height = PLOT_BOX
    canvas.pen.rectangle(
        (CAMERA_BOX[0], HEADER + 360, WIDTH, HEIGHT - FOOTER - 1), fill=VIDEO_PANEL
    )
    if not plotted:
        canvas.placeholder((CAMERA_BOX[0], HEADER + 360, 480, 240), "no block poses were recorded")
        return canvas
    canvas.text(
        (CAMERA_BOX[0] + 16, y - 24), "height of the block above its start [mm]", 15, VIDEO_GRAY
    )
    for level in (0.0, LIFT_HEIGHT, 0.08, 0.12):
        row = y + height * (1 - level / top)
        color = GREEN if level == LIFT_HEIGHT else VIDEO_LINE
        canvas.pen.line((x, row, x + width, row), fill=color, width=1)
        canvas.text((x - 10, row), f"{1e3 * level:.0f}", 14, VIDEO_GRAY, anchor="rm")
    canvas.text((x + width, y + height + 20), "time [s]", 14, VIDEO_GRAY, anchor="rm")
    return canvas


def _caption(
    canvas: Canvas, time: float, start: float, events: EpisodeEvents, height: float | None
) -> None:
    """Write time, height and past events at the bottom of a frame."""
    y = HEIGHT - FOOTER / 2
    canvas.text((24, y), f"{time - start:5.2f} s", 22, bold=True)
    if height is not None:
        lifted = f"block lifted by {1e3 * max(height, 0.0):.0f} mm"
        canvas.text((150, y), lifted, 18, VIDEO_GRAY)
    x = float(CAMERA_BOX[0] + 16)
    for label, event_time in zip(("detected", "lifted", "placed"), events, strict=True):
        x = (
            canvas.legend_entry((x, y), label, GREEN if time + 1e-6 >= event_time else VIDEO_LINE)
            + 36
        )
