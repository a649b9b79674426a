"""Photometric alignment of block poses with an image.

The corners of a marker that faces the camera hardly determine its tilt: a tilt of some degrees
moves its sides by a tenth of a pixel. The edges of its pattern and the visible slivers of the
adjacent faces move too. Therefore the pose is optimized until a rendering of the block matches
the image: Levenberg-Marquardt on grey levels (Lucas and Kanade 1981), with the grey levels of
each face fitted in closed form (variable projection, Golub and Pereyra 1973). Slivers appear and
disappear abruptly as the pose changes, so the alignment starts from several tilts.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import (
    face_corners,
    face_image,
    face_normals,
    face_pixels,
)
from invdyn_ros.perception.levenberg_marquardt import minimize_pose
from invdyn_ros.perception.pose_from_edges import PoseFit, project
from invdyn_ros.perception.rigid_transforms import rigid_transform
from invdyn_ros.robots.block_markers import BlockMarkers

NO_DISTORTION = np.zeros(5)
DEFAULT_MARKERS = BlockMarkers()
TEXTURE_SIZE = 60  # minimum side of the image of a face [px]
COARSE_SAMPLES, FINE_SAMPLES = 2, 4  # rendered samples per pixel and axis: selection, alignment
LENS_BLUR_STD = 0.7  # standard deviation of the blur of a typical lens [px]
BACKGROUND_MARGIN = 2  # width of the compared background around the block [px]
NOISE_CORRELATION_PIXELS = 28.0  # number of pixels with correlated errors, as along an edge
NOISE_FLOOR = 1.0  # standard deviation of a pixel [grey levels]
FRONTAL_TILT = np.radians(16)  # [rad] below it, the direction of the tilt is uncertain
INITIAL_TILTS = np.radians([-8.0, -4.0, 0.0, 4.0, 8.0])  # [rad] of such a face, about two axes
NUM_STARTS = 2  # number of initial poses to align, the best of all
MAX_ITERATIONS = 12
RANK_TOLERANCE = 1e-6  # relative, of the grey levels of faces that hardly cover a pixel
MIN_RELATIVE_GAIN = 1e-3  # a step with a smaller relative reduction of the error is the last


class RenderedBlock(NamedTuple):
    """Rendering of a block and its surroundings in n pixels."""

    faces: np.ndarray
    """(m,) indices of the faces that point towards the camera."""
    layers: list[np.ndarray]
    """(h, w, 2) for each face: white and covered fraction, with `samples` per pixel and axis."""
    basis: np.ndarray
    """(n, m + 2) contribution of each grey level to each pixel."""
    levels: np.ndarray
    """(m + 2,) grey levels: white minus black of each face, black, background."""
    residual: np.ndarray
    """(n,) observed minus rendered pixels [grey levels]."""

    @property
    def squared_error(self) -> float:
        """Sum of squares of the residual."""
        return float(self.residual @ self.residual)


class BlockImage:
    """Part of an image that contains a block, to which renderings are compared."""

    def __init__(
        self,
        gray: np.ndarray,
        poses: list[np.ndarray],
        markers: BlockMarkers,
        block_size: float,
        camera_matrix: np.ndarray,
    ) -> None:
        """Crop the image.

        Args:
            gray: (H, W) uint8.
            poses: candidate poses (4, 4) that the crop must contain.
            markers: markers of the block.
            block_size: side of the block [m].
            camera_matrix: (3, 3) [px].
        """
        self.markers, self.block_size = markers, block_size
        self.camera_matrix = camera_matrix
        self.samples = FINE_SAMPLES
        self.corners = face_corners(block_size)
        outlines = np.array([self._outline(T) for T in poses])
        self.origin, end = _crop_bounds(outlines, gray.shape)
        crop = gray[self.origin[1] : end[1], self.origin[0] : end[0]]
        self.crop = crop.astype(np.float32)
        if self.crop.size:
            layers = [self._render_face(T, f) for T in poses for f in self._visible_faces(T)]
            covered = np.sum([self._apply_lens(layer[..., 1]) for layer in layers], axis=0)
            kernel = np.ones((2 * BACKGROUND_MARGIN + 1,) * 2)
            self.mask = np.asarray(cv2.dilate(covered, kernel)) > 0
            self.pixels = np.argwhere(self.mask)[:, ::-1] + self.origin  # (n, 2) x and y

    def render(self, T: np.ndarray) -> RenderedBlock:
        """Render the block at a pose (4, 4), with the grey levels that fit best."""
        faces = self._visible_faces(T)
        layers = [self._render_face(T, face) for face in faces]
        fractions = np.array([self._apply_lens(layer)[self.mask] for layer in layers])
        white, covered = fractions[..., 0], fractions[..., 1].sum(axis=0)
        # in double precision: faces of a few pixels make the basis nearly singular
        basis = np.column_stack([*white, covered, 1 - covered]).astype(float)
        observed = self.crop[self.mask].astype(float)
        levels = np.linalg.lstsq(basis, observed, rcond=RANK_TOLERANCE)[0]
        return RenderedBlock(faces, layers, basis, levels, observed - basis @ levels)

    def jacobian(self, T: np.ndarray, rendered: RenderedBlock) -> np.ndarray:
        """Return the derivative (n, 6) of the residual with respect to translation and rotation.

        Changes that the fitted grey levels compensate are projected out (Kaufman 1975).

        Args:
            T: (4, 4) pose of the block in the camera.
            rendered: the rendering at this pose.
        """
        *whites, black, background = rendered.levels.astype(np.float32)
        J = np.zeros((len(self.pixels), 6))
        for face, layer, white in zip(rendered.faces, rendered.layers, whites, strict=True):
            image = white * layer[..., 0] + (black - background) * layer[..., 1]
            # before the blur of the lens, because an edge is narrower than a pixel difference
            fine = [cv2.Sobel(image, cv2.CV_32F, *axis, ksize=1) for axis in ((1, 0), (0, 1))]
            gradient = self._apply_lens(np.dstack(fine)) * self.samples / 2
            x, y = gradient[self.mask].T
            nonzero = (x != 0) | (y != 0)
            flow = self._flow(T, int(face), self.pixels[nonzero])
            J[nonzero] += x[nonzero, None] * flow[:, 0] + y[nonzero, None] * flow[:, 1]
        compensated = rendered.basis @ np.linalg.lstsq(rendered.basis, J, rcond=None)[0]
        return np.asarray(J - compensated)

    def _flow(self, T: np.ndarray, face: int, pixels: np.ndarray) -> np.ndarray:
        """Return the derivative (n, 2, 6) of the image points of a face at pixels (n, 2).

        Args:
            T: (4, 4) pose of the block in the camera.
            face: index of the face.
            pixels: (n, 2) x and y [px].
        """
        camera_matrix, R = self.camera_matrix, T[:3, :3]
        normal = R @ face_normals()[face]
        rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(camera_matrix).T
        distance = (normal @ T[:3, 3] + self.block_size / 2) / (rays @ normal)
        points = rays * distance[:, None]
        return project(T, (points - T[:3, 3]) @ R, camera_matrix)[1].reshape(-1, 2, 6)

    def _outline(self, T: np.ndarray) -> np.ndarray:
        """Return the corners (6, 4, 2) [px] of the faces of a block at T (4, 4)."""
        rvec = cv2.Rodrigues(T[:3, :3])[0]
        points = self.corners.reshape(-1, 3)
        pixels = cv2.projectPoints(points, rvec, T[:3, 3], self.camera_matrix, NO_DISTORTION)[0]
        return np.asarray(pixels).reshape(6, 4, 2)

    def _visible_faces(self, T: np.ndarray) -> np.ndarray:
        """Return the faces (m,) of a block at T (4, 4) that point towards the camera."""
        normals = face_normals() @ T[:3, :3].T
        centers = normals * self.block_size / 2 + T[:3, 3]
        return np.flatnonzero(np.sum(normals * centers, axis=1) < 0)

    def _render_face(self, T: np.ndarray, face: int) -> np.ndarray:
        """Render a face of a block at T (4, 4), (h, w, 2) with `samples` per pixel and axis."""
        h, w = self.crop.shape
        size = face_pixels(self.markers.dictionary, TEXTURE_SIZE)
        square = size * np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) - 0.5
        white = face_image(self.markers.ids[face], size, self.markers.dictionary)
        white = white.astype(np.float32) / 255
        texture = np.dstack([white, np.ones_like(white)])
        outline = self._outline(T)[face] - self.origin
        corners = (self.samples * (outline + 0.5) - 0.5).astype(np.float32)
        H = cv2.getPerspectiveTransform(square.astype(np.float32), corners)
        return np.asarray(cv2.warpPerspective(texture, H, (self.samples * w, self.samples * h)))

    def _apply_lens(self, fine: np.ndarray) -> np.ndarray:
        """Average `samples` per pixel and axis over each pixel, and blur the result."""
        h, w = self.crop.shape
        coarse = cv2.resize(fine, (w, h), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(coarse, (0, 0), LENS_BLUR_STD))


def align_poses(
    fits: list[PoseFit],
    previous: list[np.ndarray],
    face: int,
    gray: np.ndarray,
    block_size: float,
    camera_matrix: np.ndarray,
    markers: BlockMarkers = DEFAULT_MARKERS,
) -> list[PoseFit]:
    """Align poses of a block with one visible marker to the image.

    Args:
        fits: poses that explain the corners, at least one.
        previous: poses (4, 4) in the previous image; if there are none, more tilts are tried.
        face: face with the visible marker.
        gray: (H, W) uint8.
        block_size: side of the block [m].
        camera_matrix: (3, 3) [px] of a camera without distortion.
        markers: markers of the block.

    Returns:
        Aligned poses with their covariance and cost, the best first.
    """
    starts = [fit.T_camera_block for fit in fits] + previous
    if not previous and tilt_angle(starts[0], face, block_size) < FRONTAL_TILT:
        starts += tilted_poses(starts[0], face, block_size)
    image = BlockImage(gray, starts, markers, block_size, camera_matrix)
    if not image.crop.size:
        return fits
    image.samples = COARSE_SAMPLES
    best = sorted(starts, key=lambda T: image.render(T).squared_error)[:NUM_STARTS]
    image.samples = FINE_SAMPLES
    results = [
        minimize_pose(
            T, image.render, image.jacobian, MAX_ITERATIONS, min_relative_gain=MIN_RELATIVE_GAIN
        )
        for T in best
    ]
    results.sort(key=lambda result: result[1].squared_error)
    variance = results[0][1].squared_error / len(image.pixels) + NOISE_FLOOR**2
    fitted = (_pose_fit(image, *result, variance, fits[0]) for result in results)
    aligned = [fit for fit in fitted if fit is not None]
    return aligned or fits


def _pose_fit(
    image: BlockImage, T: np.ndarray, rendered: RenderedBlock, variance: float, fit: PoseFit
) -> PoseFit | None:
    """Return an aligned pose T (4, 4) with its covariance; None if the block is out of the image.

    Args:
        image: the compared pixels.
        T: (4, 4) aligned pose.
        rendered: the block in this pose.
        variance: of the noise of a pixel [grey levels squared].
        fit: the pose before the alignment.
    """
    J = image.jacobian(T, rendered)
    H = J.T @ J
    if np.linalg.matrix_rank(H, hermitian=True) < len(H):
        return None
    covariance = NOISE_CORRELATION_PIXELS * variance * np.linalg.inv(H)
    cost = rendered.squared_error / (NOISE_CORRELATION_PIXELS * variance)
    symmetric = (covariance + covariance.T) / 2
    return fit._replace(T_camera_block=T, covariance=symmetric, cost=cost)


def tilt_angle(T: np.ndarray, face: int, block_size: float) -> float:
    """Return the angle [rad] between the line of sight and the normal of a face.

    Args:
        T: (4, 4) pose of the block in the camera.
        face: index of the face.
        block_size: side of the block [m].
    """
    normal = T[:3, :3] @ face_normals()[face]
    center = T[:3, 3] + normal * block_size / 2
    return float(np.arccos(np.clip(-center @ normal / np.linalg.norm(center), -1, 1)))


def tilted_poses(T: np.ndarray, face: int, block_size: float) -> list[np.ndarray]:
    """Return poses (4, 4) in which a face keeps its position and is tilted by `INITIAL_TILTS`.

    Args:
        T: (4, 4) pose of the block in the camera.
        face: index of the face that keeps its position.
        block_size: side of the block [m].
    """
    normal = T[:3, :3] @ face_normals()[face]
    center = T[:3, 3] + normal * block_size / 2
    view_direction = -center / np.linalg.norm(center)
    axis = np.cross(normal, view_direction)
    sine = max(float(np.linalg.norm(axis)), 1e-12)
    R_frontal = cv2.Rodrigues(axis / sine * np.arctan2(sine, normal @ view_direction))[0]
    right = np.cross(view_direction, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(view_direction, right)
    rotations = [
        cv2.Rodrigues(a * right + b * down)[0] @ R_frontal
        for a, b in product(INITIAL_TILTS, INITIAL_TILTS)
    ]
    return [rigid_transform(R @ T[:3, :3], center + R @ (T[:3, 3] - center)) for R in rotations]


def _crop_bounds(points: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of an image crop around points (..., 2): first and end pixel (x, y)."""
    flat, size = points.reshape(-1, 2), (shape[1], shape[0])
    margin = 2 * BACKGROUND_MARGIN
    first = np.clip(np.floor(flat.min(axis=0)).astype(int) - margin, 0, size)
    end = np.clip(np.ceil(flat.max(axis=0)).astype(int) + margin + 1, 0, size)
    return first, end
