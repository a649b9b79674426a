"""H.264 video files, and drawing on their frames."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import cv2
import imageio_ffmpeg
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from invdyn_ros.evaluation.plots.style import (
    RED,
    VIDEO_BACKGROUND,
    VIDEO_GRAY,
    VIDEO_LINE,
    VIDEO_PANEL,
    VIDEO_TEXT,
    rgb,
)

RATE = 20  # [frames/s]
WIDTH, HEIGHT = 1280, 720  # [px]
HEADER, FOOTER = 56, 64  # [px]
ALERT_HEIGHT = 34  # [px]
SHOWN_SECONDS = 0.5  # for which an event is shown at least
MAX_ALERTS = 3  # texts that are shown at once
MAX_SECONDS = 60.0  # of a video, whose frames are rendered slower than real time


class VideoWriter(AbstractContextManager["VideoWriter"]):
    """Writer of an MP4 file that appears when it is complete.

    Browsers and README pages play H.264 with 4:2:0 chroma; the encoder is in imageio-ffmpeg.
    """

    def __init__(self, file: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
        """Open a file for frames of one size, both sides even [px]."""
        self.file, self.size = Path(file), (height, width, 3)
        self.part = self.file.with_name(f".{self.file.name}.part.mp4")
        options = ["-crf", "20", "-preset", "fast", "-movflags", "+faststart"]
        self.writer = imageio_ffmpeg.write_frames(
            str(self.part),
            (width, height),
            fps=RATE,
            codec="libx264",
            pix_fmt_out="yuv420p",
            quality=None,
            macro_block_size=2,
            output_params=options,
            ffmpeg_log_level="quiet",
        )
        self.writer.send(None)

    def add(self, frame: np.ndarray, times: int = 1) -> None:
        """Append a frame (H, W, 3) uint8 RGB `times` times.

        Raises:
            ValueError: the frame has another size or type.
            OSError: the encoder ended.
        """
        if frame.shape != self.size or frame.dtype != np.uint8:
            raise ValueError(f"a frame is {self.size} uint8, not {frame.shape} {frame.dtype}")
        try:
            for _ in range(times):
                self.writer.send(np.ascontiguousarray(frame))
        except (OSError, StopIteration):  # its message has many lines
            raise OSError(
                f"the video encoder cannot write {self.file}; is the disk full?"
            ) from None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Complete the file, or remove it after an error.

        Raises:
            OSError: the encoder could not write the file.
        """
        try:
            self.writer.close()
            if kind is None:
                if not is_video(self.part):
                    raise OSError(f"the video encoder cannot write {self.file}; is the disk full?")
                self.part.replace(self.file)
        finally:
            self.part.unlink(missing_ok=True)


def is_video(file: Path) -> bool:
    """Return whether a file can be read as a video; an encoder says nothing on a full disk."""
    capture = cv2.VideoCapture(str(file)) if file.is_file() and file.stat().st_size else None
    return capture is not None and capture.isOpened()


