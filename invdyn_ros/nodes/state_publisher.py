"""Publisher of an arm's description and of the frames of its links, as robot_state_publisher's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header, String

from invdyn_ros.graph.topics import ROBOT_DESCRIPTION
from invdyn_ros.nodes.frames import LATCHED_QOS, FramePublisher
from invdyn_ros.nodes.messages import to_stamp
from invdyn_ros.robots.link_frames import LinkFrames, LinkPose, description_text
from invdyn_ros.robots.robot import Robot

if TYPE_CHECKING:
    from rclpy.node import Node

FRAME_PERIOD = 20_000_000  # [ns] between two states of the frames, at least


class StatePublisher:
    """Publisher of `robot_description`, `/tf_static` and `/tf` of one arm.

    The frames of moving links are computed only while someone subscribes to them, and at most
    every FRAME_PERIOD.
    """

    def __init__(self, node: Node, robot: Robot, prefix: str) -> None:
        """Publish the description and the frames that stay.

        Args:
            node: publishes.
            robot: the arm.
            prefix: of the names of joints and frames.
        """
        text = description_text(robot, prefix)
        self._links, self._frames = LinkFrames(text), FramePublisher(node)
        self._last_stamp = -FRAME_PERIOD  # [ns]
        self._publisher = node.create_publisher(String, ROBOT_DESCRIPTION, LATCHED_QOS)
        self._publisher.publish(String(data=text))
        header = Header(stamp=node.get_clock().now().to_msg())
        self._frames.publish_static(_to_message(pose, header) for pose in self._links.fixed)

    def is_due(self, stamp: int) -> bool:
        """Return whether frames are to be published for a state of a time [ns]."""
        is_later = abs(stamp - self._last_stamp) >= FRAME_PERIOD  # simulated time starts again
        return is_later and self._frames.has_subscribers()

    def publish(self, stamp: int, positions: Mapping[str, float]) -> None:
        """Publish the frames of the links that move.

        Args:
            stamp: time of the positions [ns].
            positions: joint name with the prefix -> position [rad or m].
        """
        self._last_stamp = stamp
        header = Header(stamp=to_stamp(stamp))
        poses = self._links.moving(positions)
        self._frames.publish([_to_message(pose, header) for pose in poses])


def _to_message(pose: LinkPose, header: Header) -> TransformStamped:
    message = TransformStamped(header=Header(stamp=header.stamp, frame_id=pose.parent))
    message.child_frame_id = pose.child
    t, r = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = pose.position
    r.x, r.y, r.z, r.w = pose.quaternion
    return message
