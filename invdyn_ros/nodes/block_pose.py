"""Block pose node: pose of a block without markers in the base frame, from images."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from geometry_msgs.msg import PoseWithCovarianceStamped
from numpy.typing import NDArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from invdyn_ros.graph.topics import BLOCKS_OVERLAY, JOINT_STATES, MARKERS, block_topic
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.grasp.estimation.block_pose_estimator import BlockPoseEstimator
from invdyn_ros.grasp.estimation.block_pose_network import load_block_pose_net
from invdyn_ros.nodes.image_transport import Transport, create_image_publisher, subscribe_images
from invdyn_ros.nodes.images import Channels, image_to_message
from invdyn_ros.nodes.joint_states import ArmState, JointStateReader
from invdyn_ros.nodes.messages import (
    ForeignMessage,
    arrays_to_pose,
    block_to_message,
    to_nanoseconds,
    to_stamp,
)
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.typing import Array

MAX_JOINT_STATES = 400  # stored for images that arrive later
MAX_STAMP_DIFFERENCE = 50_000_000  # [ns] between an image and its joint state
OVERLAY_SCALE = 4  # size of the overlay over that of the image
RED = (230, 40, 40)


@dataclass(frozen=True)
class BlockPoseNodeConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of an arm of a user.
        block_pose_model: folder of a network of `invdyn train_block_pose`.
        lockstep: process every image, instead of only the latest one.
        image_transport: raw, or compressed for the images of /camera/image_raw/compressed.
    """

    arm: str = "ur5"
    block_pose_model: str = ""
    lockstep: bool = False
    image_transport: Transport = "raw"


class BlockPoseNode(DiagnosticNode):
    """Publish the pose of a block in the base frame, on the topics of the blocks node."""

    def __init__(self) -> None:
        super().__init__("block_pose")
        config = load_parameters(self, BlockPoseNodeConfig)
        torch.set_num_threads(1)
        self.robot, self.scene = load_robot(config.arm), load_scene(config.arm)
        self.names = RobotNames.of(
            self.robot, load_parameters(self, NamesConfig), self.get_namespace()
        )
        network = load_block_pose_net(config.block_pose_model, config.arm)
        self.estimator = BlockPoseEstimator(self.robot, self.scene, network)
        self.read_joint_state = JointStateReader(self.names)
        self.joint_states: dict[int, ArmState] = {}  # by stamp [ns], the oldest first
        # with its stamp [ns] and the name of its frame
        self.pending_image: tuple[NDArray[np.uint8], int, str] | None = None
        self.last_stamp = 0  # of an image [ns]
        qos = QoSProfile(depth=10)
        self.pose_publisher = self.create_publisher(PoseWithCovarianceStamped, block_topic(0), qos)
        self.marker_publisher = self.create_publisher(MarkerArray, MARKERS, qos)
        self.overlay_publisher = create_image_publisher(self, Image, BLOCKS_OVERLAY)
        self.create_subscription(
            JointState, JOINT_STATES, self.on_joint_state, QoSProfile(depth=200), is_input=True
        )
        subscribe_images(self, self.on_image, config.image_transport, config.lockstep)

    def on_joint_state(self, message: JointState) -> None:
        """Store a joint state, and process an image that waits for it."""
        state = self.read_joint_state(message)
        if state is None:
            return
        if self.joint_states and state.stamp < next(reversed(self.joint_states)):
            self.joint_states, self.pending_image = {}, None  # time restarted: the next episode
        self.joint_states[state.stamp] = state
        if len(self.joint_states) > MAX_JOINT_STATES:
            self.joint_states.pop(next(iter(self.joint_states)))
        self.process_image()

    def on_image(self, image: Channels, header: Header) -> None:
        """Store an image of the size of the network, and process it."""
        pixels, (height, width) = self.estimator.pixels, image.shape[:2]
        if width != height or width < pixels:
            raise ForeignMessage(
                f"image of {width}x{height}; the network takes square images of "
                f"{pixels} pixels or more"
            )
        stamp = to_nanoseconds(header.stamp)
        if stamp < self.last_stamp:
            self.joint_states = {}  # those of the last episode
        self.last_stamp = stamp
        self.pending_image = image, stamp, header.frame_id
        self.process_image()

    def process_image(self) -> None:
        """Detect the block, once the joint state of the image's time has arrived."""
        if self.pending_image is None or not self.joint_states:
            return
        image, stamp, frame_id = self.pending_image
        if next(reversed(self.joint_states)) < stamp:
            return
        self.pending_image = None
        nearest = min(self.joint_states, key=lambda other: abs(other - stamp))
        if abs(nearest - stamp) > MAX_STAMP_DIFFERENCE:
            self.hold("no joint state of the image's time")
            return
        state = self.joint_states[nearest]
        detection = self.estimator.estimate(stamp * 1e-9, image, state.q, state.opening)
        self.hold(None if detection else "no block detected on the table")
        header = Header(stamp=to_stamp(stamp), frame_id=self.names.base_link)
        self.publish(detection, header)
        if self.overlay_publisher.get_subscription_count():
            overlay = draw_overlay(image, self.estimator.keypoints if detection else None)
            self.overlay_publisher.publish(image_to_message(overlay, header.stamp, frame_id))

    def publish(self, detection: BlockDetection | None, header: Header) -> None:
        """Publish the block's pose, and a marker array with one block or none for every image."""
        markers = [Marker(header=header, action=Marker.DELETEALL)]
        if detection is not None:
            half_yaw = detection.yaw / 2
            quaternion = np.array([0.0, 0.0, np.sin(half_yaw), np.cos(half_yaw)])
            x, y, z, yaw = detection.variance
            covariance = np.diag([x, y, z, 0.0, 0.0, yaw])
            position = detection.position
            self.pose_publisher.publish(block_to_message(position, quaternion, covariance, header))
            marker = Marker(header=header, ns="blocks", id=0, type=Marker.CUBE)
            marker.pose = arrays_to_pose(position, quaternion)
            marker.scale.x = marker.scale.y = marker.scale.z = self.scene.block_size
            marker.color.r, marker.color.g, marker.color.a = 1.0, 0.6, 0.8
            markers.append(marker)
        self.marker_publisher.publish(MarkerArray(markers=markers))


def draw_overlay(image: NDArray[np.uint8], keypoints: Array | None) -> NDArray[np.uint8]:
    """Return an enlarged image with a cross at the detected block.

    Args:
        image: (H, H, 3) uint8.
        keypoints: (K, 2) image positions in [-1, 1], that of the block first; None: no block.
    """
    side = OVERLAY_SCALE * len(image)
    overlay = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
    if keypoints is not None:
        x, y = np.round((keypoints[0] + 1) * side / 2).astype(int).tolist()
        cv2.drawMarker(overlay, (x, y), RED, cv2.MARKER_CROSS, side // 16, 2)
    return np.asarray(overlay)


def main() -> None:
    """Run the node."""
    run(BlockPoseNode)


if __name__ == "__main__":
    main()
