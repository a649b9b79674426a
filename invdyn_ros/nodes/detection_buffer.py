"""Buffer that joins the markers and the block poses of each image, which are separate messages."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped

from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, ImageDetections
from invdyn_ros.nodes.messages import ForeignMessage
from invdyn_ros.typing import Array

STAMP_TOLERANCE = 10**6  # [ns] between the stamp of an image and its scheduled time
RESULT_RETENTION = 10**9  # [ns] after which the results of processed images are dropped


class ImageResult(NamedTuple):
    """Result of the block detection in an image, from its markers.

    Attributes:
        detected: indices of the blocks that were detected.
        rejections: why the detection of a block is ambiguous, by its index.
    """

    detected: frozenset[int]
    rejections: Mapping[int, str]


NO_RESULT = ImageResult(frozenset(), {})


class DetectionBuffer:
    """Detections of an episode by the stamp of their image [ns].

    Attributes:
        results: results of images, from their markers.
        poses: detections of images that are not processed yet, by block.
        processed: stamps of processed images.
    """

    def __init__(self, blocks: frozenset[int]) -> None:
        """Create a buffer for the blocks with some indices; others are ignored."""
        self.blocks = blocks
        self.results: dict[int, ImageResult] = {}
        self.poses: dict[int, dict[int, BlockDetection]] = {}
        self.processed: set[int] = set()

    def has_image(self, stamp: int) -> bool:
        """Return whether all messages of an image have arrived."""
        stamps = [s for s in self.results if abs(s - stamp) < STAMP_TOLERANCE]
        return bool(stamps) and all(s in self.processed or self._is_complete(s) for s in stamps)

    def _is_complete(self, stamp: int) -> bool:
        """Return whether the poses of all blocks that were detected in an image have arrived.

        A single block is used at once, without its markers.
        """
        poses = self.poses.get(stamp, {}).keys()
        if stamp not in self.results:
            return poses == self.blocks
        return self.results[stamp].detected & self.blocks <= poses

    def pop_until(self, stamp: int) -> list[ImageDetections]:
        """Return the complete images up to a stamp in order, and mark them as processed."""
        waiting = {s for s in self.poses.keys() | self.results.keys() if s <= stamp}
        images = []
        for s in sorted(s for s in waiting - self.processed if self._is_complete(s)):
            self.processed.add(s)
            poses = self.poses.pop(s, {})
            rejections = self.results.get(s, NO_RESULT).rejections
            unclear = {block: rejections[block] for block in rejections if block not in poses}
            detections = tuple(poses[block] for block in sorted(poses))
            images.append(ImageDetections(s * 1e-9, detections, unclear))
        kept = {s: result for s, result in self.results.items() if s > stamp - RESULT_RETENTION}
        self.results = kept
        return images


def message_to_covariance(message: PoseWithCovarianceStamped) -> Array:
    """Return the covariance (6, 6) of a pose.

    Raises:
        ForeignMessage: not finite, or a variance that is not positive.
    """
    covariance = np.array(message.pose.covariance).reshape(6, 6)
    if not (np.isfinite(covariance).all() and (np.diag(covariance)[[0, 1, 2, 5]] > 0).all()):
        raise ForeignMessage(
            f"pose with variances {np.diag(covariance).tolist()} has no valid covariance"
        )
    return covariance
