"""Hand-eye recorder node: records joint states and marker poses and reports missing poses."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from pydantic import NonNegativeInt, PositiveFloat
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from invdyn_ros.config import RECONFIGURABLE, Validated
from invdyn_ros.graph.topics import JOINT_STATES, block_topic
from invdyn_ros.nodes.bag import BagWriter
from invdyn_ros.nodes.joint_states import ArmJoints, check_positions
from invdyn_ros.nodes.messages import pose_to_arrays, to_seconds
from invdyn_ros.nodes.node_loop import Spin
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.runner import DiagnosticNode, NodeFinished, load_parameters, run
from invdyn_ros.perception.hand_eye.pose_diversity import PoseDiversity
from invdyn_ros.perception.hand_eye.static_poses import (
    HandEyeStreams,
    StaticPoseConfig,
    find_static_poses,
)
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import quaternion_pose

SENSOR_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
UPDATE_PERIOD = 0.5  # [s] between two evaluations of the recorded poses
JOINT_STATE_PERIOD = 0.01  # [s] between joint states that are evaluated; all are recorded
NO_DATA_TIMEOUT = 5.0  # [s] without a message, after which the node reports the topic


@dataclass(frozen=True)
class HandEyeRecorderNodeConfig(Validated):
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of an arm of a user.
        marker_topic: topic of the marker's poses in the camera's frame.
        joint_states_topic: topic of the joint states.
        record: new directory of the rosbag2 recording to write.
        num_poses: number of poses after which the node ends; 0: record until interrupted.
        max_joint_velocity: see `StaticPoseConfig`.
        settling_time: see `StaticPoseConfig`.
        merge_tolerance: see `StaticPoseConfig`.
    """

    arm: str = "ur5"
    marker_topic: str = block_topic(0)
    joint_states_topic: str = JOINT_STATES
    record: str = "calibration"
    num_poses: NonNegativeInt = field(default=0, metadata=RECONFIGURABLE)
    max_joint_velocity: PositiveFloat = field(
        default=StaticPoseConfig.max_joint_velocity, metadata=RECONFIGURABLE
    )
    settling_time: PositiveFloat = field(
        default=StaticPoseConfig.settling_time, metadata=RECONFIGURABLE
    )
    merge_tolerance: PositiveFloat = field(
        default=StaticPoseConfig.merge_tolerance, metadata=RECONFIGURABLE
    )


class HandEyeRecorderNode(DiagnosticNode):
    """Record the data of a hand-eye calibration and count the static poses of the arm."""

    def __init__(self) -> None:
        super().__init__("hand_eye_recorder")
        config = load_parameters(self, HandEyeRecorderNodeConfig, self.reconfigure)
        self.reconfigure(config)
        self.robot = load_robot(config.arm)
        self.names = RobotNames.of(
            self.robot, load_parameters(self, NamesConfig), self.get_namespace()
        )
        self.joints = ArmJoints(self.names.joint_names)
        self.bag = BagWriter(Path(config.record), node=self)
        self.states: list[tuple[float, np.ndarray]] = []
        self.detections: list[tuple[float, np.ndarray, np.ndarray]] = []
        self.num_poses = 0
        self.start_time = self.last_update = time.monotonic()
        self.record_topic(config.joint_states_topic, JointState, self.on_joint_state)
        self.record_topic(config.marker_topic, PoseWithCovarianceStamped, self.on_marker)
        self.get_logger().info("move the arm from pose to pose and stop at each; end with Ctrl-C")

    def reconfigure(self, config: HandEyeRecorderNodeConfig) -> None:
        """Change what a static pose is, and how many are wanted."""
        self.config = config
        self.static_pose_config = StaticPoseConfig(
            config.max_joint_velocity, config.settling_time, config.merge_tolerance
        )

    def record_topic(self, topic: str, message_type: Any, callback: Callable[[Any], None]) -> None:
        """Record the messages of a topic and call a function with each.

        Args:
            topic: name of the topic.
            message_type: class of its messages.
            callback: called with each message.
        """

        def on_raw(raw: bytes) -> None:
            callback(deserialize_message(raw, message_type))
            self.bag.write(topic, message_type, time.time_ns(), raw)

        self.create_subscription(message_type, topic, on_raw, SENSOR_QOS, is_input=True, raw=True)

    def on_joint_state(self, message: JointState) -> None:
        """Store a joint state; those of other devices, such as a gripper, are ignored."""
        if not set(self.names.joint_names) & set(message.name):
            return
        values = self.joints(message)
        if values is not None:
            stamp, q = 1e-9 * values.stamp, check_positions(values.position)
            if not self.states or abs(stamp - self.states[-1][0]) >= JOINT_STATE_PERIOD:
                self.states.append((stamp, q))

    def on_marker(self, message: PoseWithCovarianceStamped) -> None:
        """Store a detection of the marker."""
        covariance = np.array(message.pose.covariance).reshape(6, 6)
        T = quaternion_pose(*pose_to_arrays(message.pose.pose))
        self.detections.append((to_seconds(message.header.stamp), T, covariance))

    def step(self, spin: Spin) -> None:
        """Process messages and evaluate the recorded poses periodically."""
        spin(0.1)
        if time.monotonic() - self.last_update > UPDATE_PERIOD:
            self.last_update = time.monotonic()
            self.update()

    def update(self) -> None:
        """Count the poses, log which poses are missing, and end when there are enough."""
        if not self.states or not self.detections:
            if self.last_update - self.start_time > NO_DATA_TIMEOUT:
                config = self.config
                missing = config.marker_topic if self.states else config.joint_states_topic
                self.hold(f"nothing on {self.resolve_topic_name(missing)} yet")
            return
        self.hold(None)
        columns = (*zip(*self.states, strict=True), *zip(*self.detections, strict=True))
        streams = HandEyeStreams(*map(np.array, columns))
        pairs = find_static_poses(streams, self.robot, self.static_pose_config).pairs
        if len(pairs) <= self.num_poses:
            return
        self.num_poses = len(pairs)
        diversity = PoseDiversity.from_poses(pairs.T_base_tool)
        advice = diversity.advice() or "enough; more poses reduce the error"
        self.get_logger().info(f"pose {self.num_poses}: {diversity}; {advice}")
        if 0 < self.config.num_poses <= diversity.num_poses:
            raise NodeFinished

    def close(self) -> None:
        """Finish the recording, however the node ends."""
        self.bag.close()


def main() -> None:
    """Run the node."""
    run(HandEyeRecorderNode)


if __name__ == "__main__":
    main()
