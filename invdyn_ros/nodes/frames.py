"""Publisher of coordinate frames on the topics of tf2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rclpy.qos import DurabilityPolicy, QoSProfile

from invdyn_ros.graph.topics import TF, TF_STATIC

if TYPE_CHECKING:
    from geometry_msgs.msg import TransformStamped
    from rclpy.node import Node

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # part of ROS, not on PyPI
    TFMessage = None

TF_QOS = QoSProfile(depth=100)
LATCHED_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class FramePublisher:
    """Publisher of frames; it does nothing where `tf2_msgs` is not installed."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publishers: dict[str, Any] = {}
        self._static: dict[str, TransformStamped] = {}  # by the name of the frame

    def publish(self, transforms: Iterable[TransformStamped]) -> None:
        """Publish poses of frames that move."""
        self._publish(TF, TF_QOS, transforms)

    def has_subscribers(self) -> bool:
        """Return whether anyone subscribes to the frames that move."""
        publisher = self._publisher(TF, TF_QOS)
        return publisher is not None and publisher.get_subscription_count() > 0

    def publish_static(self, transforms: Iterable[TransformStamped]) -> None:
        """Publish poses of frames that stay, also for later subscribers."""
        self._static |= {transform.child_frame_id: transform for transform in transforms}
        # a later subscriber gets the last message only
        self._publish(TF_STATIC, LATCHED_QOS, self._static.values())

    def _publish(
        self, topic: str, qos: QoSProfile, transforms: Iterable[TransformStamped]
    ) -> None:
        publisher = self._publisher(topic, qos)
        if publisher is not None:
            publisher.publish(TFMessage(transforms=list(transforms)))

    def _publisher(self, topic: str, qos: QoSProfile) -> Any:
        if TFMessage is not None and topic not in self._publishers:
            self._publishers[topic] = self._node.create_publisher(TFMessage, topic, qos)
        return self._publishers.get(topic)
