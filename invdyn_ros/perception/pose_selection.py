"""Selection of the pose of a block among those that its corners allow, by the pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.perception.block_alignment import (
    FACE_COST,
    AlignedBlock,
    BlockAligner,
    alignment_costs,
)
from invdyn_ros.perception.lens_view import LensView
from invdyn_ros.perception.photometric_alignment import align_poses
from invdyn_ros.perception.pose_disambiguation import (
    PoseHypothesis,
    rank_hypotheses,
    tracking_costs,
)
from invdyn_ros.perception.pose_from_edges import DUPLICATE_POSE_ANGLE, PoseFit
from invdyn_ros.perception.rigid_transforms import rotation_angle
from invdyn_ros.robots.block_markers import BlockMarkers

UNAMBIGUOUS_COST_GAP = 25.0  # above it, the corners alone determine which pose is correct
MAX_ROTATION_STD = np.radians(1.0)  # [rad] of a pose that needs the outline of the block
UNALIGNED_STD_FACTOR = 10.0  # of a pose that is not aligned with the image


class SelectedPose(NamedTuple):
    """The most likely pose of a block in an image."""

    fit: PoseFit
    """The pose and its covariance."""
    hypotheses: tuple[PoseHypothesis, ...]
    """All poses, the most likely first."""
    faces: tuple[int, ...]
    """Faces that the pose is fitted to."""
    is_aligned: bool
    """Whether the pixels of these faces confirm the pose."""


class PoseSelector(NamedTuple):
    """One block in one image."""

    aligner: BlockAligner
    """The image, and the patterns of the block."""
    view: LensView
    """Part of the image without distortion."""
    markers: BlockMarkers
    """Markers of the block."""

    def select(
        self, fits: list[PoseFit], faces: np.ndarray, previous: tuple[PoseHypothesis, ...]
    ) -> SelectedPose:
        """Return the most likely pose.

        Args:
            fits: poses that explain the corners, in the frame of the camera.
            faces: faces with these corners.
            previous: hypotheses of the previous image.
        """
        costs = np.array([fit.cost for fit in fits])
        likely = [
            f for f in fits if f.cost - costs.min() < UNAMBIGUOUS_COST_GAP or len(faces) == 1
        ]
        aligned = self._align_directly(likely) or [
            a for f in likely if (a := self.aligner.align(f.T_camera_block, faces.tolist()))
        ]
        if not aligned:
            factor = UNALIGNED_STD_FACTOR**2
            fits = [f._replace(covariance=factor * f.covariance) for f in fits]
            costs = costs / factor + tracking_costs(fits, previous)
            return SelectedPose(*rank_hypotheses(fits, costs), tuple(faces.tolist()), False)
        aligned, costs = _distinct(aligned)
        if len(aligned[0].faces) == 1 and _is_uncertain(aligned, costs):
            aligned, costs = self._compare_whole_block(aligned)
        results = [
            PoseFit(a.T_camera_block, a.covariance, fits[0].inliers, cost)
            for a, cost in zip(aligned, costs.tolist(), strict=True)
        ]
        costs = costs + tracking_costs(results, previous)
        best = int(np.argmin(costs))
        return SelectedPose(*rank_hypotheses(results, costs), aligned[best].faces, True)

    def _align_directly(self, fits: list[PoseFit]) -> list[AlignedBlock]:
        """Return the pose if there is no other one and the image shows all of its faces."""
        if len(fits) > 1:
            return []
        aligned = self.aligner.align_directly(fits[0].T_camera_block)
        return [] if aligned is None or _is_uncertain([aligned], np.zeros(1)) else [aligned]

    def _compare_whole_block(
        self, aligned: list[AlignedBlock]
    ) -> tuple[list[AlignedBlock], np.ndarray]:
        """Return poses that a single marker allows, and their costs (m,).

        The outline of the block and slivers of other faces tell more than the marker.

        Args:
            aligned: poses with one visible face.
        """
        view, aligner = self.view, self.aligner
        face = aligned[0].faces[0]
        starts = [
            PoseFit(view.pose_in_view(a.T_camera_block), a.covariance, np.zeros(1, int), 0.0)
            for a in aligned
        ]
        gray, k = view.rectify(aligner.gray), view.camera_matrix
        whole_poses = align_poses(starts, [], face, gray, aligner.block_size, k, self.markers)
        whole = [view.pose_in_camera(pose.T_camera_block) for pose in whole_poses]
        more = [a for T in whole if (a := self.aligner.align(T, [face], aligned[0].blur))]
        poses = _distinct([*aligned, *more])[0]
        costs = np.full(len(poses), np.inf)
        for T, pose in zip(whole, whole_poses, strict=True):
            angles = [rotation_angle(T, other.T_camera_block) for other in poses]
            nearest = int(np.argmin(angles))
            costs[nearest] = min(costs[nearest], pose.cost)
        known = np.isfinite(costs)
        return poses, np.where(known, costs, costs[known].max() + FACE_COST)


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
