"""The pose of a block from its whole picture: rough poses enter; poses that draw it alike leave.

A marker that faces the camera hardly shows by its corners how it is tilted: a tilt of some
degrees moves its sides by a tenth of a pixel. Every edge of its pattern and the slivers of the
faces beside it move too, so the block is drawn and moved until the drawing is the picture:
Gauss-Newton on grey levels, as in Lucas and Kanade 1981, the level of each face as it fits best
(variable projection, Golub and Pereyra 1973). Which slivers show changes all at once, so it starts
from several tilts.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import FACES, face_corners, face_image, face_normals
from invdyn_ros.perception.pose_from_edges import PoseFit, apply_step, project, transform

TEXTURE_SIZE = 60  # side of a face's picture [px]
COARSE_SAMPLES, FINE_SAMPLES = (
    2,
    4,
)  # samples of a drawn block per pixel and axis, to seek and to align
LENS_BLUR_STD = 0.7  # of a usual lens, standard deviation [px]
BACKGROUND_MARGIN = 2  # of background around the block that is looked at [px]
NOISE_CORRELATION_PIXELS = 28.0  # so many pixels err together, as those of a jagged edge do
NOISE_FLOOR = 1.0  # of a pixel, standard deviation [grey levels]
FRONTAL_TILT = np.radians(16)  # a face tilted less may be tilted to any side
INITIAL_TILTS = np.radians([-8.0, -4.0, 0.0, 4.0, 8.0])  # from which its pose is then sought
NUM_STARTS = 2  # poses to align, the best of all
MAX_ITERATIONS = 12  # of Levenberg-Marquardt, at most
MIN_RELATIVE_GAIN = 1e-3  # share of the squared error that the last step still took away


class RenderedBlock(NamedTuple):
    """A block as it would look, where it or its surroundings show (n pixels)."""

    faces: np.ndarray
    """(m,) that look towards the camera."""
    layers: list[np.ndarray]
    """(h, w, 2) of each face, with `samples` per pixel: white, and covered."""
    basis: np.ndarray
    """(n, m + 2) what each level is multiplied by."""
    levels: np.ndarray
    """(m + 2,) grey levels: white of each face over black, black, background."""
    residual: np.ndarray
    """(n,) seen less drawn [grey levels]."""

    @property
    def squared_error(self) -> float:
        """Sum of squares of what is left."""
        return float(self.residual @ self.residual)


class BlockImage:
    """The part of an image in which a block lies."""

    def __init__(
        self,
        gray: np.ndarray,
        poses: list[np.ndarray],
        block_id: int,
        block_size: float,
        camera: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Cut it out.

        Args:
            gray: (H, W) uint8.
            around: poses (4, 4) between which the block lies.
            block: its number, which gives the ids of its markers.
            block_size: side of the block [m].
            camera: intrinsics (3, 3) [px] and distortion.
        """
        self.block, self.block_size, self.camera, self.samples = (
            block_id,
            block_size,
            camera,
            FINE_SAMPLES,
        )
        self.corners = face_corners(block_size)
        outlines = np.array([self._outline(T) for T in poses])
        self.origin, high = _window(outlines, gray.shape)
        self.seen = gray[self.origin[1] : high[1], self.origin[0] : high[0]].astype(np.float32)
        if self.seen.size:
            drawn = [self._render_face(T, f) for T in poses for f in self._visible_faces(T)]
            covered = np.sum([self._apply_lens(layer[..., 1]) for layer in drawn], axis=0)
            self.mask = (
                np.asarray(cv2.dilate(covered, np.ones((2 * BACKGROUND_MARGIN + 1,) * 2))) > 0
            )
            self.pixels = np.argwhere(self.mask)[:, ::-1] + self.origin  # (n, 2) x and y

    def render(self, T: np.ndarray) -> RenderedBlock:
        """Draw the block at T (4, 4), with the levels that fit best."""
        faces = self._visible_faces(T)
        layers = [self._render_face(T, face) for face in faces]
        shares = np.array([self._apply_lens(layer)[self.mask] for layer in layers])
        white, covered = shares[..., 0], shares[..., 1].sum(axis=0)
        columns, pixels = np.column_stack([*white, covered, 1 - covered]), self.seen[self.mask]
        levels = np.linalg.lstsq(columns, pixels, rcond=None)[0]
        return RenderedBlock(faces, layers, columns, levels, pixels - columns @ levels)

    def jacobian(self, T: np.ndarray, rendered: RenderedBlock) -> np.ndarray:
        """Derivative (n, 6) of what is left by a shift and a turn about the camera's axes.

        What the levels make up for is no longer in it (Kaufman 1975).
        """
        *whites, black, ground = rendered.levels
        J = np.zeros((len(self.pixels), 6))
        for face, layer, white in zip(rendered.faces, rendered.layers, whites, strict=True):
            drawn = white * layer[..., 0] + (black - ground) * layer[..., 1]
            # before the lens blurs it: an edge is narrower than a difference of pixels
            fine = [cv2.Sobel(drawn, cv2.CV_32F, *axis, ksize=1) for axis in ((1, 0), (0, 1))]
            gradient = self._apply_lens(np.dstack(fine)) * self.samples / 2
            x, y = gradient[self.mask].T
            there = (x != 0) | (y != 0)
            flow = self._flow(T, int(face), self.pixels[there])
            J[there] += x[there, None] * flow[:, 0] + y[there, None] * flow[:, 1]
        return np.asarray(J - rendered.basis @ np.linalg.lstsq(rendered.basis, J, rcond=None)[0])

    def _flow(self, T: np.ndarray, face: int, pixels: np.ndarray) -> np.ndarray:
        """Motion (n, 2, 6) of the points of a face's plane that pixels (n, 2) show."""
        k, R = self.camera[0], T[:3, :3]
        normal = R @ face_normals()[face]
        rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(k).T
        points = rays * ((normal @ T[:3, 3] + self.block_size / 2) / (rays @ normal))[:, None]
        return project(T, (points - T[:3, 3]) @ R, k)[1].reshape(-1, 2, 6)

    def _outline(self, T: np.ndarray) -> np.ndarray:
        """Corners (6, 4, 2) [px] of the faces of a block at T (4, 4)."""
        turn = cv2.Rodrigues(T[:3, :3])[0]
        flat = self.corners.reshape(-1, 3)
        return np.asarray(cv2.projectPoints(flat, turn, T[:3, 3], *self.camera)[0]).reshape(
            6, 4, 2
        )

    def _visible_faces(self, T: np.ndarray) -> np.ndarray:
        """Faces (m,) of a block at T (4, 4) that look towards the camera."""
        normals = face_normals() @ T[:3, :3].T
        centres = normals * self.block_size / 2 + T[:3, 3]
        return np.flatnonzero(np.sum(normals * centres, axis=1) < 0)

    def _render_face(self, T: np.ndarray, face: int) -> np.ndarray:
        """Draw a face of a block at T (4, 4), (h, w, 2) with `samples` per pixel."""
        h, w = self.seen.shape
        square = TEXTURE_SIZE * np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) - 0.5
        white = face_image(FACES * self.block + int(face), TEXTURE_SIZE).astype(np.float32) / 255
        texture = np.dstack([white, np.ones_like(white)])
        outline = self._outline(T)[face] - self.origin
        corners = (self.samples * (outline + 0.5) - 0.5).astype(np.float32)
        H = cv2.getPerspectiveTransform(square.astype(np.float32), corners)
        return np.asarray(cv2.warpPerspective(texture, H, (self.samples * w, self.samples * h)))

    def _apply_lens(self, fine: np.ndarray) -> np.ndarray:
        """Average what has `samples` per pixel over each, and blur it."""
        h, w = self.seen.shape
        coarse = cv2.resize(fine, (w, h), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(coarse, (0, 0), LENS_BLUR_STD))


