"""Settings and results of the detection of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import PositiveFloat

from invdyn_ros.config import Validated
from invdyn_ros.perception.pose_disambiguation import PoseHypothesis
from invdyn_ros.robots.block_markers import BlockMarkers, check_blocks


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
    search: bool = True
    """Whether to search longer for blocks that are not found, in dark and blurred images."""

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
    """(k, 4, 2) their corners in the image [px]."""
    hypotheses: tuple[PoseHypothesis, ...] = ()
    """Poses that explain the corners, the most likely first; one marker may give several."""
    is_aligned: bool = True
    """Whether the pixels of the faces confirm the pose; else it is that of the corners."""
    is_predicted: bool = False
    """Whether no marker was detected, and the pixels confirm a pose that was predicted."""


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
