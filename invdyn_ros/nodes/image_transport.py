"""Publishers and subscriptions of images and what belongs to them, with their quality of service.

Images are published reliably, since viewers ask for that; the nodes of this package subscribe with
best effort, for which no message is acknowledged. `qos_overrides` parameters change both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from invdyn_ros.graph.topics import COMPRESSED_IMAGE, IMAGE
from invdyn_ros.nodes.images import Channels, compressed_to_array, image_to_array
from invdyn_ros.nodes.messages import latest_qos

if TYPE_CHECKING:
    from invdyn_ros.nodes.runner import DiagnosticNode

Transport = Literal["raw", "compressed"]


def compressed_topic(node: Node) -> str:
    """Return the topic of compressed images, beside that of the images also if it is remapped."""
    return str(node.resolve_topic_name(IMAGE)) + COMPRESSED_IMAGE.removeprefix(IMAGE)


def create_image_publisher(
    node: Node, message_type: Any, topic: str, lockstep: bool = False
) -> Publisher:
    """Create a publisher of images or of what belongs to each image.

    Args:
        node: publishes.
        message_type: type of the messages.
        topic: name of the topic.
        lockstep: whether every message arrives, instead of only the latest one.

    Raises:
        ValueError: a `qos_overrides` parameter has a value that is not allowed.
    """
    qos = QoSProfile(depth=10 if lockstep else 1)
    return _with_overrides(node.create_publisher, message_type, topic, qos)


def create_image_subscription(
    node: DiagnosticNode,
    message_type: Any,
    topic: str,
    callback: Callable[[Any], None],
    lockstep: bool,
) -> None:
    """Create a subscription to images or to what belongs to each image.

    Args:
        node: subscribes.
        message_type: type of the messages.
        topic: name of the topic.
        callback: called with each message.
        lockstep: whether every message is needed, instead of only the latest one.

    Raises:
        ValueError: a `qos_overrides` parameter has a value that is not allowed.
    """
    arguments = (message_type, topic, callback, latest_qos(lockstep))
    _with_overrides(node.create_subscription, *arguments, is_input=True)


def subscribe_images(
    node: DiagnosticNode,
    callback: Callable[[Channels, Header], None],
    transport: Transport,
    lockstep: bool,
) -> None:
    """Subscribe to the images of the camera.

    Args:
        node: subscribes.
        callback: called with each image (H, W, 3) uint8 RGB and its header.
        transport: raw or compressed, as in ROS image_transport.
        lockstep: whether every image is needed, instead of only the latest one.
    """
    if transport == "compressed":
        create_image_subscription(
            node,
            CompressedImage,
            compressed_topic(node),
            lambda message: callback(compressed_to_array(message), message.header),
            lockstep,
        )
    else:
        create_image_subscription(
            node,
            Image,
            IMAGE,
            lambda message: callback(image_to_array(message), message.header),
            lockstep,
        )


def _with_overrides(create: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Create a publisher or subscription with `qos_overrides` of history, depth, reliability."""
    options = QoSOverridingOptions.with_default_policies()
    try:
        return create(*arguments, qos_overriding_options=options, **named)
    except (RuntimeError, ParameterException) as error:
        raise ValueError(f"qos_overrides: {error}") from None
