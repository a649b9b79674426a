"""`invdyn print_board`: a board to print, for the calibration of a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import tyro

from invdyn_ros.cli.options import parse
from invdyn_ros.config import Validated
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.perception.calibration_board import (
    PIXELS_PER_MM,
    BoardConfig,
    CalibrationBoard,
)
from invdyn_ros.typing import Image

PAGES = {"a4": (297, 210), "a3": (420, 297), "letter": (279.4, 215.9)}  # [mm], landscape
MARGIN = 5  # [mm] that a printer leaves blank
LINE = 100  # [mm] to measure on the print
LINE_SPACING = 6  # [mm] between lines of text
DPI = 25.4 * PIXELS_PER_MM
SUFFIXES, BLACK = (".pdf", ".png"), (0.0,)


@dataclass(frozen=True)
class PrintBoardOptions(OutputOptions, Validated):
    """Write a board at true scale, to print it without scaling and glue it on something flat."""

    out: Path
    """PDF or PNG file to write."""
    page: Literal["a4", "a3", "letter"] = "a4"
    """Size of the paper."""
    board: BoardConfig = field(default_factory=BoardConfig)
    """The board."""

    def __post_init__(self) -> None:
        """Check the name of the file."""
        super().__post_init__()
        if self.out.suffix.lower() not in SUFFIXES or self.out.is_dir():
            raise ValueError(f"--out {self.out} is not a .pdf or .png file")


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options = parse(Annotated[PrintBoardOptions, tyro.conf.OmitArgPrefixes], argv, "print_board")
    import PIL.Image

    page = PIL.Image.fromarray(draw_page(options.board, options.page))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.out.suffix.lower() == ".pdf":
        page.convert("1").save(options.out, resolution=DPI)
    else:
        page.save(options.out, dpi=(DPI, DPI))
    print(
        f"wrote {options.out}; print it at 100%, measure a square, and give its side to "
        "'invdyn calibrate camera' as --square",
        flush=True,
    )
    return 0


def draw_page(config: BoardConfig, page: str) -> Image:
    """Return a page (H, W) uint8 with the board, its size in words and a line to measure.

    Args:
        config: the board.
        page: key of PAGES.

    Raises:
        ValueError: the board does not fit on the page.
    """
    board = CalibrationBoard(config).draw()
    width, height = (round(side * PIXELS_PER_MM) for side in PAGES[page])
    canvas = np.full((height, width), 255, np.uint8)
    margin = MARGIN * PIXELS_PER_MM
    left, top = (width - board.shape[1]) // 2, (height - margin - board.shape[0]) // 2
    if min(left, top) < margin:
        mm = [side / PIXELS_PER_MM for side in board.shape[::-1]]
        raise ValueError(
            f"a board of {mm[0]:.0f} x {mm[1]:.0f} mm does not fit on {page}; take fewer or "
            f"smaller squares, or --page {' or '.join(name for name in PAGES if name != page)}"
        )
    canvas[top : top + board.shape[0], left : left + board.shape[1]] = board
    markers = f", markers {1e3 * config.marker:g} mm" if config.pattern == "charuco" else ""
    text = (
        f"{config.pattern} {config.columns} x {config.rows}, squares {1e3 * config.square:g} mm"
        f"{markers}"
    )
    baseline = (height + top + board.shape[0]) // 2
    draw_caption(canvas, (text,), (left, left + board.shape[1]), baseline)
    return canvas


def draw_caption(
    canvas: Image, lines: Sequence[str], edges: tuple[int, int], baseline: int
) -> None:
    """Write lines of text at the left, and draw a line to measure at the right, in place.

    Args:
        canvas: (H, W) page.
        lines: the text; the last line says how long the drawn one is.
        edges: left and right end [px].
        baseline: of the last line [px].
    """
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, PIXELS_PER_MM / 10
    texts = [*lines[:-1], f"{lines[-1]}; this line: {LINE} mm"]
    for k, text in enumerate(reversed(texts)):
        place = (edges[0], baseline - k * LINE_SPACING * PIXELS_PER_MM)
        cv2.putText(canvas, text, place, font, scale, BLACK, 2, cv2.LINE_AA)
    end = edges[1]
    start = end - LINE * PIXELS_PER_MM
    cv2.line(canvas, (start, baseline), (end, baseline), BLACK, 2)
    for x in (start, end):
        cv2.line(canvas, (x, baseline - 20), (x, baseline + 20), BLACK, 2)
