"""Axes of a summary figure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from scipy.spatial.transform import Rotation

from invdyn_ros.data.recording import Recording, align_stamps
from invdyn_ros.evaluation.plots.style import (
    BLUE,
    DARK,
    GRAY,
    GREEN,
    LIGHT_GRAY,
    ORANGE,
    RED,
    WHITE,
    joint_color,
    short_names,
)
from invdyn_ros.grasp.estimation.block_estimate import upright_yaw
from invdyn_ros.grasp.policies.success import GOAL_TOLERANCE, LIFT_HEIGHT
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene

SIZE, DPI = (16.0, 10.0), 100  # [inch], [px/inch]
RC_PARAMS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "axes.titlesize": 15,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.edgecolor": GRAY,
    "axes.labelcolor": DARK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT_GRAY,
    "text.color": DARK,
    "xtick.color": GRAY,
    "ytick.color": GRAY,
    "legend.frameon": False,
    "figure.facecolor": WHITE,
}
ALERT_LINE_LENGTH = 150  # [characters]
MAX_POINTS = 2000  # of a curve; a figure has fewer pixels
MAX_OUTLINED_BLOCKS = 15  # more blocks are drawn as dots


def new_figure() -> Figure:
    """Return an empty figure whose canvas does not need a display."""
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(figsize=SIZE, dpi=DPI)
        FigureCanvasAgg(figure)
    return figure


class Card(NamedTuple):
    """A number in the headline of a figure."""

    number: str
    label: str
    is_alert: bool = False
    """Whether it is red."""


def headline(
    figure: Figure, title: str, subtitle: str, cards: Sequence[Card], alerts: Sequence[str] = ()
) -> None:
    """Write the title and the most important numbers at the top of a figure.

    Args:
        figure: the figure.
        title: title, in bold.
        subtitle: text at the right of the title.
        cards: the numbers.
        alerts: texts in red below the numbers, the gravest first.
    """
    figure.text(0.03, 0.964, title, size=25, weight="bold", va="center")
    figure.text(0.97, 0.964, subtitle, size=15, color=GRAY, va="center", ha="right")
    width, size = 0.94 / len(cards), 21 if len(cards) < 10 else 17
    for i, (value, name, is_alert) in enumerate(cards):
        left, color = 0.03 + i * width, RED if is_alert else BLUE
        figure.text(left, 0.908, value, size=size, weight="bold", color=color, va="center")
        figure.text(left, 0.876, name, size=12.5, color=GRAY, va="center")
    line = Rectangle((0.03, 0.934), 0.94, 0.0012, transform=figure.transFigure, color=LIGHT_GRAY)
    figure.add_artist(line)
    lines = textwrap.wrap("   ·   ".join(alerts), ALERT_LINE_LENGTH, max_lines=2, placeholder=" …")
    style: dict[str, Any] = {"size": 12, "weight": "bold", "color": RED, "va": "top"}
    figure.text(0.03, 0.86, "\n".join(lines), linespacing=1.25, **style)


def mark_events(axes: Axes, spans: Sequence[tuple[float, float]]) -> None:
    """Mark spans of time [s] in red; one that is too short to see is a line."""
    for start, end in spans:
        axes.axvspan(start, end, color=RED, alpha=0.16, lw=0)
        axes.axvline(start, color=RED, alpha=0.5, lw=1.0)


def empty_axes(axes: Axes, text: str) -> None:
    """Write into axes why they are empty."""
    axes.text(0.5, 0.5, text, color=GRAY, ha="center", va="center", transform=axes.transAxes)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_image(axes: Axes, image: np.ndarray, text: str) -> None:
    """Show an image with a title.

    Args:
        axes: the axes.
        image: (H, W, 3).
        text: the title.
    """
    axes.imshow(image)
    axes.set_axis_off()
    axes.set_title(text, size=14, weight="normal", pad=6)


def plot_joints(axes: Axes, below: Axes, recording: Recording, robot: Robot) -> None:
    """Plot measured and desired joint positions, and their difference.

    Args:
        axes: for the positions.
        below: for the differences.
        recording: the run.
        robot: the arm.
    """
    axes.set_title("joints: measured, and desired (dashed)")
    below.set_ylabel("error [mrad]")
    axes.set_ylabel("position [rad]")
    below.set_xlabel("time [s]")
    measured, desired = recording.joints, recording.desired
    times = [samples.time for samples in (measured, desired) if len(samples.time)]
    if not times:
        empty_axes(axes, "no joint states were recorded")
        return empty_axes(below, "")
    start = min(float(time[0]) for time in times)
    left, right = align_stamps(measured, desired)
    error = 1e3 * (left.q - right.q)
    for i, name in enumerate(short_names(robot.joint_names)):
        color = joint_color(i)
        mark: dict[str, Any] = {"marker": "o"} if len(measured.time) == 1 else {}
        if len(measured.time):
            t, q = decimate(measured.time, measured.q[:, i])
            axes.plot(t - start, q, color=color, lw=2.4, label=name, alpha=0.85, **mark)
        if len(desired.time):
            t, q = decimate(desired.time, desired.q[:, i])
            axes.plot(t - start, q, color=DARK, lw=1.0, ls=(0, (4, 3)))
        if len(left.time):
            t, e = decimate(left.time, error[:, i])
            below.plot(t - start, e, color=color, lw=1.4, **mark)
    columns = robot.n if robot.n <= 5 else 4
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.32 * (high - low))  # room for the legend
    axes.legend(loc="upper left", ncols=columns, fontsize=12, columnspacing=1.2, handlelength=1.3)
    axes.tick_params(labelbottom=False)
    below.axhline(0, color=GRAY, lw=0.8)
    below.set_xlim(axes.get_xlim())
    if not len(left.time):
        empty_axes(below, "measured and desired joints have no stamp in common")


def decimate(time: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a curve (T,) with at most about MAX_POINTS points."""
    step = max(len(time) // MAX_POINTS, 1)
    return time[::step], value[::step]


def plot_block_heights(axes: Axes, episodes: Sequence[Recording], success: Sequence[bool]) -> None:
    """Plot the height of the block over time; the first episode is bold.

    Args:
        axes: the axes.
        episodes: one recording each.
        success: of each episode.
    """
    axes.set_title("height of the block")
    axes.set_ylabel("height [mm]")
    axes.set_xlabel("time [s]")
    recorded = [(e, s) for e, s in zip(episodes, success, strict=True) if e.block_poses]
    if not recorded:
        return empty_axes(axes, "no block poses were recorded")
    for i, (episode, succeeded) in reversed(list(enumerate(recorded))):
        times = np.array(sorted(episode.block_poses))
        z = np.array([episode.block_poses[t][0][2] for t in times])
        style: dict[str, Any] = {"lw": 2.8, "alpha": 1.0} if i == 0 else {"lw": 1.0, "alpha": 0.35}
        color = ORANGE if i == 0 and succeeded else GREEN if succeeded else RED
        axes.plot(times - times[0], 1e3 * (z - z[0]), color=color, **style)
    axes.axhline(1e3 * LIFT_HEIGHT, color=GRAY, lw=1.2, ls=(0, (5, 4)))
    axes.text(axes.get_xlim()[0], 1e3 * LIFT_HEIGHT, " lifted", size=12, color=GRAY, va="bottom")
    axes.set_ylim(bottom=min(-5.0, axes.get_ylim()[0]), top=max(60.0, axes.get_ylim()[1]))


def plot_block_positions(
    axes: Axes, episodes: Sequence[Recording], success: Sequence[bool], scene: Scene
) -> None:
    """Plot the initial block positions from above, colored by success, and the goal.

    Args:
        axes: the axes.
        episodes: one recording each.
        success: of each episode.
        scene: area of the blocks and goal.
    """
    axes.set_title("blocks, from above")
    axes.set_xlabel("x [mm]")
    axes.set_ylabel("y [mm]")
    (x0, x1), (y0, y1) = 1e3 * np.array([scene.area_x, scene.area_y])
    goal, side = 1e3 * np.array(scene.goal[:2]), 1e3 * scene.block_size
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fc="#f3f6fa", ec=GRAY, lw=1.2))
    axes.add_patch(Circle(tuple(goal), 1e3 * GOAL_TOLERANCE, fc="none", ec=ORANGE, lw=2.5))
    axes.text(
        goal[0] + 1.3e3 * GOAL_TOLERANCE, goal[1], "goal", va="center", size=12, color=ORANGE
    )
    for episode, succeeded in zip(episodes, success, strict=True):
        if not episode.block_poses:
            continue
        start = episode.block_poses[min(episode.block_poses)]
        x, y = 1e3 * start[0][:2]
        color = GREEN if succeeded else RED
        if len(episodes) > MAX_OUTLINED_BLOCKS:
            axes.plot(x, y, "o", ms=9, mfc=color, mec="white", alpha=0.8)
            continue
        yaw = upright_yaw(Rotation.from_quat(start[1]).as_matrix())
        turns = yaw + np.pi / 4 + np.arange(4) * np.pi / 2
        corners = np.column_stack([np.cos(turns), np.sin(turns)]) * side / np.sqrt(2) + (x, y)
        axes.add_patch(Polygon(corners, fc=color, ec="white", alpha=0.8))
    low = np.minimum((x0, y0), goal - 1e3 * GOAL_TOLERANCE)
    high = np.maximum((x1, y1), goal + 1e3 * GOAL_TOLERANCE)
    half = 0.6 * float((high - low).max()) + 0.5 * side
    low, high = (low + high) / 2 - half, (low + high) / 2 + half
    high[1] += 0.3 * half  # room for the legend
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", anchor="N")
    for color, name in ((GREEN, "success"), (RED, "failure")):
        axes.plot([], [], "s", color=color, ms=10, label=name)
    style: dict[str, Any] = {"handletextpad": 0.1, "columnspacing": 0.8, "borderaxespad": 0.1}
    axes.legend(loc="upper center", ncols=2, fontsize=12, **style)


