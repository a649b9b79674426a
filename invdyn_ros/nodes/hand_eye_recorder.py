"""Joint states and a marker's poses in; a recording of both, and what is still missing, out."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from invdyn_ros.nodes.bag import BagWriter
from invdyn_ros.nodes.joint_states import joints_by_name
from invdyn_ros.nodes.messages import pose_to_arrays, to_seconds
from invdyn_ros.nodes.runner import DiagnosticNode, NodeFinished, Spin, load_parameters, run
from invdyn_ros.perception.hand_eye.pose_diversity import PoseDiversity
from invdyn_ros.perception.hand_eye.static_poses import (
    HandEyeStreams,
    StaticPoseConfig,
    find_static_poses,
)
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import quaternion_pose

SENSORS = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
PERIOD = 0.5  # [s] between looks at what was gathered
SPARSE = 0.01  # [s] between joint states that are looked at; all are recorded
PATIENCE = 5.0  # [s] without a message, after which the node says what it waits for


@dataclass(frozen=True)
class HandEyeRecorderConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm.
        marker: topic of the marker's poses in the camera's frame.
        joints: topic of the joint states.
        record: new directory of the rosbag2 recording to write.
        poses: end after so many poses; zero: when interrupted.
        max_joint_velocity: see `RestConfig`; so the next two.
        settling_time: see there.
        merge_tolerance: see there.
    """

    arm: str = "ur5"
    marker: str = "/blocks/block_0"
    joints: str = "/joint_states"
    record: str = "calibration"
    poses: int = 0
    max_joint_velocity: float = StaticPoseConfig.max_joint_velocity
    settling_time: float = StaticPoseConfig.settling_time
    merge_tolerance: float = StaticPoseConfig.merge_tolerance


class HandEyeRecorderNode(DiagnosticNode):
    """Record what a calibration needs and count the poses in which the arm rested."""

    def __init__(self) -> None:
        super().__init__("hand_eye_recorder")
        self.config = config = load_parameters(self, HandEyeRecorderConfig)
        self.rest = StaticPoseConfig(
            config.max_joint_velocity, config.settling_time, config.merge_tolerance
        )
        self.robot = load_robot(config.arm)
        self.bag = BagWriter(Path(config.record))
        self.states: list[tuple[float, np.ndarray]] = []
        self.sightings: list[tuple[float, np.ndarray, np.ndarray]] = []
        self.counted = 0
        self.began = self.looked = time.monotonic()
        self.listen(config.joints, JointState, self.on_joints)
        self.listen(config.marker, PoseWithCovarianceStamped, self.on_marker)
        self.get_logger().info("move the arm from pose to pose and let it rest; Ctrl-C ends")

    def listen(self, topic: str, kind: Any, take: Callable[[Any], None]) -> None:
        """Record a topic as it comes, and take its messages."""

        def keep(raw: bytes) -> None:
            take(deserialize_message(raw, kind))
            self.bag.write(topic, kind, time.time_ns(), raw)

        self.create_subscription(kind, topic, keep, SENSORS, raw=True)

    def on_joints(self, message: JointState) -> None:
        """Note a joint state; others, such as a gripper's, share the topic."""
        if set(self.robot.joint_names) <= set(message.name):
            stamp = to_seconds(message.header.stamp)
            q, _, _ = joints_by_name(message, self.robot.joint_names)
            if not self.states or abs(stamp - self.states[-1][0]) >= SPARSE:
                self.states.append((stamp, q))

    def on_marker(self, message: PoseWithCovarianceStamped) -> None:
        """Note a sighting of the marker."""
        covariance = np.array(message.pose.covariance).reshape(6, 6)
        T = quaternion_pose(*pose_to_arrays(message.pose.pose))
        self.sightings.append((to_seconds(message.header.stamp), T, covariance))

    def step(self, spin: Spin) -> None:
        """Listen, and look at what was gathered now and then."""
        spin(0.1)
        if time.monotonic() - self.looked > PERIOD:
            self.looked = time.monotonic()
            self.look()

    def look(self) -> None:
        """Count the poses, say what is missing, end when there are enough."""
        if not self.states or not self.sightings:
            if self.looked - self.began > PATIENCE:
                missing = self.config.marker if self.states else self.config.joints
                self.hold(f"nothing on {missing} yet")
            return
        self.hold(None)
        heard = (*zip(*self.states, strict=True), *zip(*self.sightings, strict=True))
        streams = HandEyeStreams(*map(np.array, heard))
        pairs = find_static_poses(streams, self.robot, self.rest).pairs
        if len(pairs) <= self.counted:
            return
        self.counted = len(pairs)
        found = PoseDiversity.from_poses(pairs.T_base_tool)
        advice = found.advice() or "enough; more make it better"
        self.get_logger().info(f"pose {self.counted}: {found}; {advice}")
        if 0 < self.config.poses <= found.num_poses:
            raise NodeFinished

    def close(self) -> None:
        """Finish the recording, however the node ends."""
        self.bag.close()


def main() -> None:
    """Run the node."""
    run(HandEyeRecorderNode)


if __name__ == "__main__":
    main()
