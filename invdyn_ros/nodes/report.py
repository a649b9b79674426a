"""Report node: records the messages of a run and writes a report, plots and a rosbag2 file."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState, PointCloud2, TimeReference
from std_msgs.msg import Empty, Float64MultiArray
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.nodes.messages import latest_qos
from invdyn_ros.nodes.runner import DiagnosticNode, NodeFinished, Spin, load_parameters, run
from invdyn_ros.robots.robot import load_robot

if TYPE_CHECKING:
    from invdyn_ros.nodes.recordings import RawMessages

RELIABLE_QOS = QoSProfile(depth=2000)  # deep: a reader that falls behind loses no message
BEST_EFFORT_QOS = QoSProfile(depth=2000, reliability=ReliabilityPolicy.BEST_EFFORT)
NUM_VIDEO_EPISODES = 2  # first episodes of grasp_sim, whose images are recorded for the video
VIDEO_END_TIMEOUT = 2.0  # [s] without an image after which a video has ended


@dataclass(frozen=True)
class ReportNodeConfig:
    """Parameters of the node.

    Attributes:
        graph: teleop or grasp_sim.
        arm: name of the arm.
        checkpoint: folder or .onnx file of the inverse-dynamics model.
        report: JSON file to write; empty: none.
        record: directory of a rosbag2 recording to write; empty: none.
        duration: end of the run [s], of simulated time in lockstep; zero: no limit.
        video: video file of teleop, at whose end the run ends.
        side: arm of the person that is followed, left or right.
        lockstep: whether stamps are of simulated time.
        policy: policy of grasp_sim.
        noise: domain randomization level of the simulation.
        seed: seed of the run.
        episodes: number of episodes of the run.
        block_pose_model: folder of the block pose network; empty: blocks have markers.
        camera_pose: file of the calibrated camera; empty: the simulated camera's pose.
    """

    graph: str = "teleop"
    arm: str = "ur5"
    checkpoint: str = ""
    report: str = ""
    record: str = ""
    duration: float = 0.0
    video: str = ""
    side: str = "left"
    lockstep: bool = False
    policy: str = "scripted"
    noise: str = "default"
    seed: int = 0
    episodes: int = 1
    block_pose_model: str = ""
    camera_pose: str = ""


class ReportNode(DiagnosticNode):
    """Record serialized messages until the run is over, then write the report."""

    def __init__(self) -> None:
        super().__init__("report")
        self.config = config = load_parameters(self, ReportNodeConfig)
        self.robot = load_robot(config.arm)
        self.messages: RawMessages = {}
        self.bag = None
        if config.record:
            from invdyn_ros.nodes.bag import BagWriter  # slow to import

            self.bag = BagWriter(Path(config.record))
        self.start_time: float | None = None
        self.last_image_time: float | None = None
        self.resets = 0
        self.last_stamp = -1
        self.ready = False
        self.pause_client = self.create_client(SetBool, "/sim/pause")
        self.record("/joint_states", JointState, self.on_joint_state)
        self.record("/inverse_dynamics/desired_joint_state", JointState)
        self.record("/joint_target", JointTrajectory)
        self.record("/diagnostics", DiagnosticArray)
        if config.graph == "teleop":
            self.record("/timing", TimeReference)
            self.record("/pose/landmarks", PointCloud2, self.on_landmarks)
            if config.report:
                self.record("/pose/overlay", Image, qos=latest_qos(False))
        else:
            self.record("/sim/objects", PoseArray)
            self.record("/blocks/block_0", PoseWithCovarianceStamped)
            self.record("/gripper/command", Float64MultiArray)
            if config.report:
                self.overlay_subscription = self.record(
                    "/blocks/overlay", Image, qos=latest_qos(False)
                )

    def record(
        self,
        topic: str,
        msg_type: Any,
        callback: Callable[[bytes], None] | None = None,
        qos: QoSProfile | None = None,
    ) -> Any:
        """Record the serialized messages of a topic.

        Args:
            topic: name of the topic.
            msg_type: class of its messages.
            callback: also called with each message.
            qos: by default reliable in lockstep, else best effort.

        Returns:
            The subscription.
        """
        recorded: list[bytes] = []
        self.messages[topic] = (msg_type, recorded)

        def on_message(raw: bytes) -> None:
            recorded.append(raw)
            if self.bag is not None:
                self.bag.write(topic, msg_type, time.time_ns(), raw)
            if callback is not None:
                callback(raw)

        qos = qos or (RELIABLE_QOS if self.config.lockstep else BEST_EFFORT_QOS)
        return self.create_subscription(msg_type, topic, on_message, qos, raw=True)

    def publish_ready(self) -> None:
        """Advertise /report/ready once every recorded topic has a publisher.

        Nodes with the parameter `wait_for_topics` wait for it, so that every message is recorded.
        """
        recorded = [s for s in self.subscriptions if s.topic_name in self.messages]
        self.ready = all(subscription.get_publisher_count() for subscription in recorded)
        if self.ready:
            self.create_publisher(Empty, "/report/ready", RELIABLE_QOS)
            self.create_subscription(Empty, "/report/ready", lambda _: None, RELIABLE_QOS)

    def on_joint_state(self, raw: bytes) -> None:
        """Detect a reset of the simulation, at which its time restarts."""
        # the stamp comes first in the CDR encoding, after four bytes that name the encoding
        sec, nanosec = np.frombuffer(raw[4:12], "<i4")
        stamp = int(sec) * 10**9 + int(nanosec)
        if self.start_time is None:
            self.start_time = time.monotonic()
        if stamp < self.last_stamp:
            self.on_reset()
        self.last_stamp = stamp

    def on_reset(self) -> None:
        """Count an episode of grasp_sim."""
        self.resets += 1
        if self.config.graph != "grasp_sim":
            return
        if self.resets == NUM_VIDEO_EPISODES and self.config.report:
            self.destroy_subscription(self.overlay_subscription)
        self.get_logger().info(f"episode {self.resets} of {self.config.episodes} is over")

    def on_landmarks(self, _: bytes) -> None:
        """Store the time of the last image."""
        self.last_image_time = time.monotonic()

    def step(self, spin: Spin) -> None:
        """Record until the run is over, then write the report and finish."""
        spin(0.2)
        if not self.ready:
            self.publish_ready()
        if self.is_finished():
            self.pause_simulation(spin)
            self.close()
            self.write_report()
            raise NodeFinished

    def pause_simulation(self, spin: Spin) -> None:
        """Pause a simulated arm, because the plots need the CPU; a real arm is not paused."""
        if self.pause_client.service_is_ready():
            response = self.pause_client.call_async(SetBool.Request(data=True))
            while not response.done() and self.pause_client.service_is_ready():
                spin(0.2)

    def close(self) -> None:
        """Close the rosbag2 recording, also of an interrupted run."""
        bag, self.bag = self.bag, None
        if bag is not None:
            bag.close()

    def is_finished(self) -> bool:
        """Return whether the run is over."""
        config = self.config
        if self.start_time is None:
            return False
        elapsed = time.monotonic() - self.start_time
        if config.duration > 0:
            run_time = self.last_stamp * 1e-9 if config.lockstep else elapsed
            if run_time > config.duration:
                return True
        if config.graph == "grasp_sim":
            return self.resets >= config.episodes
        return bool(config.video) and (
            self.last_image_time is not None
            and time.monotonic() - self.last_image_time > VIDEO_END_TIMEOUT
        )

    def write_report(self) -> None:
        """Write the report and the plots, if a file for them is given."""
        if self.config.report:
            from invdyn_ros.nodes.run_report import write_run_report  # slow to import

            write_run_report(self.config, self.robot, self.messages, self.get_logger().info)


def main() -> None:
    """Run the node."""
    run(ReportNode)


if __name__ == "__main__":
    main()
