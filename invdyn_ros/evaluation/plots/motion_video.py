"""Film of a planned motion of an arm: the arm, its joints, its clearance and the tool's speed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from invdyn_ros.control.joint_motion import JointMotion
from invdyn_ros.control.tool_speed import ToolSpeed
from invdyn_ros.data.recording import JointSamples, Recording
from invdyn_ros.evaluation.plots.playback import EMPTY_SCENE, Playback, overview_camera
from invdyn_ros.evaluation.plots.style import VIDEO_GRAY, VIDEO_PANEL, joint_color, short_names
from invdyn_ros.evaluation.plots.video_writer import (
    FOOTER,
    HEADER,
    HEIGHT,
    RATE,
    Canvas,
    Curve,
    VideoWriter,
)
from invdyn_ros.robots.collision import CollisionConfig, CollisionModel
from invdyn_ros.robots.collision_geometry import TABLE
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

ARM_BOX = (0, HEADER, 820, HEIGHT - HEADER - FOOTER)  # [px]
PANEL_LEFT, PANEL_WIDTH, GAP = 1010, 250, 10  # [px]
WITHOUT_MARGINS = CollisionConfig(self_margin=0.0, obstacle_margin=0.0, gripper_margin=0.0)


def write_motion_video(
    file: Path, robot: Robot, motion: JointMotion, obstacles: Obstacles
) -> Path:
    """Write an MP4 of a motion, at its own speed.

    Args:
        file: MP4 to write.
        robot: the arm.
        motion: the motion.
        obstacles: table and boxes.
    """
    times = np.arange(0, motion.duration + 0.5 / RATE, 1 / RATE)
    rows = np.minimum(np.round(times * motion.rate).astype(int), len(motion.q) - 1)
    q, qd = motion.q[rows], motion.qd[rows]
    speeds = ToolSpeed(robot, np.ones(robot.n)).speeds(q, qd)
    distances = obstacle_distances(robot, obstacles, q)
    curves = _curves(robot, motion, times, q, speeds)
    base = _base(robot, motion, curves)
    opening = robot.gripper.max_opening if robot.gripper else 0.0
    samples = JointSamples(times, q, qd, np.empty((len(q), 0)), np.full(len(q), opening))
    playback = Playback(Recording(samples, samples, obstacles=obstacles), robot)
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        VideoWriter(file) as video,
        overview_camera([playback], EMPTY_SCENE, robot, *ARM_BOX[2:]) as camera,
    ):
        for k, time in enumerate(tqdm(times, "film", unit=" frames", file=sys.stderr)):
            canvas = base.copy()
            canvas.paste(playback.render(camera, time), ARM_BOX)
            _footer(canvas, time, distances[k], speeds[k])
            frame = np.array(canvas.array())
            for curve in curves:
                curve.draw(frame, time)
            video.add(frame)
    return file


def obstacle_distances(robot: Robot, obstacles: Obstacles, q: Array) -> Array:
    """Return the distances (T,) of an arm to table and boxes at q (T, n) [m]; NaN if far.

    Args:
        robot: the arm.
        obstacles: table and boxes.
        q: (T, n) [rad].
    """
    collision = CollisionModel(robot, obstacles, WITHOUT_MARGINS)
    names = {TABLE, *(box.name for box in obstacles.boxes)}
    rows = [k for k, pair in enumerate(collision.pairs) if names & set(pair)]
    smallest = [collision.clearances(x)[rows].min(initial=collision.range) for x in q]
    return np.where(np.array(smallest) < collision.range, smallest, np.nan)


def _curves(
    robot: Robot, motion: JointMotion, times: Array, q: Array, speeds: Array
) -> list[Curve]:
    """Return the curves of all joints within the range of the motion, and of the tool's speed.

    Args:
        robot: the arm.
        motion: the motion.
        times: (T,) of the frames [s].
        q: (T, n) [rad].
        speeds: (T,) of the tool [m/s].
    """
    columns = [*(q - q.min(0)).T, speeds]
    tops = [*np.maximum(np.ptp(q, axis=0), 0.1), motion.tool_speed]
    colors = [*(joint_color(j) for j in range(robot.n)), VIDEO_GRAY]
    span = (0.0, motion.duration)
    return [
        Curve(_box(k, len(columns)), times, values, span, color, float(top))
        for k, (values, color, top) in enumerate(zip(columns, colors, tops, strict=True))
    ]


def _box(index: int, count: int) -> tuple[int, int, int, int]:
    """Return the box x, y, w, h [px] of one of several curves."""
    height = (HEIGHT - HEADER - FOOTER) // count
    return PANEL_LEFT, HEADER + index * height + GAP // 2, PANEL_WIDTH, height - GAP


def _base(robot: Robot, motion: JointMotion, curves: list[Curve]) -> Canvas:
    """Return the static part of a frame."""
    canvas = Canvas()
    end = canvas.text((24, HEADER / 2), robot.name, 22, bold=True)
    load = f", {motion.payload:g} kg at the tool" if motion.payload else ""
    text = f"planned motion of {motion.duration:.0f} s{load}"
    canvas.text((end + 14, HEADER / 2), text, 18, VIDEO_GRAY)
    ranges = np.ptp(motion.q, axis=0)
    labels = [
        f"{name}, {value:.1f} rad"
        for name, value in zip(short_names(robot.joint_names), ranges, strict=True)
    ]
    labels.append(f"tool, {motion.tool_speed:g} m/s")
    for label, curve in zip(labels, curves, strict=True):
        x, y, width, height = curve.box
        canvas.pen.rectangle((x - 4, y, x + width + 4, y + height), fill=VIDEO_PANEL)
        canvas.text((x - 14, y + height / 2), label, 15, VIDEO_GRAY, anchor="rm")
    return canvas


def _footer(canvas: Canvas, time: float, distance: float, speed: float) -> None:
    """Write time, distance to table and boxes, and speed below a frame.

    Args:
        canvas: the frame.
        time: [s].
        distance: [m]; NaN: far.
        speed: of the fastest point [m/s].
    """
    y = HEIGHT - FOOTER / 2
    canvas.text((24, y), f"{time:5.2f} s", 22, bold=True)
    text = "far from" if np.isnan(distance) else f"{1e3 * distance:.0f} mm to"
    canvas.text((150, y), f"{text} table and boxes", 18, VIDEO_GRAY)
    canvas.text((520, y), f"fastest point: {speed:.2f} m/s", 18, VIDEO_GRAY)
