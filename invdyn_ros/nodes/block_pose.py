"""Images of a block without markers and joint states in, where the block lies in the base out."""

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

from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.grasp.estimation.block_pose_estimator import BlockPoseEstimator
from invdyn_ros.grasp.estimation.block_pose_network import load_block_pose_net
from invdyn_ros.nodes.joint_states import gripper_opening, joints_by_name
from invdyn_ros.nodes.messages import (
    arrays_to_pose,
    block_to_message,
    image_to_array,
    image_to_message,
    newest,
    to_nanoseconds,
)
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.typing import Array

KEPT = 400  # joint states that an image may belong to
LATE = 50_000_000  # [ns] an image whose joint state is further away is not looked at
ENLARGED = 4  # times the picture, in the overlay
RED = (230, 40, 40)


@dataclass(frozen=True)
class BlockPoseNodeConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm.
        block_pose_model: folder of a network that `invdyn train_block_pose` made.
        lockstep: lose no image.
    """

    arm: str = "ur5"
    block_pose_model: str = ""
    lockstep: bool = False


class BlockPoseNode(DiagnosticNode):
    """Publish where the block lies on the topics of the blocks node, but in the arm's base."""

    def __init__(self) -> None:
        super().__init__("block_pose")
        config = load_parameters(self, BlockPoseNodeConfig)
        torch.set_num_threads(1)
        self.robot, self.scene = load_robot(config.arm), load_scene(config.arm)
        sight = load_block_pose_net(config.block_pose_model, config.arm)
        self.seer = BlockPoseEstimator(self.robot, self.scene, sight)
        self.states: dict[int, JointState] = {}  # by stamp [ns], the oldest first
        self.early: Image | None = None
        qos = QoSProfile(depth=10)
        self.poses = self.create_publisher(PoseWithCovarianceStamped, "/blocks/block_0", qos)
        self.markers = self.create_publisher(MarkerArray, "/blocks/markers", qos)
        self.overlay = self.create_publisher(Image, "/blocks/overlay", newest(False))
        self.create_subscription(
            JointState, "/joint_states", self.on_joints, QoSProfile(depth=200)
        )
        self.create_subscription(
            Image, "/camera/image_raw", self.on_image, newest(config.lockstep)
        )

    def on_joints(self, message: JointState) -> None:
        """Keep a joint state, and look at an image that waits for it."""
        stamp = to_nanoseconds(message.header.stamp)
        if self.states and stamp < next(reversed(self.states)):
            self.states, self.early = {}, None  # time starts again: the next episode
        self.states[stamp] = message
        if len(self.states) > KEPT:
            self.states.pop(next(iter(self.states)))
        if self.early is not None:
            self.on_image(self.early)

    def on_image(self, message: Image) -> None:
        """Look for the block, once the joint state of the image's time is there."""
        stamp = to_nanoseconds(message.header.stamp)
        if not self.states or next(reversed(self.states)) < stamp:
            self.early = message
            return
        self.early = None
        nearest = min(self.states, key=lambda known: abs(known - stamp))
        if abs(nearest - stamp) > LATE:
            self.hold("no joint state of the image's time")
            return
        joints, picture = self.states[nearest], image_to_array(message)
        q, _, _ = joints_by_name(joints, self.robot.joint_names)
        opening = gripper_opening(joints, self.robot)
        seen = self.seer.estimate(stamp * 1e-9, picture, q, opening)
        self.hold(None if seen else "no block seen on the table")
        header = Header(stamp=message.header.stamp, frame_id=self.robot.base_link)
        self.publish(seen, header)
        if self.overlay.get_subscription_count():
            drawn = draw(picture, self.seer.keypoints if seen else None)
            self.overlay.publish(image_to_message(drawn, header.stamp, message.header.frame_id))

    def publish(self, seen: BlockDetection | None, header: Header) -> None:
        """Publish the block, and as markers what this image showed: one block or none."""
        markers = [Marker(header=header, action=Marker.DELETEALL)]
        if seen is not None:
            turn = np.array([0.0, 0.0, np.sin(seen.yaw / 2), np.cos(seen.yaw / 2)])
            x, y, z, yaw = seen.variance
            covariance = np.diag([x, y, z, 0.0, 0.0, yaw])
            self.poses.publish(block_to_message(seen.position, turn, covariance, header))
            marker = Marker(header=header, ns="blocks", id=0, type=Marker.CUBE)
            marker.pose = arrays_to_pose(seen.position, turn)
            marker.scale.x = marker.scale.y = marker.scale.z = self.scene.block_size
            marker.color.r, marker.color.g, marker.color.a = 1.0, 0.6, 0.8
            markers.append(marker)
        self.markers.publish(MarkerArray(markers=markers))


def draw(picture: NDArray[np.uint8], keypoints: Array | None) -> NDArray[np.uint8]:
    """Return a picture, larger, with the place of the block if it is seen.

    Args:
        picture: (H, H, 3) uint8.
        keypoints: (K, 2) places in it, -1 to 1, the block's first; None: it is not seen.
    """
    side = ENLARGED * len(picture)
    drawn = cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR)
    if keypoints is not None:
        x, y = np.round((keypoints[0] + 1) * side / 2).astype(int).tolist()
        cv2.drawMarker(drawn, (x, y), RED, cv2.MARKER_CROSS, side // 16, 2)
    return np.asarray(drawn)


def main() -> None:
    """Run the node."""
    run(BlockPoseNode)


if __name__ == "__main__":
    main()
