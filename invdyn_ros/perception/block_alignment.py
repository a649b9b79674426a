"""Pose of a block from the pixels of all faces that can be seen, and its covariance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from invdyn_ros.perception.alignment_noise import (
    USUAL_BLUR_STD,
    inflation_factor,
    noise_std_around,
)
from invdyn_ros.perception.aruco_cube import face_corners, face_normals
from invdyn_ros.perception.bit_evidence import MIN_BITS, bit_evidence, count_confirmed
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.face_pattern import FacePattern
from invdyn_ros.perception.face_pixels import ImageModel, PixelErrors
from invdyn_ros.perception.pixel_alignment import OUTSIDE_ERROR, PixelAlignment

COARSE_PIXELS, FINE_PIXELS = 500, 1200  # of the detected faces, of all faces
COARSE_ITERATIONS, FINE_ITERATIONS = 5, 3
PREDICTED_ITERATIONS = 6
MIN_COSINE = 0.2  # of the angle between a face and the line of sight
MIN_THICKNESS = 10.0  # of the image of a face [standard deviations of the blur]
NOISE_LIMIT = 2.5  # of the errors of a visible face, over the noise
CONTRAST_LIMIT, INITIAL_CONTRAST_LIMIT = 0.1, 0.3  # of other errors, aligned and before
MIN_VISIBLE = 0.35  # fraction of the pixels of a face
MIN_EXPLAINED = 0.5  # fraction of the variance of the pixels of a face
CORRELATED_PIXELS = 4.0  # with correlated errors
FACE_COST = 50.0  # of a pose that another face in the image contradicts, or does not support
MIN_VARIANCE = 0.05  # of weighted pixels


class AlignedBlock(NamedTuple):
    """A pose of a block that is aligned with an image."""

    T_camera_block: np.ndarray
    """(4, 4)."""
    covariance: np.ndarray
    """(6, 6) of x, y, z [m] and of rotations about the camera's x, y, z [rad]."""
    mean_square: float
    """Mean squared error of the pixels of the detected faces [grey levels^2]."""
    faces: tuple[int, ...]
    """Faces whose pixels were compared."""
    blur: np.ndarray
    """(4,) see `ImageModel.blur`."""
    explained: float
    """Least fraction of the variance of the pixels of a face that the model explains."""


