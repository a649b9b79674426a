"""Noise model of the block detector: detections from true poses, without rendering.

It takes 0.1 ms instead of the 20 ms of rendering and marker detection. The model is fitted to the
real detector: the sides of the markers have errors of less than 0.1 px, which are nearly constant
while the block is at rest, because they depend on the position of its edges on the pixel grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from invdyn_ros.perception.aruco_cube import face_normals, marker_corners
from invdyn_ros.perception.block_detector import BlockDetectorConfig
from invdyn_ros.perception.marker_edges import edge_samples, marker_thickness
from invdyn_ros.perception.pose_from_edges import linearize, project
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.typing import Array, Mask

ERROR_SCALE = np.array([0.74, 0.74, 0.74, 0.8, 0.8, 0.8])  # true over estimated std
JITTER_FRACTION = 0.5  # fraction of the error that is independent in each image
MIN_MARKER_THICKNESS = 9.0  # [px] thinner markers are not detected
MOTION_THRESHOLD = 3e-4  # [m, rad] beyond it, the pixels and the constant error change
OCCLUSION_MARGIN = 0.002  # [m] in front of a marker, where rays from the camera end

OcclusionTest = Callable[[Array, Array], Mask]


class SimulatedDetection(NamedTuple):
    """Detected pose T_camera_block (4, 4) and its covariance (6, 6)."""

    T_camera_block: Array
    covariance: Array


class SimulatedDetector:
    """Block detector of one episode's camera."""

    def __init__(
        self, camera: PinholeCamera, block_size: float, error_factor: float = 1.0
    ) -> None:
        """Create a detector.

        Args:
            camera: true camera of the episode.
            block_size: side of the block [m].
            error_factor: factor of the real detector's errors [-]; 0: exact detections.
        """
        self.camera, self.error_factor, self.block_size = camera, error_factor, block_size
        self._corners = marker_corners(block_size)  # (6, 4, 3)
        edge_centres = (self._corners + np.roll(self._corners, -1, axis=1)) / 2
        self._normals = face_normals()
        margin = self._normals[:, None] * OCCLUSION_MARGIN
        self._outline = np.concatenate([self._corners, edge_centres], axis=1) + margin  # (6, 8, 3)
        self._T_camera_base = np.linalg.inv(camera.T_base_camera)
        self._camera_matrix = camera.intrinsics()
        self._last_visible: tuple[Array, NDArray[np.intp]] | None = None
        self._last_errors: tuple[Array, tuple[int, ...], Array, Array] | None = None

    def move_camera(self, camera: PinholeCamera) -> None:
        """Use a camera at another pose from the next image on."""
        self.camera, self._T_camera_base = camera, np.linalg.inv(camera.T_base_camera)

    def detect(
        self,
        T_base_block: Array,
        rng: np.random.Generator,
        occluded: OcclusionTest | None = None,
    ) -> SimulatedDetection | None:
        """Return the detection of an image, None if no marker is detected.

        Args:
            T_base_block: (4, 4) true pose of the block.
            rng: random number generator of the errors.
            occluded: returns which points (N, 3) [m] are hidden from an eye (3,) [m].
        """
        T = self._T_camera_base @ T_base_block
        faces = self._detected_faces(T, T_base_block, occluded)
        if not faces:
            return None
        root, bias, covariance = self._error_model(T, faces, rng)
        jitter = JITTER_FRACTION * rng.standard_normal(6)
        error = self.error_factor * ERROR_SCALE * (root @ (bias + jitter))
        detected = np.eye(4)
        detected[:3, :3] = cv2.Rodrigues(error[3:])[0] @ T[:3, :3]
        detected[:3, 3] = T[:3, 3] + error[:3]
        return SimulatedDetection(detected, covariance)

    def _detected_faces(
        self, T: Array, T_base_block: Array, occluded: OcclusionTest | None
    ) -> tuple[int, ...]:
        """Return the faces whose markers are detected."""
        faces = self._visible_faces(T)
        if occluded is None or not faces.size:
            return tuple(faces.tolist())
        outline = self._outline[faces].reshape(-1, 3)
        outline = outline @ T_base_block[:3, :3].T + T_base_block[:3, 3]
        hidden = occluded(self.camera.T_base_camera[:3, 3], outline).reshape(len(faces), -1)
        return tuple(faces[~hidden.any(axis=1)].tolist())

    def _visible_faces(self, T: Array) -> NDArray[np.intp]:
        """Return the faces whose markers are detected unless they are occluded."""
        last = self._last_visible
        if last is not None and np.abs(last[0] - T).max() < MOTION_THRESHOLD:
            return last[1]
        normals = self._normals @ T[:3, :3].T
        centres = normals * (self.block_size / 2) + T[:3, 3]
        facing = np.flatnonzero((normals * centres).sum(axis=1) < 0)
        points = self._corners[facing].reshape(-1, 3)
        quads = project(T, points, self._camera_matrix)[0].reshape(-1, 4, 2)
        size = np.array([self.camera.width - 1, self.camera.height - 1])
        inside = ((quads > 0) & (quads < size)).all(axis=(1, 2))
        faces = facing[inside & (marker_thickness(quads) > MIN_MARKER_THICKNESS)]
        self._last_visible = T, faces
        return faces

    def _error_model(
        self, T: Array, faces: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Return the errors of the detection of some faces.

        Args:
            T: (4, 4) true pose of the block in the camera frame.
            faces: detected faces.
            rng: random number generator.

        Returns:
            Cholesky factor (6, 6) of the covariance, constant error (6,) in its units, and
            covariance (6, 6).
        """
        if self._last_errors is not None:
            last_T, last_faces, root, bias = self._last_errors
            if last_faces == faces and np.abs(last_T - T).max() < MOTION_THRESHOLD:
                return root, bias, root @ root.T
        points = self._corners[list(faces)].reshape(-1, 3)
        quads = project(T, points, self._camera_matrix)[0].reshape(-1, 4, 2)
        samples = edge_samples(
            np.array(faces), quads, self.block_size, BlockDetectorConfig.edge_noise_std
        )
        J = linearize(T, samples, self._camera_matrix).jacobian
        covariance = np.linalg.inv(J.T @ J)
        root = np.linalg.cholesky(covariance)
        bias = np.sqrt(1 - JITTER_FRACTION**2) * rng.standard_normal(6)
        self._last_errors = (T, faces, root, bias)
        return root, bias, covariance
