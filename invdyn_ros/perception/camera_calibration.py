"""Calibration of a camera's intrinsics from views of a board (Zhang 2000), with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.calibration_board import BoardView, CalibrationBoard
from invdyn_ros.perception.camera_intrinsics import EQUIDISTANT, CameraIntrinsics
from invdyn_ros.typing import Array

MIN_VIEWS = 8
MIN_DIFFERENCE = 0.03  # of two views: mean distance of their corners over the image width
OUTLIER_FACTOR, MIN_OUTLIER_ERROR = 2.5, 0.5  # of a rejected view: over the median error, [px]
MAX_ROUNDS = 4  # of calibration and rejection
MAX_FOCAL_STD = 0.01  # relative standard error of the focal length, above which tilts are missing
GRID = (6, 4)  # cells of the image in which corners are counted
_FLAGS: Any = cv2.fisheye if hasattr(cv2.fisheye, "CALIB_FIX_SKEW") else cv2  # since 5.0
FISHEYE_FLAGS = _FLAGS.CALIB_RECOMPUTE_EXTRINSIC | _FLAGS.CALIB_FIX_SKEW
NUM_COEFFICIENTS = {"plumb_bob": 5, "rational_polynomial": 8, EQUIDISTANT: 4}


class NamedView(NamedTuple):
    """View of the board, and the name of its image."""

    name: str
    view: BoardView


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """Intrinsics and how well they explain the views."""

    intrinsics: CameraIntrinsics
    """Of the camera."""
    views: list[NamedView]
    """Views from which they were computed."""
    errors: list[Array]
    """(k, 2) observed minus projected corners of each view [px]."""
    rejected: list[tuple[str, float]]
    """Name and RMS error [px] of each view that contradicted the others."""
    focal_std: float | None
    """Relative standard error of the focal length; None if it is not known."""

    @property
    def rms_error(self) -> float:
        """RMS distance of observed and projected corners [px]."""
        return _rms(np.concatenate(self.errors))

    def coverage(self) -> np.ndarray:
        """Return the number of corners in each cell of the image, (rows, columns) of GRID."""
        corners = np.concatenate([view.corners for _, view in self.views])
        width, height = self.intrinsics.size
        bounds = [[-0.5, height - 0.5], [-0.5, width - 0.5]]
        counts = np.histogram2d(corners[:, 1], corners[:, 0], GRID[::-1], bounds)[0]
        return np.asarray(counts.astype(int))


class ViewSelection:
    """Views of a board that differ from each other.

    Attributes:
        views: the selected ones.
        num_similar: views that were like a selected one.
    """

    def __init__(self, board: CalibrationBoard, image_width: int) -> None:
        """Select nothing yet; `image_width` [px] is the unit of differences."""
        self.views: list[NamedView] = []
        self.num_similar = 0
        self._board, self._width = board, image_width
        self._outlines: list[Array] = []

    def add(self, name: str, view: BoardView) -> bool:
        """Select a view unless it is like a selected one; return whether it was selected."""
        outline = self._outline(view)
        distances = [np.linalg.norm(outline - other, axis=1).mean() for other in self._outlines]
        if min(distances, default=np.inf) < MIN_DIFFERENCE * self._width:
            self.num_similar += 1
            return False
        self._outlines.append(outline)
        self.views.append(NamedView(name, view))
        return True

    def sample(self, count: int) -> list[NamedView]:
        """Return at most `count` views, evenly spaced among the selected ones."""
        last = len(self.views) - 1
        indices = np.unique(np.linspace(0, last, min(count, last + 1)).round().astype(int))
        return [self.views[i] for i in indices]

    def _outline(self, view: BoardView) -> Array:
        """Return the corners (4, 2) [px] of the whole board, as far as a homography gives them."""
        points = self._board.points
        H = cv2.findHomography(points[view.ids, :2], view.corners)[0]
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        outline = np.array([[low, (high[0], low[1]), high, (low[0], high[1])]], float)
        pixels = cv2.perspectiveTransform(outline.reshape(-1, 1, 2), H)
        return np.asarray(pixels, float).reshape(4, 2)


def calibrate_camera(
    board: CalibrationBoard, views: Sequence[NamedView], size: tuple[int, int], model: str
) -> CameraCalibration:
    """Compute intrinsics from views of a board; views that contradict the others are rejected.

    Args:
        board: the board.
        views: different views of it.
        size: width and height of the images [px].
        model: distortion model, a key of NUM_COEFFICIENTS.

    Raises:
        ValueError: too few views, or views that do not determine the intrinsics.
    """
    views, rejected = list(views), []
    for _ in range(MAX_ROUNDS):
        if len(views) < MIN_VIEWS:
            raise ValueError(
                f"{len(views)} different views of the board are too few, {MIN_VIEWS} are needed; "
                "move and tilt the board, near and far, up to the corners of the image"
            )
        intrinsics, errors, focal_std = _calibrate(board, views, size, model)
        view_errors = np.array([_rms(error) for error in errors])
        limit = max(OUTLIER_FACTOR * float(np.median(view_errors)), MIN_OUTLIER_ERROR)
        keep = view_errors <= limit
        if keep.all():
            break
        rejected += [
            (v.name, e) for v, e, k in zip(views, view_errors, keep, strict=True) if not k
        ]
        views = [view for view, k in zip(views, keep, strict=True) if k]
    if focal_std is not None and focal_std > MAX_FOCAL_STD:
        raise ValueError(
            f"the views leave the focal length uncertain by {100 * focal_std:.1f}%; tilt the "
            "board by up to 45 deg about both of its axes"
        )
    return CameraCalibration(intrinsics, views, errors, rejected, focal_std)


def _calibrate(
    board: CalibrationBoard, views: list[NamedView], size: tuple[int, int], model: str
) -> tuple[CameraIntrinsics, list[Array], float | None]:
    """Return intrinsics, errors (k, 2) of each view [px], relative error of the focal length."""
    points = [board.points[view.ids].reshape(1, -1, 3) for _, view in views]
    corners = [view.corners.reshape(1, -1, 2) for _, view in views]
    focal_std = None
    try:
        if model == EQUIDISTANT:
            _, K, d, rvecs, tvecs = cv2.fisheye.calibrate(
                points, corners, size, np.eye(3), np.zeros((4, 1)), flags=FISHEYE_FLAGS
            )
        else:
            flags = cv2.CALIB_RATIONAL_MODEL if model == "rational_polynomial" else 0
            object_points, image_points = (
                [a.astype(np.float32) for a in arrays] for arrays in (points, corners)
            )
            _, K, d, rvecs, tvecs, std, *_ = cv2.calibrateCameraExtended(
                object_points, image_points, size, np.eye(3), np.zeros(14), flags=flags
            )
            focal_std = float((np.ravel(std)[:2] / np.diag(K)[:2]).max())
        coefficients = np.asarray(d, float).ravel()[: NUM_COEFFICIENTS[model]]
        intrinsics = CameraIntrinsics(np.asarray(K, float), model, coefficients, *size)
    except (cv2.error, ValueError) as error:
        raise ValueError(
            f"the {len(views)} views do not determine a {model} camera; tilt the board about both "
            "of its axes, and show it in all parts of the image"
        ) from error
    errors = []
    for (_, view), rvec, tvec in zip(views, rvecs, tvecs, strict=True):
        in_camera = board.points[view.ids] @ cv2.Rodrigues(rvec)[0].T + np.ravel(tvec)
        errors.append(view.corners - intrinsics.project(in_camera))
    return intrinsics, errors, focal_std


def _rms(errors: Array) -> float:
    """Return the RMS length of errors (n, 2)."""
    return float(np.sqrt(np.mean(np.sum(errors**2, axis=1))))