def align_poses(
    fits: list[PoseFit],
    previous: list[np.ndarray],
    marker_id: int,
    gray: np.ndarray,
    block_size: float,
    camera: tuple[np.ndarray, np.ndarray],
) -> list[PoseFit]:
    """Move the poses of a block with a lone marker until it looks as in the picture.

    Args:
        fits: poses that explain the corners, at least one.
        known: poses (4, 4) that it may have by what was seen before; without any, more are tried.
        marker: its id.
        gray: (H, W) uint8.
        block_size: side of the block [m].
        camera: intrinsics (3, 3) [px] and distortion.

    Returns:
        Poses that explain the picture, the best first, with their covariance and cost.
    """
    block, face = divmod(marker_id, FACES)
    starts = [fit.T_camera_block for fit in fits] + previous
    if not previous and tilt_angle(starts[0], face, block_size) < FRONTAL_TILT:
        starts += tilted_poses(starts[0], face, block_size)
    picture = BlockImage(gray, starts, block, block_size, camera)
    if not picture.seen.size:
        return fits
    picture.samples = COARSE_SAMPLES
    best = sorted(starts, key=lambda T: picture.render(T).squared_error)[:NUM_STARTS]
    picture.samples = FINE_SAMPLES
    found = sorted((_refine(T, picture) for T in best), key=lambda pair: pair[1].squared_error)
    variance = found[0][1].squared_error / len(picture.pixels) + NOISE_FLOOR**2
    aligned = []
    for T, drawing in found:
        J = picture.jacobian(T, drawing)
        covariance = NOISE_CORRELATION_PIXELS * variance * np.linalg.inv(J.T @ J)
        cost = drawing.squared_error / (NOISE_CORRELATION_PIXELS * variance)
        symmetric = (covariance + covariance.T) / 2
        aligned.append(fits[0]._replace(T_camera_block=T, covariance=symmetric, cost=cost))
    return aligned


