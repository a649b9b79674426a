"""Detection of marked blocks in RGB images: pose and covariance of each block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import (
    SEARCHES,
    MarkerDetections,
    detect_markers,
    marker_corners,
)
from invdyn_ros.perception.block_alignment import BlockAligner
from invdyn_ros.perception.block_detections import (
    BlockDetectorConfig,
    BlockPose,
    DetectionResult,
)
from invdyn_ros.perception.block_overlay import draw_block
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.duplicate_markers import are_separate_blocks
from invdyn_ros.perception.face_pattern import face_patterns
from invdyn_ros.perception.lens_view import LensView
from invdyn_ros.perception.pose_disambiguation import PoseHypothesis
from invdyn_ros.perception.pose_from_edges import PoseFit, fit_block_poses
from invdyn_ros.perception.pose_selection import PoseSelector, SelectedPose
from invdyn_ros.robots.block_markers import FACES

NOTHING_PREDICTED: Mapping[int, Sequence[np.ndarray]] = MappingProxyType({})
MAX_RELATIVE_ERROR = 0.06  # of the corners of a blurred marker, over its side


class BlockDetector:
    """Detector of marked blocks for one camera."""

    def __init__(self, config: BlockDetectorConfig, camera: np.ndarray | CameraIntrinsics) -> None:
        """Create a detector.

        Args:
            config: geometry of the blocks.
            camera: intrinsics, or the camera matrix (3, 3) [px] of a camera without distortion,
                pixel centers at integers.
        """
        self.config = config
        self._dictionary = config.markers[0].dictionary
        # index of a marker by its id: that of face f of block b is 6 b + f
        self._indices = {
            marker: FACES * block + face
            for block, markers in enumerate(config.markers)
            for face, marker in enumerate(markers.ids)
            if marker is not None
        }
        if not isinstance(camera, CameraIntrinsics):
            camera = CameraIntrinsics(camera)
        self.intrinsics = camera
        self.camera_matrix = camera.camera_matrix
        self._patterns = [face_patterns(markers) for markers in config.markers]

    def detect(self, image: np.ndarray, previous: Sequence[BlockPose] = ()) -> list[BlockPose]:
        """Detect the blocks in an image.

        Args:
            image: (H, W, 3) uint8 RGB.
            previous: poses in the previous image, if it is recent. If a single marker allows two
                poses, they help to select one; they do not change it.

        Returns:
            One pose for each block with a visible marker, in order of block id.
        """
        return self.detect_with_problems(image, previous).poses

    def detect_with_problems(
        self,
        image: np.ndarray,
        previous: Sequence[BlockPose] = (),
        predicted: Mapping[int, Sequence[np.ndarray]] = NOTHING_PREDICTED,
    ) -> DetectionResult:
        """Detect blocks, duplicate ids and unknown ids.

        Args:
            image: (H, W, 3) uint8 RGB.
            previous: poses in the previous image, see `detect`.
            predicted: poses (4, 4) that a block without a detected marker may have, by block.
        """
        check_image(image)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        before = {pose.block_id: pose.hypotheses for pose in previous}
        markers, unknown = self._select_known(detect_markers(gray, self._dictionary))
        poses: dict[int, BlockPose] = {}
        duplicates = []
        for block_id in range(self.config.num_blocks):
            pose, is_duplicate = self._detect_block(
                block_id, markers, gray, before.get(block_id, ())
            )
            if pose is None and not is_duplicate:
                pose = self.confirm(gray, block_id, predicted.get(block_id, ()))
            if pose is not None:
                poses[block_id] = pose
            duplicates += [block_id] if is_duplicate else []
        missing = set(range(self.config.num_blocks)) - {*poses, *duplicates}
        if self.config.search and missing:
            poses |= self._search(gray, missing, before)
        return DetectionResult([poses[b] for b in sorted(poses)], tuple(duplicates), unknown)

    def confirm(
        self, gray: np.ndarray, block_id: int, predicted: Sequence[np.ndarray]
    ) -> BlockPose | None:
        """Return the pose of a block near a predicted one, if the pixels show its bits there.

        Args:
            gray: (H, W) uint8.
            block_id: index of the block.
            predicted: poses (4, 4), the most likely first.
        """
        size = self.config.block_size
        aligner = BlockAligner(gray, self.intrinsics, size, self._patterns[block_id])
        for T in predicted:
            aligned = aligner.confirm(T)
            if aligned is not None:
                hypotheses = (PoseHypothesis(aligned.T_camera_block, 0.0),)
                fit = PoseFit(aligned.T_camera_block, aligned.covariance, np.zeros(0, int), 0.0)
                selected = SelectedPose(fit, hypotheses, aligned.faces, True)
                return replace(self._pose(block_id, selected), is_predicted=True)
        return None

    def _search(
        self,
        gray: np.ndarray,
        missing: set[int],
        before: Mapping[int, tuple[PoseHypothesis, ...]],
    ) -> dict[int, BlockPose]:
        """Return poses of blocks whose markers are dark or blurred, by block.

        Only poses that the pixels of the faces confirm are returned.

        Args:
            gray: (H, W) uint8.
            missing: blocks to search for.
            before: hypotheses of the previous image, by block.
        """
        poses: dict[int, BlockPose] = {}
        for search in SEARCHES:
            markers, _ = self._select_known(detect_markers(gray, self._dictionary, search))
            for block_id in sorted(missing - set(poses)):
                pose, _ = self._detect_block(block_id, markers, gray, before.get(block_id, ()))
                if pose is not None and pose.is_aligned:
                    poses[block_id] = pose
            if missing == set(poses):
                break
        return poses

    def _select_known(
        self, detections: MarkerDetections
    ) -> tuple[MarkerDetections, tuple[int, ...]]:
        """Return the markers of the config by their index, and the ids of others."""
        known_ids = [self._indices.get(marker, -1) for marker in detections.ids.tolist()]
        indices = np.array(known_ids, int)
        known = indices >= 0
        unknown = tuple(np.unique(detections.ids[~known]).tolist())
        return MarkerDetections(indices[known], detections.corners[known]), unknown

    def _detect_block(
        self,
        block_id: int,
        markers: MarkerDetections,
        gray: np.ndarray,
        previous: tuple[PoseHypothesis, ...],
    ) -> tuple[BlockPose | None, bool]:
        """Return the pose of a block, and whether there are two of it."""
        of_block = markers.ids // FACES == block_id
        faces, corners = markers.ids[of_block] % FACES, markers.corners[of_block]
        if self.intrinsics.is_distorted:
            view = LensView.around(self.intrinsics, corners)
        else:
            view = LensView.whole(self.intrinsics, (gray.shape[1], gray.shape[0]))
        if view is None or not len(faces):
            return None, False
        # as a pinhole camera would see them
        quads = view.from_camera_pixels(corners)
        size, k = self.config.block_size, view.camera_matrix
        if len(faces) > 1 and are_separate_blocks(faces, quads, size, k):
            return None, True
        single = np.bincount(faces, minlength=FACES)[faces] == 1  # one of two is wrong
        fits = self._fit_poses(faces[single], quads[single], k) if single.any() else []
        if not fits:
            return None, False
        seen_faces = faces[single][fits[0].inliers]
        fits = [
            fit._replace(
                T_camera_block=view.pose_in_camera(fit.T_camera_block),
                covariance=view.covariance_in_camera(fit.covariance),
            )
            for fit in fits
        ]
        aligner = BlockAligner(gray, self.intrinsics, size, self._patterns[block_id])
        selector = PoseSelector(aligner, view, self.config.markers[block_id])
        return self._pose(block_id, selector.select(fits, seen_faces, previous)), False

    def _fit_poses(self, faces: np.ndarray, quads: np.ndarray, k: np.ndarray) -> list[PoseFit]:
        """Return poses of a block that explain the corners (m, 4, 2) [px] of its markers.

        The corners of a large blurred marker are far off.
        """
        c = self.config
        longest = np.linalg.norm(quads - np.roll(quads, 1, axis=1), axis=2).max()
        max_error = max(c.max_reprojection_error, MAX_RELATIVE_ERROR * longest)
        return fit_block_poses(faces, quads, c.block_size, k, c.edge_noise_std, max_error)

    def _pose(self, block_id: int, selected: SelectedPose) -> BlockPose:
        """Return a pose with the markers of the faces that it is fitted to."""
        T, ids = selected.fit.T_camera_block, self.config.markers[block_id].ids
        faces = list(selected.faces)
        corners = marker_corners(self.config.block_size)[faces] @ T[:3, :3].T + T[:3, 3]
        return BlockPose(
            block_id,
            T,
            selected.fit.covariance,
            np.array([ids[face] for face in faces]),
            self.intrinsics.project(corners),
            selected.hypotheses,
            selected.is_aligned,
        )

    def draw(self, image: np.ndarray, poses: list[BlockPose]) -> np.ndarray:
        """Draw marker outlines, edges, axes and position of each block on a copy of an image.

        Args:
            image: (H, W, 3) uint8 RGB.
            poses: the blocks detected in it.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        check_image(image)
        canvas = image.copy()
        for pose in poses:
            T, size = pose.T_camera_block, self.config.block_size
            draw_block(canvas, pose.block_id, pose.corners, size, T, self.intrinsics)
        return canvas


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless the image is (H, W, 3) uint8."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; it must be uint8 (H, W, 3) RGB")
