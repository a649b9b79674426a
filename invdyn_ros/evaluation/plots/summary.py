"""One picture of a run: recordings and the report enter; a PNG leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from invdyn_ros.data.recording import JointSamples, Recording
from invdyn_ros.evaluation.grasp_report import detect_success
from invdyn_ros.evaluation.plots import axes as panels
from invdyn_ros.evaluation.plots.grasp_video import episode_events
from invdyn_ros.evaluation.plots.playback import Playback, overview_camera
from invdyn_ros.evaluation.plots.style import format_number
from invdyn_ros.evaluation.plots.teleop_video import PLAIN, teleop_span
from invdyn_ros.evaluation.plots.video_writer import fit_image
from invdyn_ros.evaluation.run_metrics import latencies
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene

MIN_RISE = 0.003  # height at which the block has left the table [m]
NUM_POSTURES = 3  # of a person and the arm
POSTURE_SIZE = 480  # of a picture of a moment [px]
FRAME, INSET = (640, 480), (248, 186)  # of a key frame and of the camera's picture in it [px]
RIGHT_MARGIN = 150  # columns of a key frame where the arm does not go [px]
PLACED_DELAY = 0.5  # the arm has begun to leave the placed block [s]


def grasp_summary(
    episodes: Sequence[Recording],
    robot: Robot,
    scene: Scene,
    report: dict[str, Any],
    file: Path,
) -> None:
    """Draw a run of grasp_sim: key frames, joints, heights, places and the report's numbers.

    Args:
        episodes: one recording each; frames and joints are of the first.
        robot: the arm.
        scene: as the graph believes it to be.
        result: the report.
        file: PNG to write.
    """
    outcomes = [detect_success(episode, scene) for episode in episodes]
    won = [outcome is not None and outcome.success for outcome in outcomes]
    with matplotlib.rc_context(panels.RC_PARAMS):
        figure = panels.new_figure()
        words = [report.get(key) for key in ("policy", "noise")]
        about = [f"{v} {k}" for v, k in zip(words, ("policy", "noise"), strict=True) if v]
        about += [f"seed {report['seed']}"] if "seed" in report else []
        title = f"grasp_sim with {robot.name}"
        panels.headline(figure, title, "   ·   ".join(about), _grasp_cards(report))
        top = figure.add_gridspec(1, 4, left=0.03, right=0.97, bottom=0.515, top=0.82, wspace=0.03)
        _key_frames(figure, top, Playback(episodes[0], robot) if episodes else None, scene)
        first = (
            episodes[0]
            if episodes
            else Recording(JointSamples.from_rows([]), JointSamples.from_rows([]))
        )
        panels.plot_joints(*_bottom_left(figure), first, robot)
        right = _bottom_right(figure, (1, 1.2))
        panels.plot_block_heights(figure.add_subplot(right[0]), episodes, won)
        panels.plot_block_positions(figure.add_subplot(right[1]), episodes, won, scene)
        figure.savefig(file)


def teleop_summary(recording: Recording, robot: Robot, report: dict[str, Any], file: Path) -> None:
    """Draw a run of teleop: moments, joints, latency, the tool and the report's numbers.

    Args:
        recording: the run.
        robot: the arm.
        result: the report.
        file: PNG to write.
    """
    with matplotlib.rc_context(panels.RC_PARAMS):
        figure = panels.new_figure()
        frames, seen = report.get("frames"), report.get("detected")
        about = f"person found in {seen} of {frames} frames" if frames else ""
        panels.headline(figure, f"teleop of {robot.name}", about, _teleop_cards(report))
        top = figure.add_gridspec(
            1, NUM_POSTURES, left=0.03, right=0.97, bottom=0.53, top=0.82, wspace=0.04
        )
        _postures(figure, top, recording, robot)
        panels.plot_joints(*_bottom_left(figure), recording, robot)
        right = _bottom_right(figure, (1, 1))
        panels.plot_latency(figure.add_subplot(right[0]), *latencies(recording)[:2])
        panels.plot_tool_error(figure.add_subplot(right[1]), recording, robot)
        figure.savefig(file)


def _bottom_left(figure: Figure) -> tuple[Axes, Axes]:
    """Return the axes of joints and, under them, of their errors."""
    place = {"left": 0.06, "right": 0.465, "bottom": 0.075, "top": 0.445}
    grid = figure.add_gridspec(2, 1, height_ratios=(2, 1), hspace=0.12, **place)
    above, below = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    figure.align_ylabels([above, below])
    return above, below


def _bottom_right(figure: Figure, widths: tuple[float, float]) -> GridSpec:
    """Return the places of two panels side by side."""
    place = {"left": 0.53, "right": 0.97, "bottom": 0.075, "top": 0.445}
    return figure.add_gridspec(1, 2, width_ratios=widths, wspace=0.27, **place)


def _grasp_cards(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the numbers of a report of grasp_sim, with what they are."""
    interval = result.get("ci95")
    error = result.get("block_error_mm") or {}
    tracking = result.get("tracking_rms_rad") or {}
    likely = "n/a"
    if interval is not None:
        likely = f"{100 * interval[0]:.0f}-{100 * interval[1]:.0f} %"  # no wider than its column
    script = result.get("baseline_scripted")
    beside = []
    if script is not None and result.get("policy") != "scripted":
        beside = [(f"{100 * script['success_rate']:.0f} %", "by the script")]
    return [
        (f"{result.get('successes', 'n/a')} of {result.get('episodes', 'n/a')}", "grasped"),
        (likely, "95% interval"),
        *beside,
        (format_number(error.get("p50"), "mm"), "block error, median"),
        (format_number(error.get("p95"), "mm"), "block error, 95%"),
        (format_number(tracking.get("inverse_dynamics"), "mrad", 1, 1e3), "joint error, RMS"),
        (format_number(result.get("limit_violations"), digits=0), "limit violations"),
        (format_number(result.get("seconds_per_episode"), "s"), "per episode"),
    ]


