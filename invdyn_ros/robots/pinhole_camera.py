"""Pinhole camera model: pose, focal length and image size, with its projection matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invdyn_ros.typing import Array

NEAR_PLANE, FAR_PLANE = 0.05, 4.0  # clipping planes [m]


@dataclass(frozen=True, eq=False)
class PinholeCamera:
    """A pinhole camera without distortion; its principal point is the centre of the image."""

    T_base_camera: Array
    """(4, 4) maps points of the optical frame (x right, y down, z forward) to the arm's base."""
    focal: float
    """Focal length [px]."""
    width: int = 640
    """Image width [px]."""
    height: int = 480
    """Image height [px]."""

    def __post_init__(self) -> None:
        """Check the pose, the focal length and the image size.

        Raises:
            ValueError: `T_base_camera` is not a rigid transform, or a size is not positive.
        """
        T = np.asarray(self.T_base_camera, float)
        if T.shape != (4, 4) or not np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-6):
            raise ValueError(f"T_base_camera must be a pose (4, 4), not {self.T_base_camera}")
        if min(self.focal, self.width, self.height) <= 0:
            raise ValueError(f"{self.width}x{self.height}, focal {self.focal} px must be positive")

    @classmethod
    def look_at(
        cls,
        eye: tuple[float, float, float],
        target: tuple[float, float, float],
        focal: float,
        width: int = 640,
        height: int = 480,
    ) -> PinholeCamera:
        """Create a camera at a point that looks at another point, with the image upright.

        Args:
            eye: position of the camera in the base frame [m].
            target: point at the centre of the image, in the base frame [m].
            focal: focal length [px].
            width: image width [px].
            height: image height [px].

        Raises:
            ValueError: the camera looks straight up or down, where no image is upright.
        """
        z = np.subtract(target, eye)
        x = np.cross(z, [0.0, 0.0, 1.0])
        if np.linalg.norm(x) < 1e-9:
            raise ValueError(f"a camera at {eye} that looks at {target} has no upright image")
        z, x = z / np.linalg.norm(z), x / np.linalg.norm(x)
        T = np.eye(4)
        T[:3] = np.column_stack([x, np.cross(z, x), z, eye])
        return cls(T, focal, width, height)

    def intrinsics(self) -> Array:
        """Return the camera matrix (3, 3) [px]; pixel centres are at integer coordinates."""
        cx, cy = (self.width - 1) / 2, (self.height - 1) / 2
        return np.array([[self.focal, 0, cx], [0, self.focal, cy], [0, 0, 1]])

    def project(self, points: Array) -> Array:
        """Project points (..., 3) [m] in the base frame to pixels (..., 2) [px]."""
        R, eye = self.T_base_camera[:3, :3], self.T_base_camera[:3, 3]
        image = (np.asarray(points) - eye) @ R @ self.intrinsics().T
        return np.asarray(image[..., :2] / image[..., 2:])

    def view_matrix(self) -> list[float]:
        """Return the OpenGL view matrix, 16 numbers in column-major order as in PyBullet."""
        T = np.linalg.inv(self.T_base_camera @ np.diag([1.0, -1.0, -1.0, 1.0]))
        return T.T.ravel().tolist()

    def projection_matrix(self) -> list[float]:
        """Return the OpenGL projection matrix, 16 numbers in column-major order as in PyBullet.

        TinyRenderer samples a pixel at its lower left corner, not at its centre (measured); the
        third column shifts the image by that half pixel.
        """
        w, h, depth = self.width, self.height, FAR_PLANE - NEAR_PLANE
        return [
            *(2 * self.focal / w, 0.0, 0.0, 0.0),
            *(0.0, 2 * self.focal / h, 0.0, 0.0),
            *(1 / w, 1 / h, -(FAR_PLANE + NEAR_PLANE) / depth, -1.0),
            *(0.0, 0.0, -2 * FAR_PLANE * NEAR_PLANE / depth, 0.0),
        ]
