"""Detection of marked blocks in RGB images: pose and covariance of each block."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from invdyn_ros.perception.aruco_cube import MarkerDetections, detect_markers, marker_corners
from invdyn_ros.perception.block_alignment import (
    FACE_COST,
    AlignedBlock,
    BlockAligner,
    alignment_costs,
)
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
from invdyn_ros.perception.photometric_alignment import align_poses
from invdyn_ros.perception.pose_disambiguation import (
    PoseHypothesis,
    rank_hypotheses,
    tracking_costs,
)
from invdyn_ros.perception.pose_from_edges import (
    DUPLICATE_POSE_ANGLE,
    PoseFit,
    fit_block_poses,
)
from invdyn_ros.perception.rigid_transforms import rotation_angle
from invdyn_ros.robots.block_markers import FACES

UNAMBIGUOUS_COST_GAP = 25.0  # above it, the corners alone determine which pose is correct
MAX_RELATIVE_ERROR = 0.06  # of the corners of a blurred marker, over its side
MAX_ROTATION_STD = np.radians(1.0)  # [rad] of a pose that needs the outline of the block
UNALIGNED_STD_FACTOR = 10.0  # of a pose that is not aligned with the image


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
        self, image: np.ndarray, previous: Sequence[BlockPose] = ()
    ) -> DetectionResult:
        """Detect blocks, duplicate ids and unknown ids; see `detect` for the arguments."""
        check_image(image)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        before = {pose.block_id: pose.hypotheses for pose in previous}
        markers, unknown = self._select_known(detect_markers(gray, self._dictionary))
        poses, duplicates = [], []
        for block_id in range(self.config.num_blocks):
            pose, is_duplicate = self._detect_block(
                block_id, markers, gray, before.get(block_id, ())
            )
            poses += [pose] if pose is not None else []
            duplicates += [block_id] if is_duplicate else []
        return DetectionResult(poses, tuple(duplicates), unknown)

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
        best, ranked, used = self._align(fits, seen_faces, aligner, view, previous, block_id)
        return self._pose(block_id, best, ranked, used), False

    def _fit_poses(self, faces: np.ndarray, quads: np.ndarray, k: np.ndarray) -> list[PoseFit]:
        """Return poses of a block that explain the corners (m, 4, 2) [px] of its markers.

        The corners of a large blurred marker are far off.
        """
        c = self.config
        longest = np.linalg.norm(quads - np.roll(quads, 1, axis=1), axis=2).max()
        max_error = max(c.max_reprojection_error, MAX_RELATIVE_ERROR * longest)
        return fit_block_poses(faces, quads, c.block_size, k, c.edge_noise_std, max_error)

    def _align(
        self,
        fits: list[PoseFit],
        faces: np.ndarray,
        aligner: BlockAligner,
        view: LensView,
        previous: tuple[PoseHypothesis, ...],
        block_id: int,
    ) -> tuple[PoseFit, tuple[PoseHypothesis, ...], tuple[int, ...]]:
        """Return the most likely pose, all hypotheses, and the faces that they are fitted to.

        Args:
            fits: poses that explain the corners, in the frame of the camera.
            faces: faces with these corners.
            aligner: the image.
            view: part of the image without distortion.
            previous: hypotheses of the previous image.
            block_id: index of the block.
        """
        costs = np.array([fit.cost for fit in fits])
        likely = [
            f for f in fits if f.cost - costs.min() < UNAMBIGUOUS_COST_GAP or len(faces) == 1
        ]
        aligned = self._align_directly(likely, aligner) or [
            a for f in likely if (a := aligner.align(f.T_camera_block, faces.tolist()))
        ]
        if not aligned:
            factor = UNALIGNED_STD_FACTOR**2
            fits = [f._replace(covariance=factor * f.covariance) for f in fits]
            costs = costs / factor + tracking_costs(fits, previous)
            return *rank_hypotheses(fits, costs), tuple(faces.tolist())
        aligned, costs = _distinct(aligned)
        if len(aligned[0].faces) == 1 and _is_uncertain(aligned, costs):
            aligned, costs = self._compare_whole_block(aligned, aligner, view, block_id)
        results = [
            PoseFit(a.T_camera_block, a.covariance, fits[0].inliers, cost)
            for a, cost in zip(aligned, costs.tolist(), strict=True)
        ]
        costs = costs + tracking_costs(results, previous)
        best = int(np.argmin(costs))
        return *rank_hypotheses(results, costs), aligned[best].faces

    @staticmethod
    def _align_directly(fits: list[PoseFit], aligner: BlockAligner) -> list[AlignedBlock]:
        """Return the pose if there is no other one and the image shows all of its faces."""
        aligned = aligner.align_directly(fits[0].T_camera_block) if len(fits) == 1 else None
        return [] if aligned is None or _is_uncertain([aligned], np.zeros(1)) else [aligned]

    def _compare_whole_block(
        self,
        aligned: list[AlignedBlock],
        aligner: BlockAligner,
        view: LensView,
        block_id: int,
    ) -> tuple[list[AlignedBlock], np.ndarray]:
        """Return poses that a single marker allows, and their costs (m,).

        The outline of the block and slivers of other faces tell more than the marker.

        Args:
            aligned: poses with one visible face.
            aligner: the image.
            view: part of it without distortion.
            block_id: index of the block.
        """
        face = aligned[0].faces[0]
        starts = [
            PoseFit(view.pose_in_view(a.T_camera_block), a.covariance, np.zeros(1, int), 0.0)
            for a in aligned
        ]
        size, markers = self.config.block_size, self.config.markers[block_id]
        gray, k = view.rectify(aligner.gray), view.camera_matrix
        whole_poses = align_poses(starts, [], face, gray, size, k, markers)
        whole = [view.pose_in_camera(pose.T_camera_block) for pose in whole_poses]
        more = [a for T in whole if (a := aligner.align(T, [face], aligned[0].blur))]
        poses = _distinct([*aligned, *more])[0]
        costs = np.full(len(poses), np.inf)
        for T, pose in zip(whole, whole_poses, strict=True):
            angles = [rotation_angle(T, other.T_camera_block) for other in poses]
            nearest = int(np.argmin(angles))
            costs[nearest] = min(costs[nearest], pose.cost)
        known = np.isfinite(costs)
        return poses, np.where(known, costs, costs[known].max() + FACE_COST)

    def _pose(
        self,
        block_id: int,
        fit: PoseFit,
        hypotheses: tuple[PoseHypothesis, ...],
        faces: tuple[int, ...],
    ) -> BlockPose:
        """Return a pose with the markers of some faces."""
        T, ids = fit.T_camera_block, self.config.markers[block_id].ids
        corners = marker_corners(self.config.block_size)[list(faces)] @ T[:3, :3].T + T[:3, 3]
        marker_ids = np.array([ids[face] for face in faces])
        pixels = self.intrinsics.project(corners)
        return BlockPose(block_id, T, fit.covariance, marker_ids, pixels, hypotheses)

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


def _is_uncertain(aligned: list[AlignedBlock], costs: np.ndarray) -> bool:
    """Return whether poses with costs (m,) are ambiguous or the tilt of the best one is."""
    variance = np.linalg.eigvalsh(aligned[0].covariance[3:, 3:])[-1]
    ambiguous = len(costs) > 1 and costs[1] - costs[0] < UNAMBIGUOUS_COST_GAP
    return bool(ambiguous or variance > MAX_ROTATION_STD**2)


def _distinct(aligned: list[AlignedBlock]) -> tuple[list[AlignedBlock], np.ndarray]:
    """Return different poses and their costs (m,), the most likely first."""
    costs = alignment_costs(aligned)
    distinct: list[int] = []
    for i in np.argsort(costs):
        T = aligned[i].T_camera_block
        if all(
            rotation_angle(T, aligned[j].T_camera_block) > DUPLICATE_POSE_ANGLE for j in distinct
        ):
            distinct.append(int(i))
    return [aligned[i] for i in distinct], costs[distinct]


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless the image is (H, W, 3) uint8."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; it must be uint8 (H, W, 3) RGB")
