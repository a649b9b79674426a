"""Publisher of a camera: images, and compressed ones while someone subscribes to them."""

from __future__ import annotations

import array
import time

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from invdyn_ros.data.recording import encode_jpeg
from invdyn_ros.graph.topics import COMPRESSED_IMAGE, IMAGE
from invdyn_ros.nodes.images import Channels, image_to_message
from invdyn_ros.nodes.messages import latest_qos, to_stamp

COMPRESSED_PERIOD = 0.09  # [s] at least: for displays, at 30 Hz every third image
JPEG_QUALITY = 80
FORMAT = "rgb8; jpeg compressed bgr8"  # as compressed_image_transport has it


class ImagePublisher:
    """Publisher of the images of a camera.

    Attributes:
        frame_id: frame of the images.
        image: the last message, None before the first.
    """

    def __init__(self, node: Node, lockstep: bool, frame_id: str) -> None:
        """Create the publishers.

        Args:
            node: publishes.
            lockstep: whether every image arrives, instead of only the latest one.
            frame_id: frame of the images.
        """
        self.frame_id = frame_id
        self.image: Image | None = None
        self._raw = node.create_publisher(Image, IMAGE, latest_qos(lockstep))
        self._compressed = node.create_publisher(
            CompressedImage, COMPRESSED_IMAGE, latest_qos(False)
        )
        self._pixels: Channels | None = None  # of the last image, None if it was compressed
        self._next_time = 0.0  # [s] of a compressed image

    @property
    def is_connected(self) -> bool:
        """Whether someone subscribes to the images."""
        return bool(self._raw.get_subscription_count() > 0)

    def publish(self, image: Channels, nanoseconds: int) -> None:
        """Publish an image (H, W, 3) uint8 RGB with a stamp [ns]."""
        self.image = image_to_message(image, to_stamp(nanoseconds), self.frame_id)
        self._pixels = image
        self._raw.publish(self.image)

    def repeat(self) -> None:
        """Publish the last image again."""
        if self.image is not None:
            self._raw.publish(self.image)

    def publish_compressed(self) -> None:
        """Publish the last image as JPEG, if someone subscribes and the last one is old enough."""
        now = time.monotonic()
        is_wanted = now >= self._next_time and self._compressed.get_subscription_count() > 0
        if self.image is None or self._pixels is None or not is_wanted:
            return
        data = encode_jpeg(self._pixels, JPEG_QUALITY)
        self._compressed.publish(
            CompressedImage(header=self.image.header, format=FORMAT, data=array.array("B", data))
        )
        self._pixels, self._next_time = None, now + COMPRESSED_PERIOD
