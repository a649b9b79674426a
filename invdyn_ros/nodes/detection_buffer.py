"""Buffer that joins the markers and the block pose of each image, which are separate messages."""

from typing import NamedTuple

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped

from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.nodes.messages import ForeignMessage
from invdyn_ros.typing import Array

STAMP_TOLERANCE = 10**6  # [ns] between the stamp of an image and its scheduled time
RESULT_RETENTION = 10**9  # [ns] after which the results of processed images are dropped


class ImageResult(NamedTuple):
    """Result of the block detection in an image, from its markers.

    Attributes:
        detected: whether the block was detected.
        rejection: why its detection is ambiguous, None if it is not.
    """

    detected: bool
    rejection: str | None


class BufferedImage(NamedTuple):
    """An image whose messages have arrived.

    Attributes:
        stamp: stamp of the image [ns].
        detection: the block, None if it was not detected.
        rejection: why the detection is ambiguous, None if it is not.
    """

    stamp: int
    detection: BlockDetection | None
    rejection: str | None


class DetectionBuffer:
    """Detections of an episode by the stamp of their image [ns].

    Attributes:
        results: results of images, from their markers.
        poses: detections of images that are not processed yet.
        processed: stamps of processed images.
    """

    def __init__(self) -> None:
        self.results: dict[int, ImageResult] = {}
        self.poses: dict[int, BlockDetection] = {}
        self.processed: set[int] = set()

    def has_image(self, stamp: int) -> bool:
        """Return whether all messages of an image have arrived."""
        stamps = [s for s in self.results if abs(s - stamp) < STAMP_TOLERANCE]
        arrived = self.processed | self.poses.keys()
        complete = all(not self.results[s].detected or s in arrived for s in stamps)
        return bool(stamps) and complete

    def pop_until(self, stamp: int) -> list[BufferedImage]:
        """Return the images up to a stamp in their order, and mark them as processed."""
        results = self.results
        empty = {s for s, result in results.items() if not result.detected} - self.processed
        images = []
        for s in sorted(s for s in self.poses.keys() | empty if s <= stamp):
            self.processed.add(s)
            detection = self.poses.pop(s, None)
            rejection = results[s].rejection if detection is None else None
            images.append(BufferedImage(s, detection, rejection))
        self.results = {s: result for s, result in results.items() if s > stamp - RESULT_RETENTION}
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
