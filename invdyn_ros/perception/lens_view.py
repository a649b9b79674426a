"""Images without lens distortion around a block, as a pinhole camera turned to it would take them.

In the image of a distorting lens the sides of a marker are curved and its scale differs across it.
A whole image of a fisheye lens has no pinhole image; the part around a block has.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from invdyn_ros.perception.camera_intrinsics import EQUIDISTANT, CameraIntrinsics
from invdyn_ros.typing import Array

MARGIN = 0.75  # of the view around the markers, for other faces of the block [largest marker side]
MIN_MARGIN = 16  # [px]
MAX_ANGLE = np.radians(60)  # between the middle and a side of a view
GREY = (128.0,)
STEP = 1e-4  # [rad] for the resolution of a lens


@dataclass(frozen=True, eq=False)
class LensView:
    """Pinhole camera in the place of a camera with a lens, turned to a part of its image."""

    intrinsics: CameraIntrinsics
    """Of the camera with the lens."""
    R_view_camera: Array
    """(3, 3) rotation from the optical frame of the camera to that of the view."""
    camera_matrix: Array
    """(3, 3) of the view [px]."""
    size: tuple[int, int]
    """Width and height of the view [px]."""

    @classmethod
    def whole(cls, intrinsics: CameraIntrinsics, size: tuple[int, int]) -> LensView:
        """Create the view of a camera without distortion: its own image of a size."""
        return cls(intrinsics, np.eye(3), intrinsics.camera_matrix, size)

    @classmethod
    def around(cls, intrinsics: CameraIntrinsics, quads: Array) -> LensView | None:
        """Create a view that contains markers with corners (k, 4, 2) [px]; None if none does."""
        rays = intrinsics.undistort(quads)  # (k, 4, 3)
        rays = rays[np.isfinite(rays).all(axis=(1, 2))]
        if not len(rays):
            return None
        directions = rays / np.linalg.norm(rays, axis=2, keepdims=True)
        R = _rotation_to(directions.mean(axis=(0, 1)))
        in_view = directions @ R.T
        if in_view[..., 2].min() < np.cos(MAX_ANGLE):
            return None
        focal = _pixels_per_radian(intrinsics, R)
        points = focal * in_view[..., :2] / in_view[..., 2:]  # (k, 4, 2) [px]
        longest = np.linalg.norm(points - np.roll(points, 1, axis=1), axis=2).max()
        margin, limit = max(MARGIN * longest, MIN_MARGIN), focal * np.tan(MAX_ANGLE)
        low = np.floor(np.maximum(points.min(axis=(0, 1)) - margin, -limit))
        high = np.ceil(np.minimum(points.max(axis=(0, 1)) + margin, limit))
        K = np.array([[focal, 0, -low[0]], [0, focal, -low[1]], [0, 0, 1]])
        width, height = (high - low + 1).astype(int).tolist()
        return cls(intrinsics, R, K, (width, height))

    def from_camera_pixels(self, pixels: Array) -> Array:
        """Return the pixels (..., 2) of the view for pixels (..., 2) of the camera's image."""
        homogeneous = self.intrinsics.undistort(pixels) @ self.R_view_camera.T
        homogeneous = homogeneous @ self.camera_matrix.T
        return np.asarray(homogeneous[..., :2] / homogeneous[..., 2:])

    def to_camera_pixels(self, pixels: Array) -> Array:
        """Return the pixels (..., 2) of the camera's image for pixels (..., 2) of the view."""
        homogeneous = np.concatenate([pixels, np.ones((*np.shape(pixels)[:-1], 1))], axis=-1)
        rays = homogeneous @ np.linalg.inv(self.camera_matrix).T  # in the frame of the view
        return self.intrinsics.project(rays @ self.R_view_camera)

    def rectify(self, image: np.ndarray) -> np.ndarray:
        """Return the view of an image (H, W) of the camera; grey outside of it."""
        lens = self.intrinsics
        if self.camera_matrix is lens.camera_matrix:
            return image
        create_maps = (
            cv2.fisheye.initUndistortRectifyMap
            if lens.distortion_model == EQUIDISTANT
            else cv2.initUndistortRectifyMap
        )
        x, y = create_maps(
            lens.camera_matrix,
            lens.distortion,
            self.R_view_camera,
            self.camera_matrix,
            self.size,
            cv2.CV_32FC1,
        )
        return np.asarray(cv2.remap(image, x, y, cv2.INTER_CUBIC, borderValue=GREY))

    def pose_in_camera(self, T_view_block: Array) -> Array:
        """Return a pose (4, 4) in the frame of the view in that of the camera."""
        return self._rotation(self.R_view_camera.T) @ T_view_block

    def pose_in_view(self, T_camera_block: Array) -> Array:
        """Return a pose (4, 4) in the frame of the camera in that of the view."""
        return self._rotation(self.R_view_camera) @ T_camera_block

    def covariance_in_camera(self, covariance: Array) -> Array:
        """Return a covariance (6, 6) about the axes of the view about those of the camera."""
        R = np.kron(np.eye(2), self.R_view_camera.T)
        return np.asarray(R @ covariance @ R.T)

    @staticmethod
    def _rotation(R: Array) -> Array:
        T = np.eye(4)
        T[:3, :3] = R
        return T


def _rotation_to(direction: Array) -> Array:
    """Return the rotation (3, 3) to a frame with z along a direction (3,) and x to the right."""
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.0], z)
    if np.linalg.norm(x) < 1e-6:  # straight up or down
        x = np.array([1.0, 0.0, 0.0])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def _pixels_per_radian(intrinsics: CameraIntrinsics, R_view_camera: Array) -> float:
    """Return the largest resolution [px/rad] of a camera in the middle of a view."""
    offsets = STEP * np.array([[0, 0], [1, 0], [0, 1]])
    rays = np.column_stack([offsets, np.ones(3)]) @ R_view_camera
    middle, *sides = intrinsics.project(rays)
    return float(np.linalg.norm((np.array(sides) - middle) / STEP, ord=2))
