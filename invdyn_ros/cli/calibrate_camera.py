"""`invdyn calibrate camera`: intrinsics of a camera from images of a printed board."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import tyro
from pydantic import Field

from invdyn_ros.config import Validated
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.data.image_codec import decode_image
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.perception.calibration_board import BoardConfig, CalibrationBoard
from invdyn_ros.perception.calibration_file import to_calibration_yaml
from invdyn_ros.perception.camera import CameraConfig, Frame, open_camera
from invdyn_ros.perception.camera_calibration import (
    GRID,
    MIN_VIEWS,
    CameraCalibration,
    ViewSelection,
    calibrate_camera,
)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
FULL_SIZE = 100_000  # [px] images are not scaled down
NAME = re.compile(r"[A-Za-z0-9_/-]+")


@dataclass(frozen=True)
class CalibrateCameraOptions(OutputOptions, Validated):
    """Compute the intrinsics of a camera from images that show a printed board.

    The board is made by `invdyn print_board`. Move and tilt it, near and far, up to the corners of
    the image. The file is that of ROS camera_calibration and camera_info_manager.
    """

    out: Path
    """YAML file to write."""
    path: tyro.conf.Positional[Path | None] = None
    """Folder of PNG or JPEG images, or a video."""
    camera: int | str | None = None
    """Index of a camera, as of /dev/video0, its device file, or the URL of a network camera,
    instead of images; Ctrl-C ends the recording."""
    views: Annotated[int, Field(ge=MIN_VIEWS, le=200)] = 40
    """Largest number of different views that are used; the recording of a camera ends with it."""
    model: Literal["plumb_bob", "rational_polynomial", "equidistant"] = "plumb_bob"
    """Distortion model: rational_polynomial for wide angles, equidistant for fisheye lenses."""
    name: str = "camera"
    """Name of the camera in the file, which some ROS drivers compare with theirs."""
    plot: Path | None = None
    """PNG file to write, with the corners in the image and their errors."""
    board: BoardConfig = field(default_factory=BoardConfig)
    """The printed board."""

    def __post_init__(self) -> None:
        """Check the source and the files."""
        super().__post_init__()
        if (self.path is None) == (self.camera is None):
            raise ValueError("give either a folder or video with images of the board, or --camera")
        if not NAME.fullmatch(self.name):
            raise ValueError(f"--name {self.name!r} must be of letters, digits, _, - and /")
        for option, path, suffixes in (
            ("out", self.out, (".yaml", ".yml")),
            ("plot", self.plot, (".png",)),
        ):
            if path is not None and (path.suffix not in suffixes or path.is_dir()):
                raise ValueError(f"--{option} {path} is not a {suffixes[0]} file")


def run_calibration(options: CalibrateCameraOptions) -> int:
    """Calibrate the camera, write the files and return the exit code."""
    board = CalibrationBoard(options.board)
    selection, size, unused = _select_views(options, board)
    print("\n".join(unused))
    views = selection.sample(options.views)
    calibration = calibrate_camera(board, views, size, options.model)
    print("\n".join(_summary(calibration)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.plot is not None:
        from invdyn_ros.evaluation.plots.camera_corners import (
            plot_camera_corners,  # the import takes a second
        )

        options.plot.parent.mkdir(parents=True, exist_ok=True)
        plot_camera_corners(calibration, options.plot)
    text = to_calibration_yaml(calibration.intrinsics, options.name)
    write_atomically(options.out, text.encode())
    print(f"wrote {options.out}", flush=True)
    return 0


def _select_views(
    options: CalibrateCameraOptions, board: CalibrationBoard
) -> tuple[ViewSelection, tuple[int, int], list[str]]:
    """Return different views of the board, the size of the images, and what was not used.

    Raises:
        ValueError: images of different sizes, or none.
    """
    selection: ViewSelection | None = None
    size, without, count = (0, 0), [], 0
    is_live = options.camera is not None
    with contextlib.suppress(*([KeyboardInterrupt] if is_live else [])):  # ends a recording
        for name, frame in _named_frames(options):
            count += 1
            height, width = frame.image.shape[:2]
            if selection is None:
                selection, size = ViewSelection(board, width), (width, height)
            if (width, height) != size:
                raise ValueError(
                    f"{name} has {width}x{height} pixels, the images before {size[0]}x{size[1]}; "
                    "use images of one size"
                )
            view = board.detect(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY))
            if view is None:
                without.append(name)
            elif selection.add(name, view) and is_live:
                print(f"view {len(selection.views)} of {options.views}", flush=True)
                if len(selection.views) == options.views:
                    break
    if selection is None:
        raise ValueError(f"no images of the board in {options.path or 'the camera'}")
    examples = f" ({', '.join(without[:5])}{', ...' if without[5:] else ''})" if without else ""
    unused = [
        f"{count} images: {len(selection.views)} different views, {selection.num_similar} like "
        f"another one, {len(without)} without the board{examples}"
    ]
    return selection, size, unused


def _named_frames(options: CalibrateCameraOptions) -> Iterator[tuple[str, Frame]]:
    """Yield each image and its name.

    Raises:
        ValueError: no such file, or one that is damaged.
    """
    path = options.path
    if path is not None and path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise ValueError(f"{path} has no images ({', '.join(IMAGE_SUFFIXES)})")
        for index, file in enumerate(files):
            yield file.name, Frame(decode_image(file.read_bytes(), str(file)), 0.0, index)
        return
    camera = -1 if options.camera is None else options.camera
    config = CameraConfig(str(path or ""), camera, max_size=FULL_SIZE)
    for frame in open_camera(config):
        yield f"{frame.time:.2f} s" if path else f"image {frame.index}", frame


def _summary(calibration: CameraCalibration) -> list[str]:
    """Return lines that describe the intrinsics and their accuracy."""
    intrinsics = calibration.intrinsics
    k, (width, height) = intrinsics.camera_matrix, intrinsics.size
    std = calibration.focal_std
    lines = [
        f"rejected {name}: its corners contradict the other views by {error:.2f} px"
        for name, error in calibration.rejected
    ]
    lines += [
        f"fx {k[0, 0]:.2f}, fy {k[1, 1]:.2f}, cx {k[0, 2]:.2f}, cy {k[1, 2]:.2f} px for "
        f"{width}x{height}"
        + ("" if std is None else f"; standard error of the focal length {100 * std:.2f}%"),
        f"{intrinsics.distortion_model}: {', '.join(f'{d:.4f}' for d in intrinsics.distortion)}",
        f"reprojection error {calibration.rms_error:.3f} px RMS in {len(calibration.views)} views",
    ]
    coverage = calibration.coverage()
    covered = float(np.mean(coverage > 0))
    missing = _missing_parts(coverage)
    advice = f"; for a better calibration show the board at the {missing}" if missing else ""
    return [*lines, f"corners in {100 * covered:.0f}% of the image{advice}"]


def _missing_parts(coverage: np.ndarray) -> str:
    """Return the parts of the image without corners, from the counts of its cells."""
    columns, rows = GRID
    parts = {
        "left": coverage[:, 0],
        "right": coverage[:, columns - 1],
        "top": coverage[0],
        "bottom": coverage[rows - 1],
    }
    return ", ".join(name for name, counts in parts.items() if np.mean(counts > 0) < 0.5)