class BlockAligner(NamedTuple):
    """What the alignments of one block in one image have in common."""

    gray: np.ndarray
    """(H, W) uint8."""
    lens: CameraIntrinsics
    """Intrinsics of the camera."""
    block_size: float
    """Side of the block [m]."""
    patterns: Mapping[int, FacePattern]
    """Pattern of each face with a marker."""

    def align(
        self, T: np.ndarray, detected: Sequence[int], blur: np.ndarray | None = None
    ) -> AlignedBlock | None:
        """Align a pose: first with the detected faces, then with all that can be seen.

        Args:
            T: (4, 4) initial pose.
            detected: faces whose markers were detected.
            blur: (4,) initial blur; None: it is estimated.

        Returns:
            The pose, or None if the image does not show the block there.
        """
        std = USUAL_BLUR_STD
        coarse = self._align(
            T, self._thick(T, detected, std), COARSE_PIXELS, blur, COARSE_ITERATIONS
        )
        if coarse is None:
            return None
        model, mean_square = coarse[1].model, coarse[0].mean_square(coarse[1])
        std = max(model.blur_std, std)
        faces = self._visible(model, detected, std)
        while faces:
            fine = self._align(
                model.T_camera_block, faces, FINE_PIXELS, model.blur, FINE_ITERATIONS
            )
            if fine is None:
                return None
            noise_std = noise_std_around(self.gray, fine[0].pixels)
            explained = _explained(*fine, noise_std, CONTRAST_LIMIT)
            if explained.min() > MIN_EXPLAINED:
                return self._result(*fine, mean_square, float(explained.min()), noise_std)
            # a face that was not detected is the first to go
            worst = min(range(len(faces)), key=lambda i: (faces[i] in detected, explained[i]))
            del faces[worst]
        return None

    def align_directly(self, T: np.ndarray, blur: np.ndarray | None = None) -> AlignedBlock | None:
        """Align a pose that is nearly right with all faces that can be seen from it.

        Args:
            T: (4, 4) initial pose.
            blur: (4,) initial blur; None: it is estimated.

        Returns:
            The pose, or None if the image does not show all these faces.
        """
        faces = self._thick(T, list(self.patterns), USUAL_BLUR_STD)
        fine = self._align(T, faces, FINE_PIXELS, blur, FINE_ITERATIONS)
        if fine is None:
            return None
        noise_std = noise_std_around(self.gray, fine[0].pixels)
        explained = float(_explained(*fine, noise_std, CONTRAST_LIMIT).min())
        if explained < MIN_EXPLAINED:
            return None
        return self._result(*fine, fine[0].mean_square(fine[1]), explained, noise_std)

    def confirm(self, T: np.ndarray) -> AlignedBlock | None:
        """Align a predicted pose, and confirm by the bits of its markers that the block is there.

        All faces that can be seen from the pose are compared, and then, as something may be in
        front of some, each alone.

        Args:
            T: (4, 4) predicted pose.

        Returns:
            The pose, or None if the image does not show enough bits of this block.
        """
        faces = self._thick(T, list(self.patterns), USUAL_BLUR_STD)
        best, most = None, MIN_BITS - 1
        for subset in [faces, *([face] for face in faces if len(faces) > 1)]:
            aligned = self._align(T, subset, FINE_PIXELS, None, PREDICTED_ITERATIONS)
            if aligned is None:
                continue
            noise_std = noise_std_around(self.gray, aligned[0].pixels)
            bits = sum(map(count_confirmed, bit_evidence(*aligned, noise_std)))
            if bits > most:
                mean_square = aligned[0].mean_square(aligned[1])
                best, most = self._result(*aligned, mean_square, 1.0, noise_std), bits
            if subset == faces and best is not None:
                break
        return best

    def _visible(self, model: ImageModel, detected: Sequence[int], blur_std: float) -> list[int]:
        """Return the detected faces, and others that the image shows about where they must be."""
        T = model.T_camera_block
        faces = []
        for face in self._thick(T, list(self.patterns), blur_std):
            if face not in detected:
                alignment = self._select(T, [face], COARSE_PIXELS)
                if not alignment.is_determined:
                    continue
                errors = alignment.evaluate(model._replace(levels=None))
                noise_std = noise_std_around(self.gray, alignment.pixels)
                if not _explained(alignment, errors, noise_std, INITIAL_CONTRAST_LIMIT)[0]:
                    continue
            faces.append(face)
        return faces or self._thick(T, detected, blur_std)

    def _select(self, T: np.ndarray, faces: Sequence[int], max_pixels: int) -> PixelAlignment:
        patterns = [self.patterns[face] for face in faces]
        return PixelAlignment(self.gray, self.lens, self.block_size, patterns, T, max_pixels)

    def _align(
        self,
        T: np.ndarray,
        faces: Sequence[int],
        max_pixels: int,
        blur: np.ndarray | None,
        max_iterations: int,
    ) -> tuple[PixelAlignment, PixelErrors] | None:
        """Return the alignment of some faces and its errors."""
        alignment = self._select(T, faces, max_pixels)
        if not alignment.is_determined:
            return None
        try:
            is_last = max_pixels == FINE_PIXELS
            return alignment, alignment.align(T, blur, max_iterations, is_last)
        except np.linalg.LinAlgError:
            return None

    def _thick(self, T: np.ndarray, faces: Sequence[int], blur_std: float) -> list[int]:
        """Return the faces of a block at T (4, 4) whose cells are distinct, one at least."""
        normals = face_normals()[faces] @ T[:3, :3].T
        centers = normals * self.block_size / 2 + T[:3, 3]
        cosine = -np.sum(normals * centers, axis=1) / np.linalg.norm(centers, axis=1)
        corners = face_corners(self.block_size)[faces] @ T[:3, :3].T + T[:3, 3]
        quads = self.lens.project(corners)
        longest = np.linalg.norm(quads - np.roll(quads, 1, axis=1), axis=2).max(axis=1)
        thickness = np.abs(np.linalg.det(quads[:, 2:] - quads[:, :2])) / 2 / longest
        clear = (cosine > MIN_COSINE) & (thickness > MIN_THICKNESS * blur_std)
        if not clear.any():
            clear = np.arange(len(faces)) == np.argmax(cosine)
        return [face for face, is_clear in zip(faces, clear, strict=True) if is_clear]

    @staticmethod
    def _result(
        alignment: PixelAlignment,
        errors: PixelErrors,
        mean_square: float,
        explained: float,
        noise_std: float,
    ) -> AlignedBlock:
        free = max(alignment.visible.sum() - alignment.num_parameters, 1)
        residual = alignment.weighted(errors)
        variance = max(float(residual @ residual) / free, MIN_VARIANCE)
        inverse = np.linalg.inv(alignment.normal_equations(errors)[0])
        inflation = inflation_factor(alignment, errors, inverse[:, :6], variance, noise_std)
        covariance = inflation * variance * inverse[:6, :6]
        return AlignedBlock(
            errors.model.T_camera_block,
            (covariance + covariance.T) / 2,
            mean_square,
            tuple(pattern.face for pattern in alignment.patterns),
            errors.model.blur,
            explained,
        )


def alignment_costs(aligned: Sequence[AlignedBlock]) -> np.ndarray:
    """Return the costs (m,), -2 log likelihoods, of several poses of a block in one image."""
    squares = np.array([pose.mean_square for pose in aligned])
    faces = np.array([len(pose.faces) for pose in aligned])
    fit = (squares / squares.min() - 1) * COARSE_PIXELS / CORRELATED_PIXELS
    return np.asarray(fit + FACE_COST * (faces.max() - faces))


def _explained(
    alignment: PixelAlignment, errors: PixelErrors, noise_std: float, contrast_limit: float
) -> np.ndarray:
    """Return the fraction (f,) of the variance of the pixels of each face that a model explains.

    It is 0 for a face whose errors are larger than those of noise and model, for one that is
    mostly hidden, and for one whose black cells are not darker than its white ones.

    Args:
        alignment: the compared pixels.
        errors: of the aligned model.
        noise_std: standard deviation of the noise of a pixel [grey levels].
        contrast_limit: largest standard deviation of other errors, over the contrast.
    """
    levels = errors.model.levels
    assert levels is not None
    fractions = []
    for part, (white, black, *_) in zip(alignment.parts, levels, strict=True):
        visible = alignment.visible[part]
        weights = 1 / np.hypot(1.0, OUTSIDE_ERROR * alignment.beyond[part]) * visible
        residual = errors.residual[part] * weights
        observed = alignment.observed[part]
        total = max(float(weights @ weights), 1e-9)
        mean = (weights**2) @ observed / total
        total_square = np.sum((weights * (observed - mean)) ** 2)
        error = residual @ residual
        limit = (NOISE_LIMIT * noise_std) ** 2 + (contrast_limit * (white - black)) ** 2
        good = (
            white > black
            and total_square > 0
            and error < limit * total
            and visible.mean() > MIN_VISIBLE
        )
        fractions.append(1 - error / total_square if good else 0.0)
    return np.array(fractions)
