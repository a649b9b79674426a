"""Film of one or two networks while they train, as MP4 or GIF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from invdyn_ros.evaluation.plots.gif import GIF_FRAME_STEP, gif_frame, write_gif
from invdyn_ros.evaluation.plots.network_drawing import NetworkDrawing, Panel
from invdyn_ros.evaluation.plots.style import VIDEO_GRAY, VIDEO_PANEL, VIDEO_TEXT
from invdyn_ros.evaluation.plots.video_writer import RATE, WIDTH, Canvas, Curve, VideoWriter
from invdyn_ros.models.dense_network import DenseLayer, DenseNetwork
from invdyn_ros.models.network_history import NetworkHistory

FRAMES = 12 * RATE
HOLD = 6  # of so many frames one is added at the end, with the trained network
MAX_CASES = 4  # samples that the film shows in turn; of more, one is shown
CASE_FRAMES = RATE  # for which each of them is shown
MARGIN, TOP, LOSS_TOP, LOSS_HEIGHT = 30, 64, 610, 80  # [px]
TRAIN_COLOR, VAL_COLOR = "#6fb1ff", "#ffb84d"


def write_network_video(
    file: Path, histories: Sequence[NetworkHistory], count: int = FRAMES
) -> Path:
    """Write an MP4 or a GIF, by the suffix of the file, and return its path.

    Args:
        file: ends with .mp4 or .gif.
        histories: one or two, side by side at the same epoch.
        count: frames of the training.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".gif":
        frames = network_frames(histories, count, GIF_FRAME_STEP)
        write_gif(file, [gif_frame(frame) for frame in frames])
        return file
    with VideoWriter(file) as video:
        for frame in network_frames(histories, count):
            video.add(frame)
    return file


