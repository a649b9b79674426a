"""Messages of a graph for the live window, the newest of each topic, converted when shown."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import (
    CameraInfo,
    Image,
    JointState,
    PointCloud2,
    TimeReference,
)
from visualization_msgs.msg import Marker, MarkerArray

from invdyn_ros.evaluation.live.live_image import (
    BlockAxes,
    encode_small_jpeg,
    live_image_message,
    project_axes,
)
from invdyn_ros.evaluation.live.live_state import LiveState
from invdyn_ros.graph.topics import (
    DESIRED_JOINT_STATE,
    IMAGE,
    JOINT_STATES,
    LANDMARKS,
    MARKERS,
    OBJECTS,
)
from invdyn_ros.nodes.camera_info import message_to_intrinsics
from invdyn_ros.nodes.images import image_to_array
from invdyn_ros.nodes.joint_states import UNMEASURED, ArmJoints, gripper_opening, joints_by_name
from invdyn_ros.nodes.messages import (
    REJECTED,
    cloud_to_landmarks,
    pose_to_arrays,
    to_nanoseconds,
    to_seconds,
)
from invdyn_ros.nodes.recordings import serialized_stamp
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.nodes.statuses import own_statuses
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.robots.scene import Scene, quaternion_pose

IMAGE_COLUMNS = [4, 5, 3]  # of landmarks: position in the image and visibility
MAX_IMAGES = 6  # that wait for what is detected in them
DETECTION_TIMEOUT = 0.5  # [s] after which an image is shown without


class ViewTopics:
    """Converter of the messages of a graph to what the live window shows.

    Joint states and images are stored as they arrive, up to hundreds per second, and only those
    that are shown are converted.

    Attributes:
        state: what the page shows.
    """

    def __init__(self, names: RobotNames, scene: Scene | None, state: LiveState) -> None:
        """Create a converter.

        Args:
            names: names of joints and frames.
            scene: size of the blocks and pose of the camera; None without blocks.
            state: updated by the messages.
        """
        self.names, self.scene, self.state = names, scene, state
        self._joints = ArmJoints(names.joint_names)
        self._raw: dict[str, bytes] = {}
        self._images: dict[int, tuple[float, bytes]] = {}  # stamp [ns] -> arrival [s], message
        self._detections: dict[int, Any] = {}  # stamp [ns] -> landmarks or markers
        self._intrinsics: CameraIntrinsics | None = None

    def store(self, topic: str, raw: bytes) -> None:
        """Store a message of a topic until it is shown."""
        self.state.count(topic)
        self._raw[topic] = raw

    def store_image(self, raw: bytes) -> None:
        """Store an image until what is detected in it arrives."""
        self.state.count(IMAGE)
        self._images[serialized_stamp(raw)] = (time.monotonic(), raw)
        _keep_newest(self._images)

    def on_landmarks(self, message: PointCloud2) -> None:
        """Store the landmarks of an image."""
        self.state.count(LANDMARKS)
        self._detections[to_nanoseconds(message.header.stamp)] = cloud_to_landmarks(message)
        _keep_newest(self._detections)

    def on_markers(self, message: MarkerArray) -> None:
        """Store the poses of the blocks in an image."""
        self.state.count(MARKERS)
        if message.markers:
            stamp = to_nanoseconds(message.markers[0].header.stamp)
            self._detections[stamp] = message
            _keep_newest(self._detections)

    def on_camera_info(self, message: CameraInfo) -> None:
        """Store the intrinsics of the camera."""
        self._intrinsics = message_to_intrinsics(message)

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        """Store the state of a node."""
        for status in own_statuses(message, self.names.namespace):
            level = ord(status.level) if isinstance(status.level, bytes) else int(status.level)
            self.state.add_status(status.name, level, status.message, time.monotonic())

    def on_timing(self, message: TimeReference) -> None:
        """Store the time from an image to its command."""
        if message.source == "command":
            latency = to_seconds(message.time_ref) - to_seconds(message.header.stamp)
            self.state.add_latency(latency)

    def update_state(self) -> None:
        """Convert the newest messages.

        Raises:
            ForeignMessage: a message cannot be used.
        """
        while self._raw:
            topic, raw = self._raw.popitem()
            if topic == JOINT_STATES:
                self._read_joints(deserialize_message(raw, JointState))
            elif topic == DESIRED_JOINT_STATE:
                message = deserialize_message(raw, JointState)
                q, qd, _ = joints_by_name(message, self.names.joint_names)
                self.state.set_desired(to_seconds(message.header.stamp), q, qd)
            elif topic == OBJECTS:
                self._read_objects(raw)

    def take_image(self) -> bytes | None:
        """Return the newest image with what was detected in it, for a page; None if there is none.

        Raises:
            ForeignMessage: the image cannot be used.
        """
        ready = [stamp for stamp in self._images if stamp in self._detections]
        if not ready:
            late = time.monotonic() - DETECTION_TIMEOUT
            ready = [stamp for stamp, (arrival, _) in self._images.items() if arrival < late]
        if not ready:
            return None
        stamp = ready[-1]  # the newest, in the order of arrival
        _, raw = self._images[stamp]
        for waiting in [*self._images]:
            del self._images[waiting]
            if waiting == stamp:
                break
        detection = self._detections.get(stamp)
        landmarks, blocks = None, []
        if isinstance(detection, MarkerArray):
            blocks = self._block_axes(detection)
        elif detection is not None and detection.shape[1] > max(IMAGE_COLUMNS):
            landmarks = detection[:, IMAGE_COLUMNS]
        jpeg = encode_small_jpeg(image_to_array(deserialize_message(raw, Image)))
        return live_image_message(jpeg, stamp * 1e-9, landmarks, blocks)

    def _read_joints(self, message: JointState) -> None:
        state, joints, fingers = self.state, self.names.joint_names, set(self.names.finger_names)
        received = set(message.name)
        if fingers and fingers <= received:
            state.opening = gripper_opening(message, self.names)
        if fingers and not received & set(joints):
            return  # the gripper's own message
        values = self._joints(message)
        if values is None:
            return
        finite = bool(np.isfinite(values.velocity).all())
        state.q, state.qd = values.position, values.velocity if finite else UNMEASURED
        state.stamp = 1e-9 * values.stamp

    def _read_objects(self, raw: bytes) -> None:
        from geometry_msgs.msg import PoseArray

        poses = deserialize_message(raw, PoseArray).poses
        self.state.blocks = [quaternion_pose(*pose_to_arrays(pose)) for pose in poses]

    def _block_axes(self, message: MarkerArray) -> list[BlockAxes]:
        if self._intrinsics is None or self.scene is None or not self._intrinsics.height:
            return []
        axes = []
        for marker in message.markers:
            if marker.type != Marker.CUBE or marker.action != Marker.ADD or marker.ns == REJECTED:
                continue
            T = quaternion_pose(*pose_to_arrays(marker.pose))
            if marker.header.frame_id == self.names.base_link:
                T = np.linalg.inv(self.scene.camera.T_base_camera) @ T
            points = project_axes(T, self.scene.block_size, self._intrinsics)
            if points is not None:
                axes.append(BlockAxes(int(marker.id), points))
        return axes


def _keep_newest(items: dict[int, Any]) -> None:
    while len(items) > MAX_IMAGES:
        del items[next(iter(items))]
