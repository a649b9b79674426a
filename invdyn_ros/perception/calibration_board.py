"""Printed board for the calibration of a camera: ChArUco or chessboard.

Like aruco_cube.py, this file depends on the version of OpenCV (4.6 to 5.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import cv2
import numpy as np
from pydantic import Field, PositiveFloat

from invdyn_ros.config import Validated
from invdyn_ros.typing import Array

DICTIONARY = "DICT_5X5_250"  # other markers than those of the blocks
MAX_MARKERS = 250
MIN_CORNERS = 8  # of a usable view
PIXELS_PER_MM = 10  # of the drawing, so that sides in tenths of a millimetre are exact


class BoardView(NamedTuple):
    """Corners of a board in one image."""

    ids: np.ndarray
    """(k,) indices in `CalibrationBoard.points`."""
    corners: Array
    """(k, 2) [px], pixel centers at integers."""


@dataclass(frozen=True)
class BoardConfig(Validated):
    """Printed board; `invdyn print_board` makes it with the same options."""

    pattern: Literal["charuco", "chessboard"] = "charuco"
    """charuco: with markers, may be partly hidden; chessboard: all of it must be in the image."""
    columns: Annotated[int, Field(ge=3, le=40)] = 9
    """Number of squares in a row; a chessboard has one inner corner less."""
    rows: Annotated[int, Field(ge=3, le=40)] = 7
    """Number of squares in a column; a chessboard has one inner corner less."""
    square: PositiveFloat = 0.026
    """Side of a square [m], measured on the print."""
    marker: PositiveFloat = 0.019
    """Side of a marker of charuco [m]."""

    def __post_init__(self) -> None:
        """Check that markers fit into the squares, and that there are enough of them."""
        super().__post_init__()
        if self.pattern != "charuco":
            return
        if not self.marker < self.square:
            raise ValueError(f"marker {self.marker} m does not fit into square {self.square} m")
        if self.columns * self.rows // 2 > MAX_MARKERS:
            raise ValueError(
                f"a board of {self.columns} x {self.rows} squares needs more than {MAX_MARKERS} "
                "markers; take fewer squares, or --pattern chessboard"
            )


class CalibrationBoard:
    """Geometry of a board, its detection and its drawing.

    Attributes:
        points: (n, 3) inner corners [m], in a frame in the plane of the board.
    """

    def __init__(self, config: BoardConfig) -> None:
        self.config = config
        columns, rows = config.columns - 1, config.rows - 1
        x, y = np.meshgrid(np.arange(columns), np.arange(rows))
        self.points = config.square * np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3).astype(float)
        self._board = _create_charuco(config) if config.pattern == "charuco" else None

    def detect(self, gray: np.ndarray) -> BoardView | None:
        """Return the corners in an image (H, W) uint8, None without a usable view of the board."""
        view = self._detect_chessboard(gray) if self._board is None else self._detect_charuco(gray)
        if view is None or len(view.ids) < MIN_CORNERS:
            return None
        # corners on one line do not determine the pose of the board
        extents = np.linalg.svd(self.points[view.ids] - self.points[view.ids].mean(axis=0))[1]
        return view if extents[1] > self.config.square else None

    def draw(self) -> np.ndarray:
        """Return the board (H, W) uint8 with PIXELS_PER_MM."""
        c, pixels = self.config, round(1e3 * self.config.square * PIXELS_PER_MM)
        size = (pixels * c.columns, pixels * c.rows)
        if self._board is not None:
            board = self._board
            draw = board.generateImage if hasattr(board, "generateImage") else board.draw  # type: ignore[attr-defined]
            return np.asarray(draw(size))
        column, row = np.meshgrid(np.arange(size[0]) // pixels, np.arange(size[1]) // pixels)
        return np.where((column + row) % 2, 255, 0).astype(np.uint8)

    def _detect_charuco(self, gray: np.ndarray) -> BoardView | None:
        if hasattr(cv2.aruco, "CharucoDetector"):  # since 4.7
            corners, ids, *_ = cv2.aruco.CharucoDetector(self._board).detectBoard(gray)  # type: ignore[arg-type]
        else:
            parameters = cv2.aruco.DetectorParameters_create()  # type: ignore[attr-defined]
            dictionary = _dictionary()
            quads, marker_ids, _ = cv2.aruco.detectMarkers(gray, dictionary, parameters=parameters)  # type: ignore[attr-defined]
            if marker_ids is None:
                return None
            board: Any = self._board
            _, corners, ids = cv2.aruco.interpolateCornersCharuco(quads, marker_ids, gray, board)
        if ids is None or corners is None:
            return None
        return BoardView(np.ravel(ids).astype(int), np.asarray(corners, float).reshape(-1, 2))

    def _detect_chessboard(self, gray: np.ndarray) -> BoardView | None:
        size = (self.config.columns - 1, self.config.rows - 1)
        flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_ACCURACY
        success, corners = cv2.findChessboardCornersSB(gray, size, flags=flags)
        if not success:
            return None
        return BoardView(np.arange(len(self.points)), np.asarray(corners, float).reshape(-1, 2))


def _dictionary() -> cv2.aruco.Dictionary:
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, DICTIONARY))


def _create_charuco(config: BoardConfig) -> cv2.aruco.CharucoBoard:
    size, sides = (config.columns, config.rows), (config.square, config.marker)
    if hasattr(cv2.aruco, "CharucoBoard_create"):  # up to 4.6
        return cv2.aruco.CharucoBoard_create(*size, *sides, _dictionary())
    return cv2.aruco.CharucoBoard(size, *sides, _dictionary())
