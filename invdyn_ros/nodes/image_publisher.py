"""Publisher of a camera: images with camera_info, and compressed ones for displays."""

from __future__ import annotations

import array
import time

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from invdyn_ros.data.recording import encode_jpeg
from invdyn_ros.graph.topics import CAMERA_INFO, IMAGE
from invdyn_ros.nodes.camera_info import camera_info_message
from invdyn_ros.nodes.image_transport import compressed_topic, create_image_publisher
from invdyn_ros.nodes.images import Channels, image_to_message
from invdyn_ros.nodes.messages import to_stamp
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics

COMPRESSED_PERIOD = 0.09  # [s] at least: for displays, at 30 Hz every third image
JPEG_QUALITY = 80
FORMAT = "rgb8; jpeg compressed bgr8"  # as compressed_image_transport has it


class ImagePublisher:
    """Publisher of the images of a camera.

    Attributes:
        frame_id: frame of the images.
        image: the last message, None before the first.
        intrinsics: of the camera, for images of the published size; None: not calibrated.
    """

    def __init__(
        self,
        node: Node,
        lockstep: bool,
        frame_id: str,
        intrinsics: CameraIntrinsics | None = None,
    ) -> None:
        """Create the publishers.

        Args:
            node: publishes.
            lockstep: whether every image arrives, instead of only the latest one.
            frame_id: frame of the images.
            intrinsics: of the camera, for images of the published size; None: not calibrated.
        """
        self.frame_id = frame_id
        self.image: Image | None = None
        self.intrinsics = intrinsics
        self._camera_info: CameraInfo | None = None  # of the last image
        self._raw = create_image_publisher(node, Image, IMAGE, lockstep)
        self._info = create_image_publisher(node, CameraInfo, CAMERA_INFO, lockstep)
        self._compressed = create_image_publisher(node, CompressedImage, compressed_topic(node))
        self._pixels: Channels | None = None  # of the last image, None if it was compressed
        self._next_time = 0.0  # [s] of a compressed image

    @property
    def is_connected(self) -> bool:
        """Whether someone subscribes to the images."""
        return bool(self._raw.get_subscription_count() > 0)

    @property
    def is_viewed(self) -> bool:
        """Whether someone subscribes to the compressed images."""
        return bool(self._compressed.get_subscription_count() > 0)

    def publish(self, image: Channels, nanoseconds: int) -> None:
        """Publish an image (H, W, 3) uint8 RGB and its camera_info with a stamp [ns]."""
        stamp, (height, width) = to_stamp(nanoseconds), image.shape[:2]
        self.image = image_to_message(image, stamp, self.frame_id)
        self._camera_info = camera_info_message(
            self.intrinsics, (width, height), stamp, self.frame_id
        )
        self._pixels = image
        self.repeat()

    def repeat(self) -> None:
        """Publish the last image and its camera_info again."""
        if self.image is not None:
            self._info.publish(self._camera_info)  # before the image, which needs it
            self._raw.publish(self.image)

    def publish_compressed(self) -> None:
        """Publish the last image as JPEG, if someone subscribes and the last one is old enough."""
        now = time.monotonic()
        is_wanted = now >= self._next_time and self.is_viewed
        if self.image is None or self._pixels is None or not is_wanted:
            return
        data = encode_jpeg(self._pixels, JPEG_QUALITY)
        self._compressed.publish(
            CompressedImage(header=self.image.header, format=FORMAT, data=array.array("B", data))
        )
        self._pixels, self._next_time = None, now + COMPRESSED_PERIOD
