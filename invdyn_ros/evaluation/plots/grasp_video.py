"""The film of grasping: episodes enter, an MP4 leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation.grasp_report import detect_success
from invdyn_ros.evaluation.plots.playback import Playback, overview_camera
from invdyn_ros.evaluation.plots.style import ACCENT, EDGE, GOOD, MIST, PANEL
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
from invdyn_ros.grasp.policies.success import GOAL_TOLERANCE, LIFT_HEIGHT
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene

SCENE_SIZE = (800, HEIGHT - HEADER - FOOTER)  # the view of the whole arm [px]
CAMERA_BOX = (SCENE_SIZE[0], HEADER, 480, 360)  # what the camera sees
PLOT_BOX = (SCENE_SIZE[0] + 56, HEADER + 360 + 48, 396, 150)
PAUSE = 0.8  # on the last frame of an episode [s]


class EpisodeEvents(NamedTuple):
    """When the block was first seen, and lifted and placed as the judge counts it [s]."""

    detected: float
    lifted: float
    placed: float


def episode_events(recording: Recording, scene: Scene) -> EpisodeEvents:
    """Return when what happened in an episode; infinity for what did not."""
    outcome = detect_success(recording, scene)
    seen = min((*recording.camera_detections, *recording.base_detections), default=np.inf)
    if outcome is None:
        return EpisodeEvents(seen, np.inf, np.inf)
    samples = recording.joints
    lifted = placed = np.inf
    for time, (centre, _) in sorted(recording.block_poses.items()):
        if outcome.lifted and centre[2] - outcome.initial_position[2] >= LIFT_HEIGHT:
            lifted = min(lifted, time)
        near = np.linalg.norm(centre - outcome.goal) <= GOAL_TOLERANCE
        loose = np.interp(time, samples.time, samples.opening) > outcome.open_width
        if outcome.placed and near and loose:
            placed = min(placed, time)
    return EpisodeEvents(seen, lifted, placed)


def grasp_video(episodes: Sequence[Recording], robot: Robot, scene: Scene, file: Path) -> None:
    """Film episodes: the arm from outside beside what its camera sees.

    Args:
        episodes: one recording each, at most the first minute is shown of each.
        robot: the arm.
        scene: as the graph believes it to be.
        file: MP4 to write.
    """
    playbacks = [Playback(episode, robot) for episode in episodes]
    with VideoWriter(file) as film:
        if not playbacks:
            canvas = Canvas()
            canvas.placeholder((0, 0, WIDTH, HEIGHT), "no episode was recorded")
            return film.add(canvas.array(), RATE)
        with overview_camera(playbacks, scene, robot, *SCENE_SIZE) as camera:
            for number, playback in enumerate(playbacks):
                title = f"episode {number + 1} of {len(playbacks)}"
                _write_episode(film, camera, playback, scene, title)


def _write_episode(
    film: VideoWriter, camera: SceneRenderer, playback: Playback, scene: Scene, title: str
) -> None:
    """Append the frames of one episode."""
    start, end = playback.span
    end = min(end, start + MAX_SECONDS)
    when = episode_events(playback.recording, scene)
    heights = playback.block_centres[:, 2] - playback.block_centres[:1, 2]
    top = max(0.12, 1.1 * float(heights.max(initial=0.0)))
    curve = Curve(PLOT_BOX, playback.block_times, heights, (start, end), ACCENT, top)
    base = _base(playback.robot.name, title, top, bool(len(heights)))
    times = np.arange(start, end + 0.5 / RATE, 1 / RATE)
    for i, time in enumerate(tqdm(times, f"film, {title}", unit=" frames", mininterval=1)):
        canvas = base.copy()
        canvas.paste(playback.render(camera, time), (0, HEADER, *SCENE_SIZE))
        picture = playback.image(time)
        if picture is None:
            canvas.placeholder(CAMERA_BOX, "no camera pictures were recorded")
        else:
            canvas.paste(picture, CAMERA_BOX)
        height = None
        if len(heights):
            height = float(np.interp(time, playback.block_times, heights))
        _caption(canvas, time, start, when, height)
        frame = np.array(canvas.array())
        if height is not None:
            curve.draw(frame, time)
        film.add(frame, 1 if i + 1 < len(times) else 1 + round(PAUSE * RATE))


def _base(arm: str, title: str, top: float, plotted: bool) -> Canvas:
    """Return the frame without what moves."""
    canvas = Canvas()
    end = canvas.text((24, HEADER / 2), "grasp_sim", 22, bold=True)
    canvas.text((end + 14, HEADER / 2), f"{arm}  ·  {title}", 20, MIST)
    canvas.text((CAMERA_BOX[0] + 16, HEADER / 2), "what the camera sees", 18, MIST)
    x, y, width, height = PLOT_BOX
    canvas.pen.rectangle((CAMERA_BOX[0], HEADER + 360, WIDTH, HEIGHT - FOOTER - 1), fill=PANEL)
    if not plotted:
        canvas.placeholder((CAMERA_BOX[0], HEADER + 360, 480, 240), "no block poses were recorded")
        return canvas
    canvas.text(
        (CAMERA_BOX[0] + 16, y - 24), "height of the block over where it lay [mm]", 15, MIST
    )
    for level in (0.0, LIFT_HEIGHT, 0.08, 0.12):
        row = y + height * (1 - level / top)
        color = GOOD if level == LIFT_HEIGHT else EDGE
        canvas.pen.line((x, row, x + width, row), fill=color, width=1)
        canvas.text((x - 10, row), f"{1e3 * level:.0f}", 14, MIST, anchor="rm")
    canvas.text((x + width, y + height + 20), "time", 14, MIST, anchor="rm")
    return canvas


def _caption(
    canvas: Canvas, time: float, start: float, when: EpisodeEvents, height: float | None
) -> None:
    """Write the strip at the bottom: time, height, what has been reached."""
    y = HEIGHT - FOOTER / 2
    canvas.text((24, y), f"{time - start:5.2f} s", 22, bold=True)
    if height is not None:
        lifted = f"block lifted by {1e3 * max(height, 0.0):.0f} mm"
        canvas.text((150, y), lifted, 18, MIST)
    x = float(CAMERA_BOX[0] + 16)
    for word, reached in zip(("seen", "lifted", "placed"), when, strict=True):
        x = canvas.legend_entry((x, y), word, GOOD if time + 1e-6 >= reached else EDGE) + 36
