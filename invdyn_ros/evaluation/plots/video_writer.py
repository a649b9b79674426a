"""Making films: RGB frames enter, an H.264 file leaves; and drawing on the frames."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import cv2
import imageio_ffmpeg
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from invdyn_ros.evaluation.plots.style import EDGE, MIST, NIGHT, PANEL, SNOW, rgb

RATE = 20  # [frames/s]
WIDTH, HEIGHT = 1280, 720  # [px]
HEADER, FOOTER = 56, 64  # [px]
MAX_SECONDS = 60.0  # of a film; drawing takes longer than watching


class VideoWriter(AbstractContextManager["VideoWriter"]):
    """An MP4 file that appears when it is complete.

    H.264 with 4:2:0 chroma is what browsers and README pages play; imageio-ffmpeg brings the
    encoder.
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
            ffmpeg_log_level="error",
        )
        self.writer.send(None)

    def add(self, frame: np.ndarray, times: int = 1) -> None:
        """Append a frame (H, W, 3) uint8 RGB, as often as told.

        Raises:
            ValueError: the frame has another size or type.
        """
        if frame.shape != self.size or frame.dtype != np.uint8:
            raise ValueError(f"a frame is {self.size} uint8, not {frame.shape} {frame.dtype}")
        for _ in range(times):
            self.writer.send(np.ascontiguousarray(frame))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Complete the file, or leave none after an error."""
        self.writer.close()
        if kind is None:
            self.part.replace(self.file)
        else:
            self.part.unlink(missing_ok=True)


class Canvas:
    """One frame that is drawn on."""

    def __init__(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        """Start with an empty frame [px]."""
        self.image = Image.new("RGB", (width, height), NIGHT)
        self.pen = ImageDraw.Draw(self.image)

    def copy(self) -> Canvas:
        """Return a frame of its own that looks the same."""
        other = Canvas.__new__(Canvas)
        other.image = self.image.copy()
        other.pen = ImageDraw.Draw(other.image)
        return other

    def text(
        self,
        place: tuple[float, float],
        words: str,
        size: int = 18,
        color: str = SNOW,
        bold: bool = False,
        anchor: str = "lm",
    ) -> float:
        """Write words at (x, y) [px], anchored as in Pillow; returns where they end [px]."""
        font = _font(size, bold)
        self.pen.text(place, words, fill=color, font=font, anchor=anchor)
        return place[0] + self.pen.textlength(words, font=font)

    def paste(self, picture: np.ndarray, box: tuple[int, int, int, int]) -> None:
        """Show a whole RGB picture (H, W, 3) as large as it fits in a box x, y, w, h [px]."""
        x, y, width, height = box
        shown = fit_image(picture, width, height)
        left, top = x + (width - shown.shape[1]) // 2, y + (height - shown.shape[0]) // 2
        self.image.paste(Image.fromarray(shown), (left, top))

    def placeholder(self, box: tuple[int, int, int, int], words: str) -> None:
        """Fill a box x, y, w, h [px] that has no picture."""
        x, y, width, height = box
        self.pen.rectangle((x, y, x + width - 1, y + height - 1), fill=PANEL)
        self.text((x + width / 2, y + height / 2), words, 18, MIST, anchor="mm")

    def legend_entry(self, place: tuple[float, float], words: str, color: str) -> float:
        """Write a word behind a dot; returns where it ends [px]."""
        x, y = place
        self.pen.ellipse((x, y - 6, x + 12, y + 6), fill=color)
        return self.text((x + 20, y), words, 18, MIST if color == EDGE else SNOW)

    def array(self) -> np.ndarray:
        """Return the frame, (H, W, 3) uint8 RGB."""
        return np.asarray(self.image)


class Curve:
    """A small time line: drawn faintly as a whole, brightly up to now."""

    def __init__(
        self,
        box: tuple[int, int, int, int],
        time: np.ndarray,
        value: np.ndarray,
        span: tuple[float, float],
        color: str,
        top: float,
    ) -> None:
        """Lay a curve into a box x, y, w, h [px].

        Args:
            box: where it is drawn.
            time: (T,) increasing [s].
            value: (T,), zero at the bottom of the box.
            span: first and last time of the box [s].
            color: of the curve.
            top: value at the top of the box.
        """
        self.box, self.span, self.color, self.time, self.value = box, span, rgb(color), time, value
        x, y, width, height = box
        share = (time - span[0]) / max(span[1] - span[0], 1e-9)
        rise = np.clip(value / max(top, 1e-12), 0, 1)
        self.pixels = np.column_stack([x + share * width, y + (1 - rise) * height])

    def draw(self, frame: np.ndarray, now: float) -> None:
        """Draw it on a frame (H, W, 3) uint8, in place."""
        x, y, width, height = self.box
        past = int(np.searchsorted(self.time, now, side="right"))
        share = np.clip((now - self.span[0]) / max(self.span[1] - self.span[0], 1e-9), 0, 1)
        cursor = x + share * width
        mixed = 0.35 * np.array(self.color) + 0.65 * np.array(rgb(PANEL))
        faint = tuple(int(c) for c in mixed)
        self._line(frame, self.pixels, faint, 2)
        self._line(frame, np.array([[cursor, y], [cursor, y + height]]), rgb(MIST), 1)
        if past:
            level = float(np.interp(now, self.time, self.pixels[:, 1]))
            here = np.array([[cursor, level]])
            self._line(frame, np.vstack([self.pixels[:past], here]), self.color, 3)
            cv2.circle(frame, (round(cursor), round(level)), 5, self.color, -1, cv2.LINE_AA)

    @staticmethod
    def _line(frame: np.ndarray, pixels: np.ndarray, color: tuple[int, ...], width: int) -> None:
        points = np.round(pixels * 16).astype(np.int32)
        cv2.polylines(frame, [points], False, color, width, cv2.LINE_AA, 4)


def fit_image(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale a picture (H, W, 3) to the largest size within width and height [px]."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = max(round(scale * picture.shape[1]), 1), max(round(scale * picture.shape[0]), 1)
    if size == (picture.shape[1], picture.shape[0]):
        return picture
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=how))


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
