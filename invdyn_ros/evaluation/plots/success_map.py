"""Heat maps of the success rate over the initial block position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from invdyn_ros.evaluation.plots.axes import DPI, RC_PARAMS
from invdyn_ros.evaluation.plots.style import BLUE, DARK, GRAY, WHITE
from invdyn_ros.grasp.envs.rollouts import EpisodeResult
from invdyn_ros.grasp.policies.failure_causes import (
    FAILURE_CAUSES,
    MISPLACED,
    MISSED_GRASP,
    NOT_DETECTED,
    SLIPPED,
    STOPPED,
    TIMEOUT,
)
from invdyn_ros.grasp.policies.success_rate import success_interval
from invdyn_ros.robots.scene import Scene

WIDTH, TITLE = 4.2, 1.15  # [inch] of a map, of its title and labels
MARGINS = 2.2, 1.5  # [inch] beside the maps, above and below them
EPISODES_PER_CELL, MAX_CELLS = 12, 6  # on average; along the longer side
COLOR_MAP = LinearSegmentedColormap.from_list("success", ("#e8796f", "#fbe3b0", "#cdebd8"))
MARKS = {
    STOPPED: ("s", "#d64545"),
    NOT_DETECTED: ("D", BLUE),
    MISSED_GRASP: ("x", DARK),
    SLIPPED: ("v", "#9b51c9"),
    MISPLACED: ("^", "#e0a030"),
    TIMEOUT: ("o", WHITE),
}


def plot_success_map(
    results: Mapping[tuple[str, str], Sequence[EpisodeResult]],
    scene: Scene,
    title: str,
    path: Path,
) -> None:
    """Plot the success rate over the initial block position, and the cause of each failure.

    Args:
        results: episodes by policy (a column each) and domain randomization level
            (a row each).
        scene: area in which the block starts.
        title: start of the figure title.
        path: PNG file to write.
    """
    policies, levels = (list(dict.fromkeys(names)) for names in zip(*results, strict=True))
    (x0, x1), (y0, y1) = scene.area_x, scene.area_y
    map_height = WIDTH * (x1 - x0) / (y1 - y0) + TITLE
    size = MARGINS[0] + (WIDTH + 0.4) * len(policies), MARGINS[1] + map_height * len(levels)
    counts = {key: success_counts(episodes, scene) for key, episodes in results.items()}
    scale = Normalize(
        _lowest([successes / np.maximum(n, 1) for successes, n in counts.values()]), 1.0
    )
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        headline = f"{title}: success rate by block position"
        figure.suptitle(headline, x=0.01, ha="left", size=19, weight="bold")
        all_axes = figure.subplots(len(levels), len(policies), squeeze=False)
        for (policy, level), episodes in results.items():
            axes = all_axes[levels.index(level), policies.index(policy)]
            _draw_rates(axes, *counts[policy, level], scene, scale)
            _failures(axes, episodes)
            _title(axes, f"{policy}, {level}", episodes)
        for axes in all_axes[-1]:
            axes.set_xlabel("y [mm]")
        for axes in all_axes[:, 0]:
            axes.set_ylabel("x, away from the arm [mm]")
        bar = figure.colorbar(ScalarMappable(scale, COLOR_MAP), ax=all_axes, shrink=0.8, pad=0.02)
        bar.ax.yaxis.set_major_formatter(lambda rate, _: f"{100 * rate:.0f}%")
        bar.outline.set_visible(False)
        _legend(figure, results)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def success_counts(
    episodes: Sequence[EpisodeResult], scene: Scene
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of successes and episodes (X, Y) in each cell of the area."""
    wide, deep = np.ptp(scene.area_x), np.ptp(scene.area_y)
    side = np.sqrt(wide * deep * EPISODES_PER_CELL / max(len(episodes), 1))
    side = max(side, max(wide, deep) / MAX_CELLS)
    shape = [max(1, round(span / side)) for span in (wide, deep)]
    position = np.array([e.block_start for e in episodes]).reshape(-1, 2)
    success = np.array([e.success for e in episodes], bool)
    area = [scene.area_x, scene.area_y]
    n, successes = (np.histogramdd(p, shape, area)[0] for p in (position, position[success]))
    return successes, n


def _lowest(rates: Sequence[np.ndarray]) -> float:
    """Return the lower end of the color scale: the lowest rate rounded down to a tenth, or 0.9."""
    lowest = min(float(rate.min()) for rate in rates)
    return min(np.floor(10 * lowest) / 10, 0.9)


def _draw_rates(
    axes: Axes, successes: np.ndarray, n: np.ndarray, scene: Scene, scale: Normalize
) -> None:
    """Draw the cells in the view from behind the arm: x up, y to the left."""
    x, y = (np.linspace(*span, k + 1) * 1e3 for span, k in zip((scene.area_x, scene.area_y),
            n.shape, strict=True))  # fmt: skip
    rate = np.ma.masked_where(n == 0, successes / np.maximum(n, 1))
    axes.pcolormesh(y, x, rate, cmap=COLOR_MAP, norm=scale, edgecolors=WHITE, linewidth=1.5)
    halo = [withStroke(linewidth=2, foreground=WHITE)]
    for i, j in np.ndindex(n.shape):
        text = f"{successes[i, j]:.0f}/{n[i, j]:.0f}"
        corner, offset = (y[j + 1], x[i]), (3, 3)  # lower left corner of the cell, and inside it
        axes.annotate(text, corner, offset, textcoords="offset points", size=9, path_effects=halo)
    axes.set(aspect="equal", xlim=(y[-1], y[0]), ylim=(x[0], x[-1]))
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _failures(axes: Axes, episodes: Sequence[EpisodeResult]) -> None:
    for cause, (marker, color) in MARKS.items():
        positions = 1e3 * np.array(
            [e.block_start for e in episodes if e.failure_cause == cause]
        ).reshape(-1, 2)
        if len(positions):  # the layout fails on empty unclipped points
            axes.plot(positions[:, 1], positions[:, 0], clip_on=False, **_mark(marker, color))


def _mark(marker: str, color: str) -> dict[str, Any]:
    edge = {"mec": DARK, "mew": 2.0 if marker == "x" else 1.0}
    return {"marker": marker, "ls": "", "ms": 6.5, "mfc": color, "zorder": 5} | edge


def _title(axes: Axes, name: str, episodes: Sequence[EpisodeResult]) -> None:
    successes = sum(e.success for e in episodes)
    low, high = (100 * end for end in success_interval(successes, len(episodes)))
    text = f"{successes} of {len(episodes)} ({low:.1f} to {high:.1f}%)"
    axes.set_title(name, pad=24)
    axes.text(0, 1.02, text, transform=axes.transAxes, size=13, color=GRAY, va="bottom")


def _legend(figure: Figure, results: Mapping[tuple[str, str], Sequence[EpisodeResult]]) -> None:
    """Draw the legend of the marks, with the number of failures of each cause."""
    count = Counter(e.failure_cause for episodes in results.values() for e in episodes)
    handles = [Line2D([], [], label=f"{cause} ({count[cause]})", **_mark(*MARKS[cause]))
               for cause in FAILURE_CAUSES]  # fmt: skip
    style: dict[str, Any] = {"columnspacing": 1.2, "handletextpad": 0.1}
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), **style)
