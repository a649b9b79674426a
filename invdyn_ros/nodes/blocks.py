"""Block detection node: poses of marked blocks in the camera frame, from images."""

from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from invdyn_ros.graph.topics import (
    BLOCKS_OVERLAY,
    CAMERA_INFO,
    JOINT_STATES,
    MARKERS,
    block_topic,
)
from invdyn_ros.nodes.camera_info import check_size, message_to_intrinsics
from invdyn_ros.nodes.frames import FramePublisher
from invdyn_ros.nodes.image_transport import (
    Transport,
    create_image_publisher,
    create_image_subscription,
    subscribe_images,
)
from invdyn_ros.nodes.images import Channels, image_to_message
from invdyn_ros.nodes.joint_history import JointHistory
from invdyn_ros.nodes.joint_states import ArmJoints
from invdyn_ros.nodes.messages import (
    REJECTED,
    arrays_to_pose,
    block_to_message,
    pose_to_transform,
    to_nanoseconds,
    to_seconds,
)
from invdyn_ros.nodes.robot_names import CameraNamesConfig, RobotNames
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.perception.block_detections import describe_duplicate
from invdyn_ros.perception.block_detector import (
    BlockDetector,
    BlockDetectorConfig,
    BlockPose,
    DetectionResult,
)
from invdyn_ros.perception.block_tracker import BlockTracker, CameraFrames
from invdyn_ros.perception.hand_eye.camera_pose import nominal_scene
from invdyn_ros.perception.rigid_transforms import invert_transform
from invdyn_ros.robots.block_markers import BlockMarkers
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

TEXT_DISTANCE = 0.3  # [m] from the camera to the text with the reason why a block has no pose