def network_frames(
    histories: Sequence[NetworkHistory], count: int = FRAMES, step: int = 1
) -> Iterator[np.ndarray]:
    """Yield the frames (H, W, 3) uint8 of a film, the last one again and again.

    Args:
        histories: one or two, side by side at the same epoch.
        count: frames of the training.
        step: of so many frames one is drawn.
    """
    width = (WIDTH - MARGIN * (len(histories) + 1)) // len(histories)
    views = [
        _HistoryView(history, MARGIN + k * (width + MARGIN), width)
        for k, history in enumerate(histories)
    ]
    background = Canvas()
    for view in views:
        view.draw_background(background)
    page = background.array()
    longest = max(histories, key=lambda history: history.snapshots[-1].epoch)
    positions = np.append(
        np.linspace(0, len(longest.snapshots) - 1, count), [-1.0] * (count // HOLD)
    )
    epochs = [s.epoch for s in longest.snapshots]
    for k in range(0, len(positions), step):
        position = positions[k]
        last = position < 0
        epoch = epochs[-1] if last else float(np.interp(position, np.arange(len(epochs)), epochs))
        frame = page.copy()
        for view in views:
            view.draw(frame, epoch, k // CASE_FRAMES)
        yield frame


class _HistoryView:
    """One history in its part of the film."""

    def __init__(self, history: NetworkHistory, left: int, width: int) -> None:
        """Prepare the drawing of a history from `left` on, `width` wide [px]."""
        self.history, self.left, self.width = history, left, width
        self.epochs = np.array([s.epoch for s in history.snapshots], float)
        box = Panel(left, TOP, width, LOSS_TOP - TOP - 24)
        self.drawing = NetworkDrawing(history, box)
        self.curves = self._loss_curves()
        self.inputs = torch.as_tensor(history.samples.inputs).float()
        self.networks: dict[int, DenseNetwork] = {}

    def _loss_curves(self) -> list[Curve]:
        losses = np.array(self.history.losses, float).reshape(-1, 3)
        if not len(losses):
            return []
        values = (
            np.log10(np.maximum(losses[:, 1:], 1e-12))
            if (losses[:, 1:] > 0).all()
            else losses[:, 1:]
        )
        values = values - values.min()
        box = (self.left, LOSS_TOP, self.width, LOSS_HEIGHT)
        span, top = (0.0, float(losses[-1, 0])), float(values.max()) * 1.05
        same = np.array_equal(values[:, 0], values[:, 1])
        columns = [(0, TRAIN_COLOR)] if same else [(0, TRAIN_COLOR), (1, VAL_COLOR)]
        return [Curve(box, losses[:, 0], values[:, c], span, color, top) for c, color in columns]

    def draw_background(self, canvas: Canvas) -> None:
        """Draw everything that does not change."""
        canvas.text((self.left, 28), self.history.title, 22, bold=True)
        self.drawing.draw_background(canvas)
        if not self.curves:
            return
        box = (self.left, LOSS_TOP, self.left + self.width, LOSS_TOP + LOSS_HEIGHT)
        canvas.pen.rectangle(box, fill=VIDEO_PANEL)
        x = canvas.legend_entry((self.left, LOSS_TOP - 14), "training loss", TRAIN_COLOR)
        if len(self.curves) > 1:
            canvas.legend_entry((x + 24, LOSS_TOP - 14), "validation loss", VAL_COLOR)

    def draw(self, frame: np.ndarray, epoch: float, case: int) -> None:
        """Draw the network at an epoch on a frame, in place; `case` counts the shown samples."""
        epoch = min(epoch, float(self.epochs[-1]))
        network = self._network(epoch)
        cases = len(self.inputs) if len(self.inputs) <= MAX_CASES else 1
        sample = case % cases if cases > 1 else len(self.inputs) // 2
        self.drawing.draw(frame, network, self.inputs[sample])
        for curve in self.curves:
            curve.draw(frame, epoch)
        self._draw_text(frame, network, epoch, sample)

    def _network(self, epoch: float) -> DenseNetwork:
        """Return the network at an epoch, interpolated between two snapshots."""
        position = float(np.interp(epoch, self.epochs, np.arange(len(self.epochs))))
        low, fraction = int(position), position % 1
        needed = [low] if fraction < 1e-9 else [low, low + 1]
        self.networks = {k: self.networks.get(k) or self.history.network(k) for k in needed}
        first = self.networks[low]
        if len(needed) == 1:
            return first
        pairs = zip(first.layers, self.networks[low + 1].layers, strict=True)
        return first._replace(layers=tuple(_interpolate(a, b, fraction) for a, b in pairs))

    def _draw_text(
        self, frame: np.ndarray, network: DenseNetwork, epoch: float, sample: int
    ) -> None:
        """Write the epoch, and the predictions to a few samples, above the network."""
        height, right = 48, self.left + self.width
        strip = Canvas(self.width // 2, height)
        strip.text((strip.image.width, 18), f"epoch {epoch:,.0f}", 22, bold=True, anchor="rm")
        if len(self.inputs) <= MAX_CASES:
            with torch.no_grad():
                predictions = network.predict(self.inputs)[:, 0]
            texts = [
                f"{' '.join(f'{v:g}' for v in values)} → {prediction:.2f}"
                for values, prediction in zip(
                    self.inputs.tolist(), predictions.tolist(), strict=True
                )
            ]
            x = 0.0
            for k, text in enumerate(texts):
                color = VIDEO_TEXT if k == sample else VIDEO_GRAY
                x = strip.text((x, 38), text, 15, color, bold=k == sample) + 16
        frame[8 : 8 + height, right - strip.image.width : right] = strip.array()


def _interpolate(a: DenseLayer, b: DenseLayer, fraction: float) -> DenseLayer:
    """Return the layer between two snapshots; the normalisation is the earlier one's."""
    weight, bias = torch.lerp(a.weight, b.weight, fraction), torch.lerp(a.bias, b.bias, fraction)
    return a._replace(weight=weight, bias=bias)