def tilt_angle(T: np.ndarray, face: int, block_size: float) -> float:
    """Angle [rad] between the line of sight and the normal of a face of a block at T (4, 4)."""
    normal = T[:3, :3] @ face_normals()[face]
    centre = T[:3, 3] + normal * block_size / 2
    return float(np.arccos(np.clip(-centre @ normal / np.linalg.norm(centre), -1, 1)))


def tilted_poses(T: np.ndarray, face: int, block_size: float) -> list[np.ndarray]:
    """Poses (4, 4) with a face where it is in T (4, 4), tilted by each of TILTS about two axes."""
    normal = T[:3, :3] @ face_normals()[face]
    centre = T[:3, 3] + normal * block_size / 2
    sight = -centre / np.linalg.norm(centre)
    axis = np.cross(normal, sight)
    sine = max(float(np.linalg.norm(axis)), 1e-12)
    upright = cv2.Rodrigues(axis / sine * np.arctan2(sine, normal @ sight))[0]
    right = np.cross(sight, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(sight, right)
    turns = [
        cv2.Rodrigues(a * right + b * down)[0] @ upright
        for a, b in product(INITIAL_TILTS, INITIAL_TILTS)
    ]
    return [transform(R @ T[:3, :3], centre + R @ (T[:3, 3] - centre)) for R in turns]


def _refine(T: np.ndarray, picture: BlockImage) -> tuple[np.ndarray, RenderedBlock]:
    """Levenberg-Marquardt from T (4, 4) to the least squared error in the picture."""
    damping, drawing = 1e-3, picture.render(T)
    J = picture.jacobian(T, drawing)
    for _ in range(MAX_ITERATIONS):
        H = J.T @ J
        step = -np.linalg.solve(H + damping * np.diag(np.diag(H)), J.T @ drawing.residual)
        there = apply_step(T, step)
        after = picture.render(there)
        gain = 1 - after.squared_error / drawing.squared_error
        if gain <= 0:
            damping *= 10
            continue
        T, drawing, damping = there, after, damping / 10
        J = picture.jacobian(T, drawing)
        if gain < MIN_RELATIVE_GAIN:
            break
    return T, drawing


def _window(points: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel (x, y) of the part of an image that points (..., 2) lie in."""
    flat, size = points.reshape(-1, 2), (shape[1], shape[0])
    margin = 2 * BACKGROUND_MARGIN
    low = np.clip(np.floor(flat.min(axis=0)).astype(int) - margin, 0, size)
    high = np.clip(np.ceil(flat.max(axis=0)).astype(int) + margin + 1, 0, size)
    return low, high
