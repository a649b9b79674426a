"""Detection of marked blocks in RGB images: pose and covariance of each block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from pydantic import PositiveFloat

from invdyn_ros.config import Validated
from invdyn_ros.perception.aruco_cube import (
    MarkerDetections,
    detect_markers,
    detect_markers_opencv,
)
from invdyn_ros.perception.block_overlay import draw_block
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.duplicate_markers import are_separate_blocks
from invdyn_ros.perception.lens_view import LensView
from invdyn_ros.perception.photometric_alignment import align_poses
from invdyn_ros.perception.pose_disambiguation import (
    PoseHypothesis,
    rank_hypotheses,
    tracking_costs,
    transform_hypotheses,
)
from invdyn_ros.perception.pose_from_edges import PoseFit, fit_block_poses
from invdyn_ros.robots.block_markers import FACES, BlockMarkers, check_blocks

UNAMBIGUOUS_COST_GAP = 25.0  # above it, the corners alone determine which pose is correct
MAX_ROTATION_STD = np.radians(1.0)  # [rad] less certain poses are aligned with the image


@dataclass(frozen=True)
class BlockDetectorConfig(Validated):
    """Geometry of the blocks and accuracy of the detected corners."""

    block_size: PositiveFloat = 0.04
    """Side of a block [m]; the side of its markers is 0.8 times as long."""
    markers: tuple[BlockMarkers, ...] = (BlockMarkers(),)
    """Markers of each block; others are ignored."""
    edge_noise_std: PositiveFloat = 0.07
    """Standard deviation across a side of a large marker [px]."""
    max_reprojection_error: PositiveFloat = 2.0
    """Maximum RMS error of the corners of a marker and of a pose [px]."""

    def __post_init__(self) -> None:
        """Check that the blocks have one dictionary and different markers."""
        super().__post_init__()
        check_blocks(self.markers)

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return len(self.markers)


@dataclass(frozen=True, eq=False)
class BlockPose:
    """Pose of one block: its frame is at its center, z out of the top face."""

    block_id: int
    T_camera_block: np.ndarray
    """(4, 4) in the optical frame: x right, y down, z forward [m]."""
    covariance: np.ndarray
    """(6, 6) of x, y, z [m] and of rotations about the camera's x, y, z [rad]."""
    marker_ids: np.ndarray
    """(k,) ids of the markers that the pose is fitted to."""
    corners: np.ndarray
    """(k, 4, 2) their observed corners [px]."""
    hypotheses: tuple[PoseHypothesis, ...] = ()
    """Poses that explain the corners, the most likely first; one marker may give several."""


class DetectionResult(NamedTuple):
    """Blocks detected in an image."""

    poses: list[BlockPose]
    """Pose of each block with a visible marker, in order of block id."""
    duplicate_ids: tuple[int, ...]
    """Ids that several visible blocks share; these blocks have no pose."""
    unknown_markers: tuple[int, ...]
    """Ids of visible markers that are not in the config."""

    def describe_problem(self, config: BlockDetectorConfig) -> str | None:
        """Return what is wrong with an image of the blocks of a config, or None."""
        if self.duplicate_ids:
            return describe_duplicate(self.duplicate_ids[0])
        if self.poses:
            return None
        if not self.unknown_markers:
            return "no block in the image"
        expected = ", or ".join(map(str, config.markers))
        return (
            f"no configured block in the image, only marker {self.unknown_markers[0]}; use a "
            f"block with markers {expected} of {config.markers[0].dictionary}, or blocks:="
        )


