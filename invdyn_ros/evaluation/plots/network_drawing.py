"""Drawing of a dense network on the frames of a film: neurons in columns, links between them."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch

from invdyn_ros.evaluation.plots.style import (
    VIDEO_BACKGROUND,
    VIDEO_GRAY,
    VIDEO_TEXT,
    rgb,
    short_names,
)
from invdyn_ros.evaluation.plots.video_writer import Canvas
from invdyn_ros.models.dense_network import DenseNetwork
from invdyn_ros.models.network_history import NetworkHistory

MAX_DOTS = 40  # neurons of a column of dots; larger columns are grids of cells
MAX_LINKS = 500  # of all layers; the strongest of each are drawn
MAX_RADIUS, MAX_CELL, MAX_WIDTH = 20, 14, 7  # [px]
LINK_POINTS = 24  # of a link; of a dashed one every other piece is drawn
LABELS, BOTTOM, RIGHT = 170, 44, 120  # [px] beside and below the network
POSITIVE, NEGATIVE = np.array(rgb("#56b4e9")), np.array(rgb("#e69f00"))
BACKGROUND, ZERO = np.array(rgb(VIDEO_BACKGROUND)), np.array(rgb("#2e3948"))


class Panel(NamedTuple):
    """Part of a frame [px]."""

    x: int
    y: int
    width: int
    height: int


class Column(NamedTuple):
    """Places of the neurons of a layer."""

    centers: np.ndarray  # (N, 2) [px]
    radius: float  # of a dot, or half of the side of a cell [px]
    grid: bool


class NetworkDrawing:
    """Drawing of the networks of one history in a box."""

    def __init__(self, history: NetworkHistory, box: Panel) -> None:
        """Place the neurons; the widths of links are relative to the largest weights."""
        self.history, self.box = history, box
        counts = [len(history.features), *(shape.units for shape in history.shapes)]
        names = LABELS if len(history.features) <= MAX_DOTS else 30
        left = box.x + min(names, box.width // 5)
        span = box.x + box.width - min(RIGHT, box.width // 5) - left
        gap = span / (len(counts) - 1)
        self.columns = [_column(n, left + k * gap, gap, box) for k, n in enumerate(counts)]
        ends = [history.network(0).layers, history.network(-1).layers]
        self.largest = [
            max(float(layers[k].weight.abs().max()) for layers in ends) or 1.0
            for k in range(len(history.shapes))
        ]
        self.largest_bias = [
            max(float(layers[k].bias.abs().max()) for layers in ends) or 1.0
            for k in range(len(history.shapes))
        ]

        self.smallest_drawn = [0.0] * len(history.shapes)

    def draw_background(self, canvas: Canvas) -> None:
        """Write the names of inputs and outputs, the sizes and the activation functions."""
        bottom = self.box.y + self.box.height - 30
        kinds = ["inputs", *(shape.activation for shape in self.history.shapes)]
        for column, kind in zip(self.columns, kinds, strict=True):
            x = float(column.centers[:, 0].mean())
            canvas.text((x, bottom), str(len(column.centers)), 15, anchor="mm")
            canvas.text((x, bottom + 18), kind, 13, VIDEO_GRAY, anchor="mm")
        first, last = self.columns[0], self.columns[-1]
        if not first.grid:
            size = 11 if len(first.centers) > 12 else 14
            for (x, y), name in zip(first.centers, self._feature_names(), strict=True):
                canvas.text((x - first.radius - 8, y), name, size, VIDEO_GRAY, anchor="rm")
        if not last.grid:
            names = short_names(tuple(output.name for output in self.history.outputs))
            for (x, y), name in zip(last.centers, names, strict=True):
                canvas.text((x + last.radius + 12, y), name, 14, VIDEO_TEXT)

    def _feature_names(self) -> list[str]:
        names = [i.name.replace("_joint", "").replace("_", " ") for i in self.history.inputs]
        prefix = {"identity": "", "sin": "sin ", "cos": "cos ", "tanh": "tanh "}
        return [prefix[f.function] + names[f.input] for f in self.history.features]

    @torch.no_grad()
    def draw(self, frame: np.ndarray, network: DenseNetwork, inputs: torch.Tensor) -> None:
        """Draw a network and its values on a frame, in place.

        Args:
            frame: (H, W, 3) uint8.
            network: the network.
            inputs: (I,) in SI units.
        """
        values = [v.numpy() for v in network.values(inputs)]
        signals = [v / max(float(np.abs(v).max()), 1e-9) for v in values]
        for k, layer in enumerate(network.layers):
            self._draw_links(frame, k, layer.weight.numpy(), signals[k])
        for k, (column, fraction) in enumerate(zip(self.columns, signals, strict=True)):
            if column.grid:
                _draw_cells(frame, column, fraction)
                continue
            bias = network.layers[k - 1].bias.numpy() / self.largest_bias[k - 1] if k else None
            _draw_dots(frame, column, fraction, bias)

    def _draw_links(
        self, frame: np.ndarray, k: int, weight: np.ndarray, signal: np.ndarray
    ) -> None:
        """Draw the strongest links into layer k: width by weight, strength of color by signal."""
        size = np.abs(weight).ravel()
        count = min(MAX_LINKS // len(self.largest), len(size))
        near = np.flatnonzero(size >= 0.9 * self.smallest_drawn[k])  # those of the frame before
        near = near if len(near) >= count else np.arange(len(size))
        chosen = near[np.argpartition(size[near], len(near) - count)[len(near) - count :]]
        self.smallest_drawn[k] = float(size[chosen].min())
        chosen = chosen[np.argsort(size[chosen], kind="stable")]
        start, end = self.columns[k], self.columns[k + 1]
        widest = 3.0 if start.grid or end.grid else MAX_WIDTH
        chosen = chosen[size[chosen] > 0]
        rows, columns = np.divmod(chosen, weight.shape[1])
        points = _link_points(start.centers[columns], end.centers[rows])
        fraction = np.minimum(size[chosen] / self.largest[k], 1.0)
        opacity = 0.10 + 0.85 * np.abs(signal[columns]) * np.sqrt(fraction)
        negative = weight[rows, columns] < 0
        signs = np.where(negative[:, None], NEGATIVE, POSITIVE)
        colors = (BACKGROUND + opacity[:, None] * (signs - BACKGROUND)).tolist()
        widths = np.maximum(np.rint(widest * fraction), 1).astype(int).tolist()
        for line, color, width, dashed in zip(points, colors, widths, negative, strict=True):
            pieces = list(line.reshape(-1, 2, 2)) if dashed else [line]
            cv2.polylines(frame, pieces, False, color, width, cv2.LINE_AA, 4)


def _column(count: int, x: float, gap: float, box: Panel) -> Column:
    """Place the neurons of a layer around x, in rows of a box."""
    room = box.height - BOTTOM - 16
    middle = box.y + 8 + room / 2
    if count <= MAX_DOTS:
        step = min(room / count, 3 * MAX_RADIUS)
        y = middle + step * (np.arange(count) - (count - 1) / 2)
        radius = min(0.4 * step, MAX_RADIUS, 0.2 * gap)
        return Column(np.column_stack([np.full(count, x), y]), radius, False)
    side = min(MAX_CELL, np.sqrt(room * gap * 0.45 / count))
    side = float(max(int(side), 2))
    rows = max(int(room / side), 1)
    columns = -(-count // rows)
    k = np.arange(count)
    centers = [
        x + (k // rows - (columns - 1) / 2) * side,
        middle + (k % rows - (rows - 1) / 2) * side,
    ]
    return Column(np.column_stack(centers), side / 2, True)


def _signal_colors(fraction: np.ndarray) -> np.ndarray:
    """Return colors (N, 3) of signals (N,) from -1 to 1."""
    end = np.where(fraction[:, None] < 0, NEGATIVE, POSITIVE)
    return (ZERO + np.abs(fraction)[:, None] * (end - ZERO)).astype(np.uint8)


def _draw_cells(frame: np.ndarray, column: Column, fraction: np.ndarray) -> None:
    side = int(2 * column.radius)
    corners = np.round(column.centers - column.radius).astype(int)
    inside = np.arange(side - 1 if side > 3 else side)
    y = corners[:, 1, None, None] + inside[None, :, None]
    x = corners[:, 0, None, None] + inside[None, None, :]
    frame[y, x] = _signal_colors(fraction)[:, None, None, :]


def _draw_dots(
    frame: np.ndarray, column: Column, fraction: np.ndarray, bias: np.ndarray | None
) -> None:
    """Draw neurons; the bias is an arc, a whole circle for the largest bias of the layer."""
    radius = column.radius
    colors = _signal_colors(fraction).tolist()
    for k, (x, y) in enumerate(np.round(column.centers).astype(int).tolist()):
        cv2.circle(frame, (x, y), round(radius), colors[k], -1, cv2.LINE_AA)
        cv2.circle(frame, (x, y), round(radius), rgb(VIDEO_GRAY), 1, cv2.LINE_AA)
        if bias is None or radius < 5:
            continue
        color = tuple(int(c) for c in (POSITIVE if bias[k] > 0 else NEGATIVE))
        axes, turn = (round(radius + 4),) * 2, float(np.clip(bias[k], -1, 1)) * 360
        cv2.ellipse(frame, (x, y), axes, -90, 0, turn, color, 2, cv2.LINE_AA)


def _link_points(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return smooth curves (L, LINK_POINTS, 2) in sixteenths of a pixel between points (L, 2)."""
    fraction = np.linspace(0, 1, LINK_POINTS)
    progress = np.column_stack(
        [fraction, fraction * fraction * (3 - 2 * fraction)]
    )  # in x and in y
    points = start[:, None] + progress * (end - start)[:, None]
    return np.rint(16 * points).astype(np.int32)
