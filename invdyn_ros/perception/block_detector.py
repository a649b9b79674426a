"""Marked blocks in an image: an RGB image enters; the pose and covariance of each block leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import cv2
import numpy as np
from pydantic import Field, PositiveFloat

from invdyn_ros.config import Validated
from invdyn_ros.perception.aruco_cube import FACES, MAX_BLOCKS, detect_markers, marker_corners
from invdyn_ros.perception.block_overlay import draw_block
from invdyn_ros.perception.duplicate_markers import are_separate_blocks
from invdyn_ros.perception.photometric_alignment import align_poses
from invdyn_ros.perception.pose_disambiguation import (
    PoseHypothesis,
    rank_hypotheses,
    tracking_costs,
)
from invdyn_ros.perception.pose_from_edges import PoseFit, corner_errors, fit_block_poses
from invdyn_ros.perception.rigid_transforms import skew

UNAMBIGUOUS_COST_GAP = 25.0  # costs that tell two poses apart without a look at the picture
MAX_ROTATION_STD = np.radians(1.0)  # a pose known no better is aligned with the picture
DISTORTION_SIZES = (4, 5, 8, 12, 14)  # numbers of distortion coefficients


@dataclass(frozen=True)
class BlockDetectorConfig(Validated):
    """How the blocks look and how well their corners are seen."""

    block_size: PositiveFloat = 0.04
    """Side of the block [m]; its markers are 0.8 of it."""
    num_blocks: Annotated[int, Field(ge=1, le=MAX_BLOCKS)] = 1
    """Number of blocks; block b carries the ids 6 b to 6 b + 5, other ids are ignored."""
    edge_noise_std: PositiveFloat = 0.07
    """Expected error of a side of a large marker, across it, standard deviation [px]."""
    max_reprojection_error: PositiveFloat = 2.0
    """A marker, and a pose, that explains corners worse than this is not used, RMS [px]."""


@dataclass(frozen=True, eq=False)
class BlockPose:
    """Where one block is. Its frame lies in its centre; z leaves through the face with id 6 b."""

    block_id: int
    T_camera_block: np.ndarray
    """(4, 4) in the optical frame: x right, y down, z forward [m]."""
    covariance: np.ndarray
    """(6, 6) of x, y, z [m] and of rotations about the camera's x, y, z [rad]."""
    marker_ids: np.ndarray
    """(k,) ids of the markers that it rests on."""
    corners: np.ndarray
    """(k, 4, 2) their corners as seen [px]."""
    reprojection_error: float
    """RMS distance between seen and explained corners [px]."""
    hypotheses: tuple[PoseHypothesis, ...] = ()
    """Every pose that explains them, the likeliest first; more than one only of a lone marker."""


class DetectionResult(NamedTuple):
    """What an image shows."""

    poses: list[BlockPose]
    """One for each block of which a marker is seen, by block id."""
    duplicate_ids: tuple[int, ...]
    """Ids that more than one block has: which of them is meant nobody knows, none has a pose."""
    unknown_ids: tuple[int, ...]
    """Ids of blocks that the config does not know."""

    def describe_problem(self, num_blocks: int) -> str | None:
        """Say what is wrong with an image that should show blocks 0 to `blocks` - 1."""
        if self.duplicate_ids:
            return describe_duplicate(self.duplicate_ids[0])
        if self.poses:
            return None
        if not self.unknown_ids:
            return "no block in the image"
        last = f"0 to {num_blocks - 1}" if num_blocks > 1 else "0"
        return (
            f"no block in the image but block {self.unknown_ids[0]}, which is not known here; use "
            f"block {last}, with markers 0 to {FACES * num_blocks - 1}"
        )


def describe_duplicate(block_id: int) -> str:
    """Say that two blocks have one id."""
    return f"two blocks with id {block_id} in the image, neither is trusted; take one away"


