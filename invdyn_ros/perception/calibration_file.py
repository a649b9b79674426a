"""Calibration file of a camera's intrinsics, in the YAML format of ROS camera_calibration."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from invdyn_ros.config import from_mapping, load_yaml
from invdyn_ros.perception.camera import Frame
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.typing import Array


@dataclass(frozen=True)
class MatrixValues:
    """A matrix in the file."""

    rows: NonNegativeInt
    """Number of rows."""
    cols: NonNegativeInt
    """Number of columns."""
    data: tuple[float, ...]
    """Values, row by row."""

    def array(self, name: str, shape: tuple[int, int] | None = None) -> Array:
        """Return the matrix; `name` and `shape`, None for any, are for the error message.

        Raises:
            ValueError: another shape, or another number of values.
        """
        size = (self.rows, self.cols)
        if size != (shape or size) or len(self.data) != self.rows * self.cols:
            expected = "{} x {}".format(*shape) if shape else "rows times cols"
            raise ValueError(
                f"{name} is {self.rows} x {self.cols} with {len(self.data)} values; it must be "
                f"{expected}"
            )
        return np.array(self.data, float).reshape(size)


@dataclass(frozen=True)
class CalibrationFile:
    """Content of the file."""

    image_width: PositiveInt
    """[px]."""
    image_height: PositiveInt
    """[px]."""
    camera_matrix: MatrixValues
    """K."""
    distortion_coefficients: MatrixValues
    """D."""
    distortion_model: str = "plumb_bob"
    """Files without it are of this model."""
    rectification_matrix: MatrixValues | None = None
    """R."""
    projection_matrix: MatrixValues | None = None
    """P."""


def read_calibration(path: str | Path) -> CameraIntrinsics:
    """Read a file of `invdyn calibrate camera`, camera_calibration or camera_info_manager.

    Raises:
        ValueError: no such file, another format, or an unsupported distortion model.
    """
    try:
        content = load_yaml(path)
        known = {f.name: content[f.name] for f in fields(CalibrationFile) if f.name in content}
        values = {name: _without_other_keys(value) for name, value in known.items()}
        file = from_mapping(CalibrationFile, values, str(path))
    except ValueError as error:
        raise ValueError(
            f"{error}; give a file of 'invdyn calibrate camera' or of ROS camera_calibration"
        ) from None
    d, r, p = file.distortion_coefficients, file.rectification_matrix, file.projection_matrix
    try:
        return CameraIntrinsics(
            file.camera_matrix.array("camera_matrix", (3, 3)),
            file.distortion_model,
            d.array("distortion_coefficients").ravel(),
            file.image_width,
            file.image_height,
            np.eye(3) if r is None else r.array("rectification_matrix", (3, 3)),
            None if p is None else p.array("projection_matrix", (3, 4)),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def load_intrinsics(path: str, frame: Frame) -> CameraIntrinsics | None:
    """Read the intrinsics of a camera for images of the size of a frame.

    Args:
        path: the calibration file; empty for none.
        frame: an image of the camera.

    Raises:
        ValueError: the file cannot be used, or is of images of another size.
    """
    if not path:
        return None
    intrinsics, height, width = read_calibration(path), *frame.image.shape[:2]
    if intrinsics.size == frame.full_size:
        return intrinsics.resized((width, height))
    if intrinsics.size != (width, height):
        raise ValueError(
            f"{path} is of images of {intrinsics.width}x{intrinsics.height}, the camera gives "
            f"{frame.full_size[0]}x{frame.full_size[1]}; calibrate it at this size"
        )
    return intrinsics


def _without_other_keys(value: Any) -> Any:
    """Return a matrix without keys that other programs add, such as dt."""
    if not isinstance(value, dict):
        return value
    return {f.name: value[f.name] for f in fields(MatrixValues) if f.name in value}


def to_calibration_yaml(intrinsics: CameraIntrinsics, name: str) -> str:
    """Return the text of a calibration file.

    Args:
        intrinsics: of the camera.
        name: name of the camera, which ROS drivers compare with theirs.
    """
    matrices = {
        "camera_matrix": intrinsics.camera_matrix,
        "distortion_coefficients": intrinsics.distortion[None],
        "rectification_matrix": intrinsics.rectification,
        "projection_matrix": intrinsics.projection_matrix,
    }
    lines = [
        f"image_width: {intrinsics.width}",
        f"image_height: {intrinsics.height}",
        f"camera_name: {name}",
    ]
    for key, matrix in matrices.items():
        if key == "distortion_coefficients":
            lines.append(f"distortion_model: {intrinsics.distortion_model}")
        rows, cols = matrix.shape
        data = ", ".join(repr(float(value)) for value in matrix.ravel())
        lines += [f"{key}:", f"  rows: {rows}", f"  cols: {cols}", f"  data: [{data}]"]
    return "\n".join(lines) + "\n"