def describe_duplicate(block_id: int) -> str:
    """Return the message for two blocks with one id."""
    return f"two blocks with id {block_id} in the image, both are ignored; remove one"


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
        detect = detect_markers_opencv if self.intrinsics.is_distorted else detect_markers
        markers, unknown = self._select_known(detect(gray, dictionary=self._dictionary))
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
        """Return the pose of a block, and whether there are two of it.

        An image with distortion is first freed from it around the block.
        """
        ids, corners = markers
        of_block = ids // FACES == block_id
        if self.intrinsics.is_distorted:
            if (view := LensView.around(self.intrinsics, corners[of_block])) is None:
                return None, False
            rectified = view.rectify(gray)
            before = transform_hypotheses(previous, view.pose_in_view)
            detections, _ = self._select_known(detect_markers(rectified, self._dictionary))
            pose, is_duplicate = BlockDetector(self.config, view.camera_matrix)._detect_block(
                block_id, detections, rectified, before
            )
            return pose and _pose_in_camera(pose, view), is_duplicate
        if self._is_duplicate(ids[of_block], corners[of_block]):
            return None, True
        of_block &= np.bincount(ids, minlength=1)[ids] == 1  # one of two equal markers is wrong
        fits = self._fit_poses(ids[of_block], corners[of_block]) if of_block.any() else []
        if not fits:
            return None, False
        observed = ids[of_block][fits[0].inliers], corners[of_block][fits[0].inliers]
        best, ranked = self._select_pose(fits, observed[0], gray, previous)
        ids = np.array([self.config.markers[block_id].ids[face] for face in observed[0] % FACES])
        T, covariance = best.T_camera_block, best.covariance
        return BlockPose(block_id, T, covariance, ids, observed[1], ranked), False

    def _fit_poses(self, ids: np.ndarray, corners: np.ndarray) -> list[PoseFit]:
        """Return poses of a block that explain the corners (k, 4, 2) [px] of its markers."""
        c, k = self.config, self.camera_matrix
        return fit_block_poses(
            ids % FACES, corners, c.block_size, k, c.edge_noise_std, c.max_reprojection_error
        )

    def _is_duplicate(self, ids: np.ndarray, corners: np.ndarray) -> bool:
        """Return whether markers with corners (k, 4, 2) [px] belong to more than one block."""
        if len(ids) < 2:
            return False
        size, k = self.config.block_size, self.camera_matrix
        return are_separate_blocks(ids % FACES, corners, size, k)

    def _select_pose(
        self,
        fits: list[PoseFit],
        ids: np.ndarray,
        gray: np.ndarray,
        previous: tuple[PoseHypothesis, ...],
    ) -> tuple[PoseFit, tuple[PoseHypothesis, ...]]:
        """Return the most likely pose and all hypotheses given corners, image and previous poses.

        The corners of several markers determine the pose; those of a single one may not.
        """
        costs = np.array([fit.cost for fit in fits])
        ambiguous = len(fits) > 1 and np.diff(np.sort(costs))[0] < UNAMBIGUOUS_COST_GAP
        variance = np.linalg.eigvalsh(fits[0].covariance[3:, 3:])[-1]  # of the rotation
        if len(ids) == 1 and (ambiguous or variance > MAX_ROTATION_STD**2):
            previous_hypotheses = [hypothesis.T_camera_block for hypothesis in previous]
            size, k = self.config.block_size, self.camera_matrix
            block, face = divmod(int(ids[0]), FACES)
            markers = self.config.markers[block]
            fits = align_poses(fits, previous_hypotheses, face, gray, size, k, markers)
            costs = np.array([fit.cost for fit in fits]) + tracking_costs(fits, previous)
        return rank_hypotheses(fits, costs)

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


def _pose_in_camera(pose: BlockPose, view: LensView) -> BlockPose:
    """Transform a pose in a view without distortion to the camera with distortion."""
    return replace(
        pose,
        T_camera_block=view.pose_in_camera(pose.T_camera_block),
        covariance=view.covariance_in_camera(pose.covariance),
        corners=view.to_camera_pixels(pose.corners),
        hypotheses=transform_hypotheses(pose.hypotheses, view.pose_in_camera),
    )


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless the image is (H, W, 3) uint8."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; it must be uint8 (H, W, 3) RGB")