def plot_latency(axes: Axes, total: np.ndarray, without_pose: np.ndarray) -> None:
    """Plot histograms of the latency from image to command.

    Args:
        axes: the axes.
        total: (F,) [ms].
        without_pose: the same without the time in the pose network (F,) [ms].
    """
    axes.set_title("latency")
    axes.set_xlabel("time from image to command [ms]")
    axes.set_ylabel("frames")
    if not len(total):
        return empty_axes(axes, "no latency was measured")
    limit = max(float(np.percentile(total, 99.5)) * 1.15, 10.0)
    bins = np.linspace(0, limit, 61).tolist()
    named = ((without_pose, GREEN, "without pose"), (total, BLUE, "total"))
    for values, color, name in named:
        middle = float(np.median(values))
        label = f"{name}: median {middle:.1f} ms"
        axes.hist(np.minimum(values, limit), bins, color=color, alpha=0.75, label=label)
        axes.axvline(middle, ymax=0.74, color=color, lw=1.5)
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])
    axes.legend(loc="upper left", fontsize=12)


def plot_wrist_distance(axes: Axes, time: np.ndarray, distance: np.ndarray, start: float) -> None:
    """Plot the distance of the measured wrist from that of the person.

    Args:
        axes: the axes.
        time: (F,) stamps of the images [s].
        distance: (F,) [mm].
        start: time of the start of the run [s].
    """
    axes.set_title("wrist to person")
    axes.set_xlabel("time [s]")
    axes.set_ylabel("distance [mm]")
    if not len(time):
        return empty_axes(axes, "no person was detected")
    axes.fill_between(time - start, distance, color=ORANGE, alpha=0.25)
    axes.plot(time - start, distance, color=ORANGE, lw=1.8)
    axes.set_ylim(bottom=0)
