"""Images and camera_info in, poses of the marked blocks in the camera's frame out."""

from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from invdyn_ros.nodes.messages import (
    REFUSED,
    arrays_to_pose,
    block_to_message,
    image_to_array,
    image_to_message,
    newest,
    pose_to_transform,
    to_seconds,
)
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.perception.block_detector import (
    BlockDetector,
    BlockDetectorConfig,
    BlockPose,
    DetectionResult,
    describe_duplicate,
)
from invdyn_ros.robots.registry import load_scene

try:
    from tf2_ros import TransformBroadcaster
except ImportError:  # comes with ROS; PyPI has none
    TransformBroadcaster = None

TEXT_AWAY = 0.3  # [m] before the camera: where RViz shows why a block has no pose
RECENT = 0.5  # [s] for which an image says something about the next


@dataclass(frozen=True)
class BlocksNodeConfig:
    """Parameters of the node.

    Attributes:
        arm: the arm, whose scene says how large the blocks are.
        lockstep: lose no image.
    """

    arm: str = "ur5"
    lockstep: bool = False


class BlocksNode(DiagnosticNode):
    """Publish each block's pose, and the blocks of every image, be it none, as markers."""

    def __init__(self) -> None:
        super().__init__("blocks")
        config = load_parameters(self, BlocksNodeConfig)
        scene = load_scene(config.arm)
        self.blocks = BlockDetectorConfig(
            block_size=scene.block_size, num_blocks=max(scene.blocks, 1)
        )
        self.detector: BlockDetector | None = None
        self.info: CameraInfo | None = None
        self.early: Image | None = None
        self.last: tuple[float, list[BlockPose]] = -np.inf, []  # stamp [s], what was found
        qos = QoSProfile(depth=10)
        # made before the first image, so that nobody misses the first pose
        self.publishers_of: list[Publisher] = [
            self.create_publisher(PoseWithCovarianceStamped, f"/blocks/block_{block}", qos)
            for block in range(self.blocks.num_blocks)
        ]
        self.markers = self.create_publisher(MarkerArray, "/blocks/markers", qos)
        self.overlay = self.create_publisher(Image, "/blocks/overlay", newest(False))
        self.frames = TransformBroadcaster(self) if TransformBroadcaster else None
        images = newest(config.lockstep)
        self.create_subscription(CameraInfo, "/camera/camera_info", self.on_info, images)
        self.create_subscription(Image, "/camera/image_raw", self.on_image, images)

    def on_info(self, message: CameraInfo) -> None:
        """Make the detector of a camera."""
        if self.info is not None and np.array_equal(self.info.k, message.k):
            return
        if not message.k[0] > 0:
            raise ValueError(
                "camera_info is not calibrated (K is zero); calibrate the camera, for example "
                "with camera_calibration"
            )
        self.info = message
        k, d = np.array(message.k).reshape(3, 3), np.array(message.d)
        self.detector = BlockDetector(self.blocks, k, d)
        if self.early is not None:
            self.on_image(self.early)
            self.early = None

    def on_image(self, message: Image) -> None:
        """Find the blocks in an image."""
        image = image_to_array(message)
        if self.detector is None:
            self.early = message
            self.hold("no camera_info on /camera/camera_info; publish it with the images")
            return
        stamp = to_seconds(message.header.stamp)
        recent = 0.0 < stamp - self.last[0] < RECENT
        found = self.detector.detect_with_problems(image, self.last[1] if recent else ())
        poses = found.poses
        self.last = stamp, poses
        self.hold(found.describe_problem(self.blocks.num_blocks))
        for pose in poses:
            self.publish_pose(pose, message.header)
        self.publish_markers(found, message.header)
        if self.overlay.get_subscription_count():
            drawn = self.detector.draw(image, poses)
            header = message.header
            self.overlay.publish(image_to_message(drawn, header.stamp, header.frame_id))

    def publish_pose(self, pose: BlockPose, header: Header) -> None:
        """Publish one block on its own topic, and as a frame of TF where tf2 exists."""
        message = block_to_message(*_position_and_turn(pose), pose.covariance, header)
        self.publishers_of[pose.block_id].publish(message)
        if self.frames is not None:
            child = f"block_{pose.block_id}"
            self.frames.sendTransform(pose_to_transform(message.pose.pose, child, header))

    def publish_markers(self, found: DetectionResult, header: Header) -> None:
        """Publish what this image showed: a marker that clears the display, then the blocks.

        A block that has no pose because there are two of it is a text that says so.
        """
        markers = [Marker(header=header, action=Marker.DELETEALL)]
        for block in found.duplicate_ids:
            text = Marker(header=header, ns=REFUSED, id=block, type=Marker.TEXT_VIEW_FACING)
            text.text, text.pose.position.z = describe_duplicate(block), TEXT_AWAY
            text.scale.z = self.blocks.block_size / 2
            text.color.r = text.color.a = 1.0
            markers.append(text)
        for pose in found.poses:
            marker = Marker(header=header, ns="blocks", id=pose.block_id, type=Marker.CUBE)
            marker.pose = arrays_to_pose(*_position_and_turn(pose))
            marker.scale.x = marker.scale.y = marker.scale.z = self.blocks.block_size
            marker.color.r, marker.color.g, marker.color.a = 1.0, 0.6, 0.8
            markers.append(marker)
        self.markers.publish(MarkerArray(markers=markers))


def _position_and_turn(pose: BlockPose) -> tuple[np.ndarray, np.ndarray]:
    T = pose.T_camera_block
    return T[:3, 3], Rotation.from_matrix(T[:3, :3]).as_quat()


def main() -> None:
    """Run the node."""
    run(BlocksNode)


if __name__ == "__main__":
    main()
