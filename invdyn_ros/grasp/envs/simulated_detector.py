"""A model of the block detector: true poses enter; poses, covariances and gaps as its own leave.

Rendering a picture and finding markers in it takes some 20 ms; this takes 0.1 ms. It was measured
against the real one: sides of markers err by less than a tenth of a pixel, nearly all of it the
same in each picture of a block at rest, for it comes of how pixels fall on its edges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from invdyn_ros.perception.aruco_cube import face_normals, marker_corners
from invdyn_ros.perception.block_detector import BlockDetectorConfig
from invdyn_ros.perception.pose_from_edges import (
    edge_samples,
    linearize,
    marker_thickness,
    project,
)
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.typing import Array, Mask

ERROR_SCALE = np.array([0.74, 0.74, 0.74, 1.0, 1.0, 1.0])  # of the covariance's root: usual errors
JITTER = 0.16  # share of the errors that is new in each picture
THINNEST = 9.0  # [px] a thinner marker is not found
MOVED = 3e-4  # [m, rad] a block that moved more shows other pixels
MARGIN = 0.002  # [m] in front of a marker: where rays from the camera end

Blocked = Callable[[Array, Array], Mask]


class Detection(NamedTuple):
    """What the detector says of a block: T_camera_block (4, 4) and its covariance (6, 6)."""

    T_camera_block: Array
    covariance: Array


class SimulatedDetector:
    """The block detector of one episode's camera, without pictures."""

    def __init__(self, camera: PinholeCamera, block_size: float, errors: float = 1.0) -> None:
        """Make a detector.

        Args:
            camera: as it really stands.
            block_size: side of the block [m].
            errors: times the real detector's [-]; zero: exact.
        """
        self.camera, self.errors, self.block_size = camera, errors, block_size
        self._corners = marker_corners(block_size)  # (6, 4, 3)
        middles = (self._corners + np.roll(self._corners, -1, axis=1)) / 2
        self._normals = face_normals()
        outside = self._normals[:, None] * MARGIN
        self._outline = np.concatenate([self._corners, middles], axis=1) + outside  # (6, 8, 3)
        self._T_camera_base = np.linalg.inv(camera.T_base_camera)
        self._k = camera.intrinsics()
        self._facing: tuple[Array, NDArray[np.intp]] | None = None
        self._last: tuple[Array, tuple[int, ...], Array, Array] | None = None

    def detect(
        self, T_base_block: Array, random: np.random.Generator, blocked: Blocked | None = None
    ) -> Detection | None:
        """Return what a picture of a block would give, None if no marker is found.

        Args:
            T_base_block: (4, 4) true pose of the block.
            random: where the errors come from.
            blocked: tells which of the points (N, 3) [m] cannot be seen from an eye (3,) [m].
        """
        T = self._T_camera_base @ T_base_block
        faces = self._found(T, T_base_block, blocked)
        if not faces:
            return None
        root, bias, covariance = self._spread(T, faces, random)
        error = self.errors * ERROR_SCALE * (root @ (bias + JITTER * random.standard_normal(6)))
        seen = np.eye(4)
        seen[:3, :3] = cv2.Rodrigues(error[3:])[0] @ T[:3, :3]
        seen[:3, 3] = T[:3, 3] + error[:3]
        return Detection(seen, covariance)

    def _found(self, T: Array, T_base_block: Array, blocked: Blocked | None) -> tuple[int, ...]:
        """Return the faces whose markers the detector finds."""
        faces = self._shown(T)
        if blocked is None or not faces.size:
            return tuple(faces.tolist())
        outline = self._outline[faces].reshape(-1, 3)
        outline = outline @ T_base_block[:3, :3].T + T_base_block[:3, 3]
        hidden = blocked(self.camera.T_base_camera[:3, 3], outline).reshape(len(faces), -1)
        return tuple(faces[~hidden.any(axis=1)].tolist())

    def _shown(self, T: Array) -> NDArray[np.intp]:
        """Return the faces whose markers would be found if nothing were in between."""
        if self._facing is not None and np.abs(self._facing[0] - T).max() < MOVED:
            return self._facing[1]
        normals = self._normals @ T[:3, :3].T
        centres = normals * (self.block_size / 2) + T[:3, 3]
        toward = np.flatnonzero((normals * centres).sum(axis=1) < 0)
        points = self._corners[toward].reshape(-1, 3)
        quads = project(T, points, self._k)[0].reshape(-1, 4, 2)
        size = np.array([self.camera.width - 1, self.camera.height - 1])
        inside = ((quads > 0) & (quads < size)).all(axis=(1, 2))
        faces = toward[inside & (marker_thickness(quads) > THINNEST)]
        self._facing = T, faces
        return faces

    def _spread(
        self, T: Array, faces: tuple[int, ...], random: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Return a root (6, 6) of the covariance, the lasting part (6,) of the error, and it."""
        if self._last is not None:
            before, seen, root, bias = self._last
            if seen == faces and np.abs(before - T).max() < MOVED:
                return root, bias, root @ root.T
        points = self._corners[list(faces)].reshape(-1, 3)
        quads = project(T, points, self._k)[0].reshape(-1, 4, 2)
        sides = edge_samples(
            np.array(faces), quads, self.block_size, BlockDetectorConfig.edge_noise_std
        )
        J = linearize(T, sides, self._k).jacobian
        covariance = np.linalg.inv(J.T @ J)
        root = np.linalg.cholesky(covariance)
        bias = np.sqrt(1 - JITTER**2) * random.standard_normal(6)
        self._last = (T, faces, root, bias)
        return root, bias, covariance