class Canvas:
    """A frame to draw on."""

    def __init__(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        """Start with an empty frame [px]."""
        self.image = Image.new("RGB", (width, height), VIDEO_BACKGROUND)
        self.pen = ImageDraw.Draw(self.image)

    def copy(self) -> Canvas:
        """Return an independent copy."""
        canvas = Canvas.__new__(Canvas)
        canvas.image = self.image.copy()
        canvas.pen = ImageDraw.Draw(canvas.image)
        return canvas

    def text(
        self,
        position: tuple[float, float],
        text: str,
        size: int = 18,
        color: str = VIDEO_TEXT,
        bold: bool = False,
        anchor: str = "lm",
    ) -> float:
        """Draw text and return the x coordinate of its end [px].

        Args:
            position: x, y [px].
            text: the text.
            size: font size [px].
            color: "#rrggbb".
            bold: whether the font is bold.
            anchor: as in Pillow.
        """
        font = _font(size, bold)
        self.pen.text(position, text, fill=color, font=font, anchor=anchor)
        return position[0] + self.pen.textlength(text, font=font)

    def paste(self, image: np.ndarray, box: tuple[int, int, int, int]) -> None:
        """Draw an RGB image (H, W, 3), scaled to fit into a box x, y, w, h [px]."""
        x, y, width, height = box
        scaled = fit_image(image, width, height)
        left, top = x + (width - scaled.shape[1]) // 2, y + (height - scaled.shape[0]) // 2
        self.image.paste(Image.fromarray(scaled), (left, top))

    def fill(self, image: np.ndarray, box: tuple[int, int, int, int]) -> None:
        """Fill a box x, y, w, h [px] with a whole image on a dim, blurred copy of itself."""
        x, y, width, height = box
        blurred = cv2.GaussianBlur(cv2.resize(image, (width // 8, height // 8)), (0, 0), 4)
        dim = (0.35 * cv2.resize(blurred, (width, height))).astype(np.uint8)
        self.image.paste(Image.fromarray(dim), (x, y))
        self.paste(image, box)

    def placeholder(self, box: tuple[int, int, int, int], text: str) -> None:
        """Fill a box x, y, w, h [px] with a text, in place of an image."""
        x, y, width, height = box
        self.pen.rectangle((x, y, x + width - 1, y + height - 1), fill=VIDEO_PANEL)
        self.text((x + width / 2, y + height / 2), text, 18, VIDEO_GRAY, anchor="mm")

    def legend_entry(self, position: tuple[float, float], text: str, color: str) -> float:
        """Draw a colored dot and a label; return the x coordinate of its end [px].

        Args:
            position: x, y of the dot [px].
            text: the label.
            color: of the dot, "#rrggbb".
        """
        x, y = position
        self.pen.ellipse((x, y - 6, x + 12, y + 6), fill=color)
        return self.text((x + 20, y), text, 18, VIDEO_GRAY if color == VIDEO_LINE else VIDEO_TEXT)

    def alert(self, box: tuple[int, int, int, int], texts: Sequence[str]) -> None:
        """Frame a box x, y, w, h [px] in red and write texts into red bars at its lower edge."""
        x, y, width, height = box
        if not texts:
            return
        self.pen.rectangle((x, y, x + width - 1, y + height - 1), outline=RED, width=5)
        for i, text in enumerate(texts):
            top = y + height - ALERT_HEIGHT * (len(texts) - i)
            self.pen.rectangle((x, top, x + width - 1, top + ALERT_HEIGHT - 1), fill=RED)
            size = 18 if self.pen.textlength(text, font=_font(18, True)) < width - 32 else 14
            while self.pen.textlength(text, font=_font(size, True)) > width - 32:
                text = text.removesuffix("…")[:-1] + "…"
            self.text((x + 16, top + ALERT_HEIGHT / 2), text, size, VIDEO_TEXT, bold=True)

    def array(self) -> np.ndarray:
        """Return the frame, (H, W, 3) uint8 RGB."""
        return np.asarray(self.image)


class Curve:
    """A curve over time that is faint as a whole and bright up to the current time."""

    def __init__(
        self,
        box: tuple[int, int, int, int],
        time: np.ndarray,
        value: np.ndarray,
        span: tuple[float, float],
        color: str,
        top: float,
    ) -> None:
        """Scale a curve to a box x, y, w, h [px].

        Args:
            box: the box.
            time: (T,) increasing [s].
            value: (T,), zero at the bottom of the box.
            span: first and last time of the box [s].
            color: "#rrggbb".
            top: value at the top of the box.
        """
        self.box, self.span, self.color, self.time, self.value = box, span, rgb(color), time, value
        x, y, width, height = box
        x_fraction = (time - span[0]) / max(span[1] - span[0], 1e-9)
        y_fraction = np.clip(value / max(top, 1e-12), 0, 1)
        self.pixels = np.column_stack([x + x_fraction * width, y + (1 - y_fraction) * height])

    def mark(self, frame: np.ndarray, spans: Sequence[tuple[float, float]]) -> None:
        """Mark spans of time [s] in red on a frame (H, W, 3) uint8, in place."""
        x, y, width, height = self.box
        first, last = self.span
        for start, end in spans:
            if end >= first and start <= last:
                left, right = (
                    x + width * np.clip((t - first) / max(last - first, 1e-9), 0, 1)
                    for t in (start, end)
                )
                part = frame[y : y + height, int(left) : max(int(right), int(left) + 2)]
                part[:] = (0.6 * part + 0.4 * np.array(rgb(RED))).astype(np.uint8)

    def draw(self, frame: np.ndarray, now: float) -> None:
        """Draw the curve at a time [s] on a frame (H, W, 3) uint8, in place."""
        x, y, width, height = self.box
        past = int(np.searchsorted(self.time, now, side="right"))
        fraction = np.clip((now - self.span[0]) / max(self.span[1] - self.span[0], 1e-9), 0, 1)
        cursor = x + fraction * width
        mixed = 0.35 * np.array(self.color) + 0.65 * np.array(rgb(VIDEO_PANEL))
        faint = tuple(int(c) for c in mixed)
        self._line(frame, self.pixels, faint, 2)
        self._line(frame, np.array([[cursor, y], [cursor, y + height]]), rgb(VIDEO_GRAY), 1)
        if past:
            level = float(np.interp(now, self.time, self.pixels[:, 1]))
            here = np.array([[cursor, level]])
            self._line(frame, np.vstack([self.pixels[:past], here]), self.color, 3)
            cv2.circle(frame, (round(cursor), round(level)), 5, self.color, -1, cv2.LINE_AA)

    @staticmethod
    def _line(frame: np.ndarray, pixels: np.ndarray, color: tuple[int, ...], width: int) -> None:
        points = np.round(pixels * 16).astype(np.int32)
        cv2.polylines(frame, [points], False, color, width, cv2.LINE_AA, 4)


def fit_image(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale an image to the largest size within a box, with the same aspect ratio.

    Args:
        image: (H, W, 3).
        width: of the box [px].
        height: of the box [px].
    """
    scale = min(width / image.shape[1], height / image.shape[0])
    size = max(round(scale * image.shape[1]), 1), max(round(scale * image.shape[0]), 1)
    if size == (image.shape[1], image.shape[0]):
        return image
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=interpolation))


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
