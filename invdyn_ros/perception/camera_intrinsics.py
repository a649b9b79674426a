"""Intrinsics of a calibrated camera: camera matrix and lens distortion."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from invdyn_ros.typing import Array

EQUIDISTANT = "equidistant"
DISTORTION_SIZES = {
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (8, 12, 14),
    EQUIDISTANT: (4,),
}
"""Number of distortion coefficients of each model, named as in `sensor_msgs/CameraInfo`."""
MAX_PIXELS, MAX_COEFFICIENT = 1e6, 1e4  # of values that a camera may have
ROTATION_TOLERANCE = 1e-2  # of R R^T from the identity; files have rounded values
MAX_NEWTON_STEPS, PIXEL_TOLERANCE = 20, 1e-5  # for the rays of pixels; [px]
MIN_DETERMINANT = 1e-3  # of the magnification, over that without distortion
MAX_TANGENT = 50.0  # of the angle to the optical axis; beyond it, a pixel has no pinhole image


def _no_distortion() -> Array:
    return np.zeros(5)


@dataclass(frozen=True, eq=False)
class CameraIntrinsics:
    """Camera matrix and lens distortion for images of one size.

    Pixel centers are at integer coordinates. Rays are in the optical frame: x right, y down, z
    forward.
    """

    camera_matrix: Array
    """(3, 3) [px]."""
    distortion_model: str = "plumb_bob"
    """A key of DISTORTION_SIZES."""
    distortion: Array = field(default_factory=_no_distortion)
    """(d,) coefficients as in OpenCV: those of `cv2.fisheye` for equidistant."""
    width: int = 0
    """Width of the images [px]; 0: unknown."""
    height: int = 0
    """Height of the images [px]; 0: unknown."""
    rectification: Array = field(default_factory=lambda: np.eye(3))
    """(3, 3) rotation of rays to the rectified image of a stereo pair."""
    projection: Array | None = None
    """(3, 4) projection matrix of the rectified image [px]; None: that of the camera matrix."""

    def __post_init__(self) -> None:
        """Check shapes and values.

        Raises:
            ValueError: no focal length, an unknown model, no rotation, or a value that is not
                finite.
        """
        k, d = np.asarray(self.camera_matrix, float), np.asarray(self.distortion, float).ravel()
        object.__setattr__(self, "camera_matrix", k)
        object.__setattr__(self, "distortion", d)
        if not _is_pinhole_matrix(k):
            raise ValueError(
                f"camera_matrix is {k.tolist()}; it must be a (3, 3) pinhole matrix with positive "
                "focal length"
            )
        sizes = DISTORTION_SIZES.get(self.distortion_model)
        if sizes is None or d.size not in sizes:
            known = ", ".join(f"{m} with {'/'.join(map(str, s))}" for m, s in _known_models())
            raise ValueError(
                f"distortion model '{self.distortion_model[:40]}' with {d.size} coefficients is "
                f"not supported; known are {known}"
            )
        if not np.abs(d).max(initial=0.0) < MAX_COEFFICIENT:
            raise ValueError(f"distortion coefficients {d.tolist()} are not those of a lens")
        R, P = np.asarray(self.rectification), self.projection
        if not np.abs(R @ R.T - np.eye(3)).max() < ROTATION_TOLERANCE:
            raise ValueError(f"rectification_matrix is {R.tolist()}; it must be a rotation")
        if P is not None and not _is_pinhole_matrix(P[:, :3]):
            raise ValueError(
                f"projection_matrix is {P.tolist()}; its left part must be a (3, 3) pinhole "
                "matrix with positive focal length"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the images [px]; zeros if unknown."""
        return self.width, self.height

    @property
    def is_distorted(self) -> bool:
        """Whether straight lines may be curved in the image."""
        return self.distortion_model == EQUIDISTANT or bool(self.distortion.any())

    @property
    def projection_matrix(self) -> Array:
        """(3, 4) projection matrix of the rectified image [px]."""
        if self.projection is not None:
            return self.projection
        return np.hstack([self.camera_matrix, np.zeros((3, 1))])

    def project(self, points: Array) -> Array:
        """Return the pixels (..., 2) of points (..., 3) in the optical frame."""
        flat = np.asarray(points, float).reshape(-1, 3)
        if self.distortion_model == EQUIDISTANT:
            pixels = self._project_equidistant(flat)
        else:
            zero, k = np.zeros(3), self.camera_matrix
            pixels = np.asarray(cv2.projectPoints(flat, zero, zero, k, self._distortion)[0], float)
        return pixels.reshape(*np.shape(points)[:-1], 2)

    @property
    def _distortion(self) -> Array:
        """(d,) coefficients for OpenCV, of which there is one at least."""
        return self.distortion if self.distortion.size else np.zeros(5)

    def _project_equidistant(self, points: Array) -> Array:
        """Return the pixels (n, 2) of points (n, 3), also of those beside or behind the camera.

        Kannala and Brandt (2006), eq. 6.
        """
        x, y, z = points.T
        r = np.hypot(x, y)
        theta = np.arctan2(r, z)
        powers = theta[:, None] ** np.array([2, 4, 6, 8])
        distorted = theta * (1 + powers @ self.distortion)
        scale = np.divide(distorted, r, out=np.ones_like(r), where=r > 0)
        homogeneous = np.column_stack([x * scale, y * scale, np.ones_like(r)])
        return homogeneous @ self.camera_matrix[:2].T

    def undistort(self, pixels: Array) -> Array:
        """Return the rays (..., 3) with z = 1 of pixels (..., 2); NaN where there is none."""
        flat = np.asarray(pixels, float).reshape(-1, 1, 2)
        if not flat.size:
            return np.empty((*np.shape(pixels)[:-1], 3))
        if self.distortion_model == EQUIDISTANT:
            normalized = cv2.fisheye.undistortPoints(flat, self.camera_matrix, self._distortion)
        else:
            normalized = cv2.undistortPoints(flat, self.camera_matrix, self._distortion)
        rays: Array = np.ones((len(flat), 3))
        rays[:, :2] = np.reshape(normalized, (-1, 2))
        if self.distortion_model != EQUIDISTANT and self.distortion.any():
            self._polish(rays, flat[:, 0])
        rays[~(np.abs(rays).max(axis=1) <= MAX_TANGENT)] = np.nan
        return rays.reshape(*np.shape(pixels)[:-1], 3)

    def _polish(self, rays: Array, pixels: Array) -> None:
        """Improve rays (n, 3) of pixels (n, 2) in place: OpenCV stops after five iterations.

        Where a lens folds the image over, some pixels have no ray.
        """
        zero, k = np.zeros(3), self.camera_matrix
        todo = np.arange(len(rays))
        for _ in range(MAX_NEWTON_STEPS):
            projected, J = cv2.projectPoints(rays[todo], zero, zero, k, self._distortion)
            error = pixels[todo] - np.reshape(projected, (-1, 2))
            going = np.abs(error).max(axis=1) > PIXEL_TOLERANCE
            todo, error = todo[going], error[going]
            if not todo.size:
                return
            D = np.reshape(J, (-1, 2, np.shape(J)[1]))[going, :, 3:5]  # by x and y of the ray
            det = D[:, 0, 0] * D[:, 1, 1] - D[:, 0, 1] * D[:, 1, 0]
            regular = np.abs(det) > MIN_DETERMINANT * k[0, 0] * k[1, 1]
            rays[todo[~regular]] = np.nan
            todo, error, D, det = todo[regular], error[regular], D[regular], det[regular]
            rays[todo, 0] += (D[:, 1, 1] * error[:, 0] - D[:, 0, 1] * error[:, 1]) / det
            rays[todo, 1] += (D[:, 0, 0] * error[:, 1] - D[:, 1, 0] * error[:, 0]) / det
        rays[todo] = np.nan

    def resampled(
        self, origin: tuple[int, int], scale: tuple[float, float], size: tuple[int, int]
    ) -> CameraIntrinsics:
        """Return the intrinsics of images that are cropped and then scaled.

        Args:
            origin: x and y of the first pixel that is kept.
            scale: scaled over original size, along x and y.
            size: width and height of the result [px].
        """
        (x, y), (sx, sy) = origin, scale
        # pixel centers are at integers, so the image begins at -0.5
        A = np.array([[sx, 0, (0.5 - x) * sx - 0.5], [0, sy, (0.5 - y) * sy - 0.5], [0, 0, 1]])
        return replace(
            self,
            camera_matrix=A @ self.camera_matrix,
            projection=None if self.projection is None else A @ self.projection,
            width=size[0],
            height=size[1],
        )

    def resized(self, size: tuple[int, int]) -> CameraIntrinsics:
        """Return the intrinsics of images that are scaled to another width and height [px]."""
        return self.resampled((0, 0), (size[0] / self.width, size[1] / self.height), size)


def _is_pinhole_matrix(k: Array) -> bool:
    """Return whether a matrix (3, 3) [px] is that of a pinhole camera."""
    if k.shape != (3, 3) or not np.abs(k).max() < MAX_PIXELS:  # not finite, for example
        return False
    return k[0, 0] > 0 and k[1, 1] > 0 and not k[1, 0] and k[2].tolist() == [0, 0, 1]


def _known_models() -> list[tuple[str, tuple[int, ...]]]:
    return [(model, tuple(filter(None, sizes))) for model, sizes in DISTORTION_SIZES.items()]
