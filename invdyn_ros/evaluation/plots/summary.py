"""Summary figures of teleop and grasp_sim runs."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.data.recording import JointSamples, Recording
from invdyn_ros.evaluation.grasp_report import detect_success
from invdyn_ros.evaluation.plots import axes as plot_axes
from invdyn_ros.evaluation.plots.axes import Card
from invdyn_ros.evaluation.plots.grasp_video import episode_events
from invdyn_ros.evaluation.plots.playback import EMPTY_SCENE, Playback, overview_camera
from invdyn_ros.evaluation.plots.style import format_number
from invdyn_ros.evaluation.plots.teleop_video import (
    DEFAULT_CONFIG,
    teleop_span,
    wrist_distances,
)
from invdyn_ros.evaluation.plots.video_writer import fit_image
from invdyn_ros.evaluation.run_events import Event, event_lines
from invdyn_ros.evaluation.run_metrics import latencies
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.teleop.retarget_config import RetargetConfig

MIN_RISE = 0.003  # [m] of a block that has left the table
NUM_POSTURES = 3  # of the person and the arm
POSTURE_SIZE = 480  # [px]
FRAME_SIZE, INSET_SIZE = (640, 480), (248, 186)  # [px] of a key frame; of its camera image
RIGHT_MARGIN = 150  # [px] of a key frame, for the camera image
PLACED_DELAY = 0.5  # [s] after which the arm retreats from the placed block


def grasp_summary(
    episodes: Sequence[Recording],
    robot: Robot,
    scene: Scene,
    report: dict[str, Any],
    file: Path,
    events: Sequence[Sequence[Event]] = (),
) -> None:
    """Plot a grasp_sim run: key frames, joints, block heights and positions, and metrics.

    Args:
        episodes: one recording each; key frames and joints are of the first.
        robot: the arm.
        scene: nominal scene of the graph.
        report: of the run.
        file: PNG to write.
        events: of each episode: faults, contacts, violations and holds, shown in red.
    """
    outcomes = [detect_success(episode, scene) for episode in episodes]
    success = [outcome is not None and outcome.success for outcome in outcomes]
    if "task" in report:  # of several blocks, of which only one is plotted
        success = [i not in report["failed_episodes"] for i in range(len(episodes))]
    with matplotlib.rc_context(plot_axes.RC_PARAMS):
        figure = plot_axes.new_figure()
        subtitle = [f"{k} {report[k]}" for k in ("task", "policy", "noise") if report.get(k)]
        subtitle += [f"seed {report['seed']}"] if "seed" in report else []
        title = f"grasp_sim with {robot.name}"
        alerts = event_lines([event for episode in events for event in episode])
        cards = _grasp_cards(report)
        plot_axes.headline(figure, title, "   ·   ".join(subtitle), cards, alerts)
        top = figure.add_gridspec(
            1, 4, left=0.03, right=0.97, bottom=0.505, top=0.795, wspace=0.03
        )
        _key_frames(figure, top, Playback(episodes[0], robot) if episodes else None, scene)
        first = (
            episodes[0]
            if episodes
            else Recording(JointSamples.from_rows([]), JointSamples.from_rows([]))
        )
        _plot_joints(figure, first, robot, events[0] if events else ())
        right = _bottom_right(figure, (1, 1.2))
        plot_axes.plot_block_heights(figure.add_subplot(right[0]), episodes, success)
        plot_axes.plot_block_positions(figure.add_subplot(right[1]), episodes, success, scene)
        _save(figure, file)


def teleop_summary(
    recording: Recording,
    robot: Robot,
    report: dict[str, Any],
    file: Path,
    config: RetargetConfig = DEFAULT_CONFIG,
    events: Sequence[Event] = (),
) -> None:
    """Plot a teleop run: postures, joints, latency, distance from the person and metrics.

    Args:
        recording: the run.
        robot: the arm.
        report: of the run.
        file: PNG to write.
        config: settings with which the person was followed.
        events: faults, contacts, violations, holds and lost images, shown in red.
    """
    with matplotlib.rc_context(plot_axes.RC_PARAMS):
        figure = plot_axes.new_figure()
        frames, detected = report.get("frames"), report.get("detected")
        parts = [f"person detected in {detected} of {frames} frames"] if frames else []
        parts += [f"end: {report['ended_by']}"] if "ended_by" in report else []
        title, subtitle = f"teleop with {robot.name}", "   ·   ".join(parts)
        plot_axes.headline(figure, title, subtitle, _teleop_cards(report), event_lines(events))
        top = figure.add_gridspec(
            1, NUM_POSTURES, left=0.03, right=0.97, bottom=0.505, top=0.795, wspace=0.04
        )
        _postures(figure, top, recording, robot)
        _plot_joints(figure, recording, robot, events)
        right = _bottom_right(figure, (1, 1))
        plot_axes.plot_latency(figure.add_subplot(right[0]), *latencies(recording)[:2])
        distances = wrist_distances(recording, robot, config, -np.inf, np.inf)
        start, axes = _start_time(recording), figure.add_subplot(right[1])
        plot_axes.plot_wrist_distance(axes, *distances, start)
        if len(distances[0]):
            plot_axes.mark_events(axes, _spans(events, start))
        _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    """Write a figure as a whole or not at all."""
    image = BytesIO()
    figure.savefig(image, format="png")
    write_atomically(file, image.getvalue())


def _plot_joints(
    figure: Figure, recording: Recording, robot: Robot, events: Sequence[Event]
) -> None:
    """Plot the joints and their errors at the lower left."""
    above, below = _bottom_left(figure)
    plot_axes.plot_joints(above, below, recording, robot)
    if len(recording.joints.time):
        for axes in (above, below):
            plot_axes.mark_events(axes, _spans(events, _start_time(recording)))


def _spans(events: Sequence[Event], start: float) -> list[tuple[float, float]]:
    return [(event.start - start, event.end - start) for event in events]


def _start_time(recording: Recording) -> float:
    """Return the first stamp of the joints [s], zero without any."""
    samples = (recording.joints, recording.desired)
    return min((float(s.time[0]) for s in samples if len(s.time)), default=0.0)


def _bottom_left(figure: Figure) -> tuple[Axes, Axes]:
    """Return the axes of the joints and, below, of their errors."""
    margins = {"left": 0.06, "right": 0.465, "bottom": 0.075, "top": 0.445}
    grid = figure.add_gridspec(2, 1, height_ratios=(2, 1), hspace=0.12, **margins)
    above, below = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    figure.align_ylabels([above, below])
    return above, below


def _bottom_right(figure: Figure, widths: tuple[float, float]) -> GridSpec:
    """Return the grid of two axes side by side."""
    margins = {"left": 0.53, "right": 0.97, "bottom": 0.075, "top": 0.445}
    return figure.add_gridspec(1, 2, width_ratios=widths, wspace=0.27, **margins)


def _grasp_cards(report: dict[str, Any]) -> list[Card]:
    """Return the numbers of a grasp report."""
    interval = report.get("ci95")
    error = report.get("block_error_mm") or {}
    tracking = report.get("tracking_rms_rad") or {}
    interval_text = "n/a"
    if interval is not None:
        interval_text = f"{100 * interval[0]:.0f}-{100 * interval[1]:.0f} %"  # must fit its column
    scripted = report.get("baseline_scripted")
    baseline = []
    if scripted is not None and report.get("policy") != "scripted":
        baseline = [Card(f"{100 * scripted['success_rate']:.0f} %", "scripted policy")]
    return [
        Card(f"{report.get('successes', 'n/a')} of {report.get('episodes', 'n/a')}", "placed"),
        Card(interval_text, "95% interval"),
        *baseline,
        Card(format_number(error.get("p50"), "mm"), "block error"),
        Card(format_number(error.get("p95"), "mm"), "95%"),
        Card(format_number(tracking.get("inverse_dynamics"), "mrad", 1, 1e3), "joint error"),
        *_safety_cards(report),
        Card(format_number(report.get("seconds_per_episode"), "s"), "per episode"),
    ]


def _teleop_cards(report: dict[str, Any]) -> list[Card]:
    """Return the numbers of a teleop report: those of the measured arm first."""
    delay, lag = report.get("latency_ms") or {}, report.get("lag_ms") or {}
    tracking, wrist = report.get("tracking_rms_rad") or {}, report.get("wrist_error_mm") or {}
    lost, rms = report.get("frames_lost"), tracking.get("inverse_dynamics")
    digits = 1 if rms is None or rms < 0.1 else 0
    return [
        Card(format_number(wrist.get("p50"), "mm", 0), "wrist error"),
        Card(format_number(wrist.get("p95"), "mm", 0), "95%"),
        Card(format_number(lag.get("overall"), "ms", 0), "lag"),
        Card(format_number(delay.get("p95"), "ms", 0), "latency, 95%"),
        Card(format_number(rms, "mrad", digits, 1e3), "joint error"),
        Card(format_number(lost, digits=0), "images lost", bool(lost)),
        *_safety_cards(report),
    ]


def _safety_cards(report: dict[str, Any]) -> list[Card]:
    """Return the numbers that are red unless they are zero."""
    violations, held = report.get("limit_violations"), report.get("held_share")
    counts = {"faults": len(report.get("faults") or []), "violations": violations}
    contacts = sum((report.get("contacts") or {}).values())
    return [
        Card(format_number(held, "%", 0, 100), "of time held", bool(held and held >= 0.005)),
        *(Card(format_number(n, digits=0), name, bool(n)) for name, n in counts.items()),
        Card(format_number(contacts, digits=0), "contacts", bool(contacts)),
    ]


def _key_frames(figure: Figure, grid: GridSpec, playback: Playback | None, scene: Scene) -> None:
    """Show the block when it is detected, grasped, lifted and placed, with the camera image."""
    key_times = [] if playback is None else _grasp_key_times(playback, scene)
    if playback is None or not key_times:
        return plot_axes.empty_axes(figure.add_subplot(grid[:]), "nothing was recorded")
    with overview_camera([playback], scene, playback.robot, *FRAME_SIZE, RIGHT_MARGIN) as camera:
        for i, (time, label) in enumerate(key_times):
            view, image = playback.render(camera, time), playback.image(time)
            if image is not None:
                _draw_inset(view, image)
            title = f"{label}, {time - playback.span[0]:.1f} s"
            plot_axes.show_image(figure.add_subplot(grid[i]), view, title)


def _draw_inset(image: np.ndarray, inset: np.ndarray) -> None:
    """Draw an image (h, w, 3) with a white frame into the upper right corner of another."""
    inset = fit_image(inset, *INSET_SIZE)
    height, width = inset.shape[:2]
    image[: height + 4, -width - 4 :] = 255
    image[:height, -width:] = inset


def _grasp_key_times(playback: Playback, scene: Scene) -> list[tuple[float, str]]:
    """Return up to four (time [s], label) pairs of an episode."""
    events, times = episode_events(playback.recording, scene), playback.block_times
    start, end = playback.span
    key_times = [
        (events.detected, "detected") if np.isfinite(events.detected) else (start, "at the start")
    ]
    if len(times):
        z = playback.block_centres[:, 2] - playback.block_centres[0, 2]
        risen = np.flatnonzero(z > MIN_RISE)
        high = times[int((z > 0.9 * z.max()).argmax())] if np.isfinite(events.lifted) else np.inf
        key_times += [(times[max(risen[0] - 1, 0)] if len(risen) else np.inf, "grasped")]
        key_times += [(high, "lifted")]
    if np.isfinite(events.placed):
        key_times.append((min(events.placed + PLACED_DELAY, end), "placed"))
    finite = [(time, label) for time, label in key_times if np.isfinite(time)]
    return finite if len(finite) == 4 else [*finite, (end, "at the end")]


def _posture_times(playback: Playback) -> list[float]:
    """Return the times [s] of the postures that differ most from each other."""
    times = np.linspace(*teleop_span(playback), 60)[2:-2]
    q = np.array([playback.joints(t) for t in times])  # (T, n)
    distance = np.linalg.norm(q - np.median(q, axis=0), axis=1)
    chosen: list[int] = []
    for _ in range(NUM_POSTURES):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(q - q[chosen[-1]], axis=1))
    return sorted(float(times[i]) for i in chosen)


def _postures(figure: Figure, grid: GridSpec, recording: Recording, robot: Robot) -> None:
    """Show the person and the arm side by side."""
    playback = Playback(recording, robot)
    start, _ = teleop_span(playback)
    with overview_camera([playback], EMPTY_SCENE, robot, POSTURE_SIZE, POSTURE_SIZE) as camera:
        for i, time in enumerate(_posture_times(playback)):
            arm, person = playback.render(camera, time), playback.image(time)
            image_pair = (
                arm
                if person is None
                else np.hstack([fit_image(person, 4 * POSTURE_SIZE, POSTURE_SIZE), arm])
            )
            plot_axes.show_image(figure.add_subplot(grid[i]), image_pair, f"{time - start:.1f} s")