class BlockPoseInBase(NamedTuple):
    """A pose and its uncertainty in the arm's base frame."""

    T_base_block: np.ndarray
    """(4, 4)."""
    covariance: np.ndarray
    """(6, 6) of x, y, z [m] and of rotations about the base's x, y, z [rad]."""


class BlockDetector:
    """Find marked blocks in an image."""

    def __init__(
        self,
        config: BlockDetectorConfig,
        camera_matrix: np.ndarray,
        dist_coeffs: np.ndarray | None = None,
    ) -> None:
        """Make a detector for one camera.

        Args:
            config: the blocks.
            intrinsics: (3, 3) pinhole matrix [px], pixel centres at integers.
            distortion: OpenCV coefficients, (4,), (5,), (8,), (12,) or (14,); None is none.
        """
        self.config = config
        self.camera_matrix = np.array(camera_matrix, float)
        if self.camera_matrix.shape != (3, 3) or not self.camera_matrix[0, 0] > 0:
            raise ValueError(f"intrinsics must be a pinhole matrix (3, 3), not {camera_matrix}")
        if dist_coeffs is None or np.size(dist_coeffs) == 0:  # empty: camera_info without lens
            dist_coeffs = np.zeros(5)
        self.dist_coeffs = np.array(dist_coeffs, float).ravel()
        if (
            self.dist_coeffs.size not in DISTORTION_SIZES
            or not np.isfinite(self.dist_coeffs).all()
        ):
            raise ValueError(
                f"distortion is {dist_coeffs}; OpenCV has {DISTORTION_SIZES} coefficients"
            )

    def detect(self, image: np.ndarray, previous: Sequence[BlockPose] = ()) -> list[BlockPose]:
        """Find the blocks in an image.

        Args:
            image: (H, W, 3) uint8 RGB.
            before: poses found in the image before, if that is recent. Where one marker alone
                leaves two poses possible, they help to choose; they do not move the pose.

        Returns:
            One pose for each block of which a marker is seen, by block id.
        """
        return self.detect_with_problems(image, previous).poses

    def detect_with_problems(
        self, image: np.ndarray, previous: Sequence[BlockPose] = ()
    ) -> DetectionResult:
        """Find the blocks in an image, and what speaks against it; see `detect`."""
        check_image(image)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        ids, corners = detect_markers(gray)
        once = np.bincount(ids, minlength=1)[ids] == 1  # of a marker seen twice, one is a lie
        past = {pose.block_id: pose.hypotheses for pose in previous}
        poses, doubles = [], []
        for block in range(self.config.num_blocks):
            mine = ids // FACES == block
            if self._is_duplicate(ids[mine], corners[mine]):
                doubles.append(block)
                continue
            mine &= once
            fits = self._fit_poses(ids[mine], corners[mine]) if mine.any() else []
            if fits:
                seen = ids[mine][fits[0].inliers], corners[mine][fits[0].inliers]
                best, modes = self._select_pose(fits, seen[0], gray, past.get(block, ()))
                T, error = (
                    best.T_camera_block,
                    self._reprojection_error(best.T_camera_block, *seen),
                )
                poses.append(BlockPose(block, T, best.covariance, *seen, error, modes))
        others = ids[ids >= FACES * self.config.num_blocks] // FACES
        return DetectionResult(poses, tuple(doubles), tuple(np.unique(others).tolist()))

    def _fit_poses(self, ids: np.ndarray, corners: np.ndarray) -> list[PoseFit]:
        """Poses of a block from the corners (k, 4, 2) [px] of its markers."""
        c, k, quads = self.config, self.camera_matrix, self._undistort(corners)
        return fit_block_poses(
            ids % FACES, quads, c.block_size, k, c.edge_noise_std, c.max_reprojection_error
        )

    def _is_duplicate(self, ids: np.ndarray, corners: np.ndarray) -> bool:
        """Whether markers with corners (k, 4, 2) [px] are of more than one block."""
        if len(ids) < 2:
            return False
        quads = self._undistort(corners)
        return are_separate_blocks(ids % FACES, quads, self.config.block_size, self.camera_matrix)

    def _undistort(self, corners: np.ndarray) -> np.ndarray:
        """Corners (k, 4, 2) [px] without the lens's distortion."""
        k = self.camera_matrix
        ideal = cv2.undistortPoints(corners.reshape(-1, 1, 2), k, self.dist_coeffs, P=k)
        return np.asarray(ideal).reshape(-1, 4, 2)

    def _select_pose(
        self,
        fits: list[PoseFit],
        ids: np.ndarray,
        gray: np.ndarray,
        previous: tuple[PoseHypothesis, ...],
    ) -> tuple[PoseFit, tuple[PoseHypothesis, ...]]:
        """Return the likeliest pose and all modes, by corners, picture and past.

        The corners of several markers tell enough; those of a lone one may not.
        """
        costs, turns = np.array([fit.cost for fit in fits]), fits[0].covariance[3:, 3:]
        doubt = len(fits) > 1 and np.diff(np.sort(costs))[0] < UNAMBIGUOUS_COST_GAP
        if len(ids) == 1 and (doubt or np.linalg.eigvalsh(turns)[-1] > MAX_ROTATION_STD**2):
            lens = self.camera_matrix, self.dist_coeffs
            known = [mode.T_camera_block for mode in previous]
            fits = align_poses(fits, known, int(ids[0]), gray, self.config.block_size, lens)
            costs = np.array([fit.cost for fit in fits]) + tracking_costs(fits, previous)
        return rank_hypotheses(fits, costs)

    def _reprojection_error(self, T: np.ndarray, ids: np.ndarray, corners: np.ndarray) -> float:
        """RMS distance [px] between corners (k, 4, 2) as seen and as a pose (4, 4) has them."""
        wanted = marker_corners(self.config.block_size)[ids % FACES]
        errors = corner_errors(T, wanted, self._undistort(corners), self.camera_matrix)
        return float(np.sqrt(np.mean(errors**2)))

    def draw(self, image: np.ndarray, poses: list[BlockPose]) -> np.ndarray:
        """Picture of what was found: marker outlines, edges, axes and position of each block.

        Args:
            image: (H, W, 3) uint8 RGB; it is not changed.
            poses: what `detect` found in it.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        check_image(image)
        canvas = image.copy()
        for pose in poses:
            rotation, _ = cv2.Rodrigues(pose.T_camera_block[:3, :3])
            camera = (rotation, pose.T_camera_block[:3, 3], self.camera_matrix, self.dist_coeffs)
            draw_block(canvas, pose.block_id, pose.corners, self.config.block_size, camera)
        return canvas


def block_pose_in_base(
    T_camera_block: np.ndarray,
    covariance: np.ndarray,
    T_base_camera: np.ndarray,
    camera_covariance: np.ndarray | None = None,
) -> BlockPoseInBase:
    """Pose of a block in the arm's base frame.

    Args:
        T_camera_block: (4, 4) pose of the block in the camera's optical frame.
        covariance: (6, 6) of it about the optical axes.
        T_base_camera: (4, 4), maps camera points to the base.
        camera_covariance: (6, 6) of the camera's own pose, x, y, z [m] and rotations [rad] about
            the base's axes through the camera; None takes it as exact.
    """
    R = T_base_camera[:3, :3]
    turn = np.kron(np.eye(2), R)  # (6, 6)
    covariance = turn @ covariance @ turn.T
    if camera_covariance is not None:
        lever = np.eye(6)  # a camera turned by w moves the block by w x arm
        lever[:3, 3:] = -skew(R @ T_camera_block[:3, 3])
        covariance = covariance + lever @ camera_covariance @ lever.T
    return BlockPoseInBase(T_base_camera @ T_camera_block, covariance)


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless the image is (H, W, 3) uint8."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; it must be uint8 (H, W, 3) RGB")