def _teleop_cards(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the numbers of a report of teleop, with what they are."""
    delay, core = result.get("latency_ms") or {}, result.get("core_latency_ms") or {}
    tracking, wrist = result.get("tracking_rms_rad") or {}, result.get("wrist_error_mm") or {}
    cards = [
        (format_number(delay.get("p50"), "ms"), "latency, median"),
        (format_number(delay.get("p95"), "ms"), "latency, 95%"),
        (format_number(core.get("p99"), "ms"), "without pose, 99%"),
        (format_number(tracking.get("inverse_dynamics"), "mrad", 1, 1e3), "joint error, RMS"),
        (format_number(wrist.get("p95"), "mm"), "wrist error, 95%"),
        (format_number(result.get("limit_violations"), digits=0), "limit violations"),
    ]
    if tracking.get("pd") is not None:
        cards.insert(4, (format_number(tracking["pd"], "mrad", 1, 1e3), "with plain PD"))
    return cards


def _key_frames(figure: Figure, grid: GridSpec, playback: Playback | None, scene: Scene) -> None:
    """Show the block seen, grasped, lifted and placed, with the camera's picture."""
    moments = [] if playback is None else _grasp_key_times(playback, scene)
    if playback is None or not moments:
        return panels.empty_axes(figure.add_subplot(grid[:]), "nothing was recorded")
    with overview_camera([playback], scene, playback.robot, *FRAME, RIGHT_MARGIN) as camera:
        for i, (time, words) in enumerate(moments):
            shown, seen = playback.render(camera, time), playback.image(time)
            if seen is not None:
                _inset(shown, seen)
            said = f"{words}, {time - playback.span[0]:.1f} s"
            panels.show_image(figure.add_subplot(grid[i]), shown, said)


def _inset(picture: np.ndarray, inner: np.ndarray) -> None:
    """Put a picture (h, w, 3) framed in white into the upper right corner of another, in place."""
    inner = fit_image(inner, *INSET)
    height, width = inner.shape[:2]
    picture[: height + 4, -width - 4 :] = 255
    picture[:height, -width:] = inner


def _grasp_key_times(playback: Playback, scene: Scene) -> list[tuple[float, str]]:
    """Return up to four (time [s], what happens then) of an episode."""
    when, times = episode_events(playback.recording, scene), playback.block_times
    start, end = playback.span
    moments = [(when.detected, "seen") if np.isfinite(when.detected) else (start, "at the start")]
    if len(times):
        z = playback.block_centres[:, 2] - playback.block_centres[0, 2]
        risen = np.flatnonzero(z > MIN_RISE)
        high = times[int((z > 0.9 * z.max()).argmax())] if np.isfinite(when.lifted) else np.inf
        moments += [(times[max(risen[0] - 1, 0)] if len(risen) else np.inf, "grasped")]
        moments += [(high, "lifted")]
    if np.isfinite(when.placed):
        moments.append((min(when.placed + PLACED_DELAY, end), "placed"))
    reached = [moment for moment in moments if np.isfinite(moment[0])]
    return reached if len(reached) == 4 else [*reached, (end, "at the end")]


def _posture_times(playback: Playback) -> list[float]:
    """Return the times [s] of the postures that differ most."""
    times = np.linspace(*teleop_span(playback), 60)[2:-2]
    q = np.array([playback.joints(t) for t in times])  # (T, n)
    distance = np.linalg.norm(q - np.median(q, axis=0), axis=1)
    chosen: list[int] = []
    for _ in range(NUM_POSTURES):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(q - q[chosen[-1]], axis=1))
    return sorted(float(times[i]) for i in chosen)


def _postures(figure: Figure, grid: GridSpec, recording: Recording, robot: Robot) -> None:
    """Show person and arm side by side."""
    playback = Playback(recording, robot)
    start, _ = teleop_span(playback)
    with overview_camera([playback], PLAIN, robot, POSTURE_SIZE, POSTURE_SIZE) as camera:
        for i, time in enumerate(_posture_times(playback)):
            arm, person = playback.render(camera, time), playback.image(time)
            both = (
                arm
                if person is None
                else np.hstack([fit_image(person, 4 * POSTURE_SIZE, POSTURE_SIZE), arm])
            )
            panels.show_image(figure.add_subplot(grid[i]), both, f"{time - start:.1f} s")
