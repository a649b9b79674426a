"""Episodes, curves and failures of a grasp_sim run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation.comparison_table import percent
from invdyn_ros.evaluation.grasp_report import block_errors, detect_success, failure_cause
from invdyn_ros.evaluation.headlines import Finding
from invdyn_ros.evaluation.pages.curves import (
    curve,
    event_spans,
    joint_charts,
    line_chart,
    worst_samples,
)
from invdyn_ros.evaluation.pages.report_page import Cell, Chart, Failure, PageTable, Section
from invdyn_ros.evaluation.pages.teleop_sections import small_jpeg
from invdyn_ros.evaluation.plots.playback import Playback, overview_camera
from invdyn_ros.evaluation.run_events import Event, event_lines
from invdyn_ros.evaluation.run_metrics import held_share
from invdyn_ros.evaluation.task_report import unfinished_tasks
from invdyn_ros.grasp.policies.success import SuccessDetector
from invdyn_ros.grasp.policies.tasks import GRASP
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene

UNKNOWN = "\u2013"
MAX_FAILURES = 6
MAX_CURVES = 8
FRAME_SIZE = (480, 360)  # [px]

Events = Sequence[Sequence[Event]]


def grasp_run_sections(
    episodes: Sequence[Recording],
    robot: Robot,
    scene: Scene,
    events: Events,
    task: str = GRASP,
) -> list[Section]:
    """Return the sections of a grasp_sim run that need its recordings.

    Args:
        episodes: one recording of each episode.
        robot: the arm.
        scene: nominal scene of the graph.
        events: of each episode.
        task: grasp, sort or stack.
    """
    outcomes = [detect_success(episode, scene) for episode in episodes]
    failed = [i for i, outcome in enumerate(outcomes) if outcome is None or not outcome.success]
    causes = {i: failure_cause(episodes[i], robot, scene).replace("_", " ") for i in failed}
    if task != GRASP:
        causes = unfinished_tasks(episodes, scene, task)
        failed = list(causes)
    rows: list[list[Cell]] = []
    for i, (episode, outcome) in enumerate(zip(episodes, outcomes, strict=True)):
        time, held = episode.joints.time, held_share(episode)
        errors = block_errors(episode, scene)
        lines = "; ".join(event_lines(events[i])) or "none after the first command"
        rows.append(
            [
                str(i),
                Finding(causes.get(i, "placed"), bad=i in causes),
                _lifted(episode, outcome),
                f"{time[-1] - time[0]:.1f}" if len(time) else UNKNOWN,
                f"{np.median(errors):.1f}" if len(errors) else UNKNOWN,
                Finding(percent(held), held is None or held >= 0.005),
                Finding(lines, bad=bool(events[i])),
            ]
        )
    head = ("episode", "outcome", "lifted", "seconds", "block error [mm]", "held")
    table = PageTable((*head, "holds, faults, violations, contacts"), rows)
    order = [*failed, *(i for i in range(len(episodes)) if i not in causes)]
    text = "Block error: median distance of the detected from the true block centre."
    sections = [Section("Each episode", text, [table], [_heights(episodes, order, causes)])]
    if order:
        sections.append(_joints(episodes, robot, order[0], events))
    if failed:
        text = f"The first {MAX_FAILURES} failed episodes with their cause."
        gallery = _failures(episodes, robot, scene, failed[:MAX_FAILURES], causes, events)
        sections.append(Section("Failed episodes", text, failures=gallery))
    return sections


def _lifted(episode: Recording, outcome: SuccessDetector | None) -> str:
    """Return whether the block was lifted, which nobody measures on a real arm."""
    if episode.result is not None:
        return UNKNOWN
    return "yes" if outcome is not None and outcome.lifted else "no"


def _heights(episodes: Sequence[Recording], order: Sequence[int], causes: dict[int, str]) -> Chart:
    """Return the height of the block over time, of failed episodes first."""
    series = []
    for i in order[:MAX_CURVES]:
        times = np.array(sorted(episodes[i].block_poses))
        z = np.array([episodes[i].block_poses[t][0][2] for t in times])
        if len(times):
            rows = worst_samples(z - z[0], 400)
            name = f"episode {i}, {causes.get(i, 'placed')}"
            series.append(curve(name, times[rows] - times[0], 1e3 * (z[rows] - z[0])))
    title = "Height of the block above its start"
    return line_chart(title, "height [mm]", series)


def _joints(episodes: Sequence[Recording], robot: Robot, i: int, events: Events) -> Section:
    """Return the joints of the first failed episode, of the first one if none failed."""
    episode = episodes[i]
    start = float(episode.joints.time[0]) if len(episode.joints.time) else 0.0
    spans = event_spans(events[i], start)
    charts = joint_charts(
        episode.joints, episode.desired, episode.targets, robot.joint_names, spans
    )
    text = (
        "target: from the policy; desired: the motion within the limits of the arm; measured: "
        "what the arm did. Shaded: holds, faults, violations and contacts. Of many samples that "
        "with the largest error is drawn."
    )
    return Section(f"Joints in episode {i}", text, charts=charts)


def _failures(
    episodes: Sequence[Recording],
    robot: Robot,
    scene: Scene,
    failed: Sequence[int],
    causes: dict[int, str],
    events: Events,
) -> list[Failure]:
    """Return the failed episodes with rendered frames and the camera image at their end.

    Args:
        episodes: all episodes.
        robot: the arm.
        scene: nominal scene.
        failed: numbers of the episodes to show.
        causes: why each failed.
        events: of each episode.
    """
    gallery = []
    playbacks = {i: Playback(episodes[i], robot) for i in failed}
    with overview_camera([*playbacks.values()], scene, robot, *FRAME_SIZE) as camera:
        for i, playback in playbacks.items():
            start, end = playback.span
            images = [
                (f"{name}, {time - start:.1f} s", small_jpeg(playback.render(camera, time)))
                for name, time in _key_times(playback)
            ]
            image = playback.image(end)
            if image is not None:
                images.append(("camera image at the end", small_jpeg(image)))
            text = "; ".join(event_lines(events[i])) or "no hold, fault, violation or contact"
            gallery.append(Failure(f"Episode {i}: {causes[i]}", text, images))
    return gallery


def _key_times(playback: Playback) -> list[tuple[str, float]]:
    """Return when the tool is nearest to the block, when the block is highest, and the end."""
    start, end = playback.span
    times = np.linspace(start, end, 60)
    if not len(playback.block_times):
        return [("at the end", end)]
    centres = np.array(
        [
            [np.interp(t, playback.block_times, axis) for axis in playback.block_centres.T]
            for t in times
        ]
    )
    tools = [playback.robot.forward_kinematics(playback.joints(t))[:3, 3] for t in times]
    near = float(times[int(np.linalg.norm(centres - tools, axis=1).argmin())])
    high = float(times[int(centres[:, 2].argmax())])
    moments = {"gripper nearest to the block": near, "block highest": high, "at the end": end}
    distinct: list[tuple[str, float]] = []
    for name, time in moments.items():
        if all(abs(time - other) > 0.3 for _, other in distinct):
            distinct.append((name, time))
    return distinct