@dataclass(frozen=True)
class BlocksNodeConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of one; its scene has the size of the blocks.
        blocks: file of the blocks; empty: the block of the arm's entry.
        lockstep: process every image, instead of only the latest one.
        publish_camera: publish the pose of the camera as a static frame: that of camera_pose, or
            that of the simulated camera.
        camera_pose: file of `invdyn calibrate`; empty: the pose of the simulated camera.
        image_transport: raw, or compressed for the images of /camera/image_raw/compressed.
    """

    arm: str = "ur5"
    blocks: str = ""
    lockstep: bool = False
    publish_camera: bool = False
    camera_pose: str = ""
    image_transport: Transport = "raw"


class BlocksNode(DiagnosticNode):
    """Publish the pose of each block, and a marker array for every image, even without a block."""

    def __init__(self) -> None:
        super().__init__("blocks")
        config = load_parameters(self, BlocksNodeConfig)
        scene = load_scene(config.arm, config.blocks)
        self.detector_config = BlockDetectorConfig(
            block_size=scene.block_size, markers=scene.markers or (BlockMarkers(),)
        )
        self.detector: BlockDetector | None = None
        self.camera_info: CameraInfo | None = None
        self.pending_image: tuple[Channels, Header] | None = None
        self.tracker: BlockTracker | None = None
        self.scene = nominal_scene(config.arm, config.camera_pose, config.blocks)
        self.robot = load_robot(config.arm)
        qos = QoSProfile(depth=10)
        # created before the first image, so that subscribers get the first pose
        self.pose_publishers: list[Publisher] = [
            self.create_publisher(PoseWithCovarianceStamped, block_topic(block), qos)
            for block in range(self.detector_config.num_blocks)
        ]
        self.marker_publisher = self.create_publisher(MarkerArray, MARKERS, qos)
        self.overlay_publisher = create_image_publisher(self, Image, BLOCKS_OVERLAY)
        self.frames = FramePublisher(self)
        self.frame_names = load_parameters(self, CameraNamesConfig)
        if config.publish_camera:
            self.publish_camera()
        names = RobotNames.of(self.robot, self.frame_names, self.get_namespace())
        self.read_joints, self.joint_history = ArmJoints(names.joint_names), JointHistory()
        self.last_joint_stamp = -1
        self.create_subscription(JointState, JOINT_STATES, self.on_joint_state, qos)
        lockstep = config.lockstep
        create_image_subscription(self, CameraInfo, CAMERA_INFO, self.on_camera_info, lockstep)
        subscribe_images(self, self.on_image, config.image_transport, lockstep)

    def publish_camera(self) -> None:
        """Publish the pose of the camera in the frame of the arm's base, or of its tool."""
        scene, robot = self.scene, self.robot
        pose = arrays_to_pose(*_position_and_quaternion(scene.camera.T_base_camera))
        parent = robot.tip_link if scene.camera_on_hand else robot.base_link
        frame = self.frame_names.frame(parent)
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=frame)
        camera = self.frame_names.image_frame
        self.frames.publish_static([pose_to_transform(pose, camera, header)])

    def on_camera_info(self, message: CameraInfo) -> None:
        """Create the detector for the intrinsics of the camera."""
        last, message.header = self.camera_info, Header()
        if last is not None and last == message:
            return
        intrinsics = message_to_intrinsics(message)
        self.camera_info = message
        self.detector = BlockDetector(self.detector_config, intrinsics)
        self.tracker = BlockTracker(self.detector)
        if self.pending_image is not None:
            image, self.pending_image = self.pending_image, None
            self.on_image(*image)

    def on_joint_state(self, message: JointState) -> None:
        """Store the joint positions, to know where a block in the gripper has moved."""
        values = self.read_joints(message)
        if values is None or not np.isfinite(values.position).all():
            return
        if values.stamp < self.last_joint_stamp:  # the simulation was reset
            self.joint_history = JointHistory()
        self.last_joint_stamp = values.stamp
        self.joint_history.add(values.stamp, values.position)

    def camera_frames(self, stamp: int) -> CameraFrames:
        """Return where the arm was at a stamp [ns], as far as it is known."""
        q = self.joint_history.at(stamp)
        if q is None:
            return CameraFrames()
        T_base_tool = self.robot.forward_kinematics(q)
        scene = self.scene.seen_from(T_base_tool) if self.scene.camera_on_hand else self.scene
        T_camera_base = invert_transform(scene.camera.T_base_camera)
        return CameraFrames(T_camera_base, T_camera_base @ T_base_tool)

    def on_image(self, image: Channels, header: Header) -> None:
        """Detect the blocks in an image."""
        if self.detector is None or self.tracker is None:
            self.pending_image = image, header
            self.hold("no camera_info on /camera/camera_info; publish it with the images")
            return
        check_size(self.detector.intrinsics, (image.shape[1], image.shape[0]))
        frames = self.camera_frames(to_nanoseconds(header.stamp))
        detection = self.tracker.update(image, to_seconds(header.stamp), frames)
        poses = detection.poses
        self.hold(detection.describe_problem(self.detector_config))
        for pose in poses:
            self.publish_pose(pose, header)
        self.publish_markers(detection, header)
        if self.overlay_publisher.get_subscription_count():
            overlay = self.detector.draw(image, poses)
            self.overlay_publisher.publish(
                image_to_message(overlay, header.stamp, header.frame_id)
            )

    def publish_pose(self, pose: BlockPose, header: Header) -> None:
        """Publish the pose of a block on its topic, and as a frame."""
        parts = _position_and_quaternion(pose.T_camera_block)
        message = block_to_message(*parts, pose.covariance, header)
        self.pose_publishers[pose.block_id].publish(message)
        child = self.frame_names.frame(f"block_{pose.block_id}")
        self.frames.publish([pose_to_transform(message.pose.pose, child, header)])

    def publish_markers(self, detection: DetectionResult, header: Header) -> None:
        """Publish markers: one that clears the display, then the blocks of the image.

        A block whose id was detected twice has no pose; its marker is a text with this reason.
        """
        markers = [Marker(header=header, action=Marker.DELETEALL)]
        for block in detection.duplicate_ids:
            text = Marker(header=header, ns=REJECTED, id=block, type=Marker.TEXT_VIEW_FACING)
            text.text, text.pose.position.z = describe_duplicate(block), TEXT_DISTANCE
            text.scale.z = self.detector_config.block_size / 2
            text.color.r = text.color.a = 1.0
            markers.append(text)
        for pose in detection.poses:
            marker = Marker(header=header, ns="blocks", id=pose.block_id, type=Marker.CUBE)
            marker.pose = arrays_to_pose(*_position_and_quaternion(pose.T_camera_block))
            marker.scale.x = marker.scale.y = marker.scale.z = self.detector_config.block_size
            marker.color.r, marker.color.g, marker.color.a = 1.0, 0.6, 0.8
            markers.append(marker)
        self.marker_publisher.publish(MarkerArray(markers=markers))


def _position_and_quaternion(T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return T[:3, 3], Rotation.from_matrix(T[:3, :3]).as_quat()


def main() -> None:
    """Run the node."""
    run(BlocksNode)


if __name__ == "__main__":
    main()
