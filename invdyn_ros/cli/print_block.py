"""`invdyn print_block`: blocks with markers to print, cut out and fold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from invdyn_ros.cli.options import parse
from invdyn_ros.cli.print_board import (
    DPI,
    MARGIN,
    PAGES,
    PIXELS_PER_MM,
    SUFFIXES,
    draw_caption,
)
from invdyn_ros.config import Validated
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.perception.aruco_cube import MARKER_FRACTION
from invdyn_ros.perception.block_net import draw_net
from invdyn_ros.robots.registry import load_scene, register_arm
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Image

CAPTION = 20  # [mm] of the page below the net


@dataclass(frozen=True)
class PrintBlockOptions(OutputOptions, Validated):
    """Write the nets of blocks at true scale, to print without scaling, cut out, fold and glue."""

    out: Path
    """PDF file to write, a page for each block; or PNG, for a single block."""
    arm: str = "ur5"
    """Arm whose block it is: its size is that of the simulated one."""
    blocks: str = ""
    """FILE.yaml given as blocks:= to grasp_sim; default: the block of the arm."""
    page: Literal["a4", "a3", "letter"] = "a4"
    """Size of the paper."""

    def __post_init__(self) -> None:
        """Check the name of the file."""
        super().__post_init__()
        if self.out.suffix.lower() not in SUFFIXES or self.out.is_dir():
            raise ValueError(f"--out {self.out} is not a .pdf or .png file")


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options = parse(Annotated[PrintBlockOptions, tyro.conf.OmitArgPrefixes], argv, "print_block")
    scene = load_scene(register_arm(options.arm), options.blocks)
    count = len(scene.all_blocks)
    if count > 1 and options.out.suffix.lower() == ".png":
        raise ValueError(f"--out {options.out} has one page, for {count} blocks; give a .pdf file")
    import PIL.Image

    pages = [
        PIL.Image.fromarray(draw_page(scene, block, options.page)).convert("1")
        for block in range(count)
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.out.suffix.lower() == ".pdf":
        pages[0].save(options.out, resolution=DPI, save_all=True, append_images=pages[1:])
    else:
        pages[0].save(options.out, dpi=(DPI, DPI))
    print(
        f"wrote {options.out}; print it at 100%, check the line of the page with a ruler, cut "
        "along the solid lines, fold along the dashed ones with the print outside, glue the tabs",
        flush=True,
    )
    return 0


def draw_page(scene: Scene, block: int, page: str) -> Image:
    """Return a page (H, W) uint8 with the net of a block, what it is, and a line to measure.

    Args:
        scene: the blocks.
        block: index of the block.
        page: key of PAGES.

    Raises:
        ValueError: the net does not fit on the page.
    """
    of_block, side = scene.all_blocks[block], scene.block_size
    net = draw_net(of_block.markers, side, PIXELS_PER_MM)
    height, width = (round(mm * PIXELS_PER_MM) for mm in PAGES[page])  # portrait
    canvas = np.full((height, width), 255, np.uint8)
    margin, caption = MARGIN * PIXELS_PER_MM, CAPTION * PIXELS_PER_MM
    left, top = (width - net.shape[1]) // 2, (height - caption - net.shape[0]) // 2
    if min(left, top) < margin:
        others = " or ".join(name for name in PAGES if name != page)
        raise ValueError(
            f"the net of a block of {1e3 * side:g} mm does not fit on {page}; take smaller "
            f"blocks, or --page {others}"
        )
    canvas[top : top + net.shape[0], left : left + net.shape[1]] = net
    markers = of_block.markers
    lines = (
        f"{of_block.name}: {markers.dictionary}, markers {markers}",
        f"side {1e3 * side:g} mm, markers {1e3 * side * MARKER_FRACTION:g} mm",
    )
    bottom = height - margin
    draw_caption(canvas, lines, (margin, width - margin), bottom)
    return canvas
