"""Everything that a run publishes in; a report, a rosbag2 recording and pictures of it out."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState, PointCloud2, TimeReference
from std_msgs.msg import Empty, Float64MultiArray
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.arms.pybullet_scene import nominal_scene
from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation.grasp_report import grasp_report
from invdyn_ros.evaluation.teleop_report import teleop_report
from invdyn_ros.graph.shipped_weights import SHIPPED_POLICIES
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.nodes.bag import BagWriter
from invdyn_ros.nodes.messages import newest
from invdyn_ros.nodes.recordings import Kept, recordings
from invdyn_ros.nodes.runner import DiagnosticNode, NodeFinished, Spin, load_parameters, run
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

RELIABLE_QOS = QoSProfile(depth=2000)  # a reader that falls behind for a moment must lose nothing
BEST_EFFORT_QOS = QoSProfile(depth=2000, reliability=ReliabilityPolicy.BEST_EFFORT)
NUM_VIDEO_EPISODES = 2  # episodes whose images are kept for the video
VIDEO_END_TIMEOUT = 2.0  # [s] without an image after the video's end


@dataclass(frozen=True)
class ReportNodeConfig:
    """Parameters of the node.

    Attributes:
        graph: teleop or grasp_sim.
        arm: name of the arm.
        checkpoint: directory or .onnx file of the model that drives it.
        report: file to write; empty writes none.
        record: directory of a rosbag2 recording to write; empty writes none.
        duration: end after so many seconds; zero: no limit.
        video: video file that drives teleop; the run ends with it.
        side: arm of the person that is followed.
        lockstep: time is simulated time.
        policy: what decides in grasp_sim.
        noise: level of noise.
        seed: seed of the run.
        episodes: how many episodes make up the run.
        block_pose_model: folder of the network that sees the block; empty: its markers are seen.
        camera_pose: file of the calibrated camera, as the grasp has it.
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
    """Keep serialized messages while the run lasts; convert and judge them when it is over."""

    def __init__(self) -> None:
        super().__init__("report")
        self.config = config = load_parameters(self, ReportNodeConfig)
        self.robot = load_robot(config.arm)
        self.model = load_runtime(config.checkpoint, "cpu", self.robot)
        self.topics: Kept = {}
        self.bag = BagWriter(Path(config.record)) if config.record else None
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
            self.record("/pose/landmarks", PointCloud2, self.on_image)
            if config.report:
                self.record("/pose/overlay", Image, qos=newest(False))
        else:
            self.record("/sim/objects", PoseArray)
            self.record("/blocks/block_0", PoseWithCovarianceStamped)
            self.record("/gripper/command", Float64MultiArray)
            if config.report:
                self.overlay = self.record("/blocks/overlay", Image, qos=newest(False))

    def record(
        self,
        topic: str,
        kind: Any,
        also: Callable[[bytes], None] | None = None,
        qos: QoSProfile | None = None,
    ) -> Any:
        """Keep all messages of a topic."""
        kept: list[bytes] = []
        self.topics[topic] = (kind, kept)

        def keep(raw: bytes) -> None:
            kept.append(raw)
            if self.bag is not None:
                self.bag.write(topic, kind, time.time_ns(), raw)
            if also is not None:
                also(raw)

        qos = qos or (RELIABLE_QOS if self.config.lockstep else BEST_EFFORT_QOS)
        return self.create_subscription(kind, topic, keep, qos, raw=True)

    def publish_ready(self) -> None:
        """Show a topic once every other is heard: who waits for it starts with nothing missed."""
        kept = [s for s in self.subscriptions if s.topic_name in self.topics]
        self.ready = all(subscription.get_publisher_count() for subscription in kept)
        if self.ready:
            self.create_publisher(Empty, "/report/ready", RELIABLE_QOS)
            self.create_subscription(Empty, "/report/ready", lambda _: None, RELIABLE_QOS)

    def on_joint_state(self, raw: bytes) -> None:
        """Count the resets of the simulation: time that runs backwards."""
        # The stamp comes first in the CDR encoding, after four bytes that say its kind.
        sec, nanosec = np.frombuffer(raw[4:12], "<i4")
        stamp = int(sec) * 10**9 + int(nanosec)
        if self.start_time is None:
            self.start_time = time.monotonic()
        if stamp < self.last_stamp:
            self.resets += 1
            if (
                self.resets == NUM_VIDEO_EPISODES
                and self.config.graph == "grasp_sim"
                and self.config.report
            ):
                self.destroy_subscription(self.overlay)
            if self.config.graph == "grasp_sim":
                self.get_logger().info(f"episode {self.resets} of {self.config.episodes} is over")
        self.last_stamp = stamp

    def on_image(self, _: bytes) -> None:
        """Note that the source still gives images."""
        self.last_image_time = time.monotonic()

    def step(self, spin: Spin) -> None:
        """Gather until the run is over, then write."""
        spin(0.2)
        if not self.ready:
            self.publish_ready()
        if self.is_finished():
            self.pause_simulation(spin)
            self.write_report()
            raise NodeFinished

    def pause_simulation(self, spin: Spin) -> None:
        """Stop a simulated arm, whose processor the pictures need; a real one is not ours."""
        if self.pause_client.service_is_ready():
            asked = self.pause_client.call_async(SetBool.Request(data=True))
            while not asked.done() and self.pause_client.service_is_ready():
                spin(0.2)

    def close(self) -> None:
        """Finish the recording; an interrupted run leaves one too."""
        bag, self.bag = self.bag, None
        if bag is not None:
            bag.close()

    def is_finished(self) -> bool:
        """Say whether the run is over."""
        config = self.config
        if self.start_time is None:
            return False
        if config.duration > 0:
            simulated = self.last_stamp * 1e-9 if config.lockstep else 0.0
            if (
                max(simulated, (time.monotonic() - self.start_time) * (not config.lockstep))
                > config.duration
            ):
                return True
        if config.graph == "grasp_sim":
            return self.resets >= config.episodes
        quiet = (
            self.last_image_time is not None
            and time.monotonic() - self.last_image_time > VIDEO_END_TIMEOUT
        )
        return bool(config.video) and quiet

    def write_report(self) -> None:
        """Write the report, the recording and the pictures."""
        config = self.config
        self.close()
        if not config.report:
            return
        made = recordings(self.topics, self.robot, latency=not config.lockstep)
        episodes = made[: config.episodes]  # the next one has begun meanwhile
        unit = self.model.meta.action_unit
        about = {"arm": config.arm, "checkpoint": config.checkpoint, "lockstep": config.lockstep}
        file = Path(config.report)
        file.parent.mkdir(parents=True, exist_ok=True)
        if config.graph == "grasp_sim":
            scene = nominal_scene(config.arm, config.camera_pose)
            about |= {"policy": config.policy, "noise": config.noise, "seed": config.seed}
            if config.block_pose_model:
                about |= {"block_pose_model": config.block_pose_model}
            script = self.scripted_baseline(episodes)
            result = grasp_report(episodes, self.robot, scene, unit, about, script)
        else:
            result = teleop_report(episodes[0], self.robot, self.model, config.side, about)
        file.write_text(json.dumps(result, indent=2) + "\n")
        self.get_logger().info(f"wrote {file}; now the pictures")
        self.write_plots(episodes, result, file)

    def scripted_baseline(self, episodes: list[Recording]) -> list[bool] | None:
        """Return where the script succeeds in the same episodes, where a simulation can tell."""
        config = self.config
        simulated = all(episode.block_poses for episode in episodes)
        if config.policy not in SHIPPED_POLICIES or not simulated or config.camera_pose:
            return None
        from invdyn_ros.grasp.envs.scripted_baseline import (
            scripted_successes,  # a simulation: only where wanted
        )

        self.get_logger().info(f"now the script, in the same {len(episodes)} episodes")
        run = config.arm, config.noise, config.seed, len(episodes)
        return scripted_successes(*run, config.checkpoint, config.block_pose_model)

    def write_plots(self, episodes: list[Recording], result: dict[str, Any], file: Path) -> None:
        """Draw video and summary beside the report."""
        from invdyn_ros.evaluation import plots as plot  # matplotlib takes a second to import

        if self.config.graph == "grasp_sim":
            scene = replace(load_scene(self.config.arm), marked=not self.config.block_pose_model)
            plot.grasp_video(
                episodes[:NUM_VIDEO_EPISODES], self.robot, scene, file.parent / "grasp.mp4"
            )
            plot.grasp_summary(episodes, self.robot, scene, result, file.parent / "summary.png")
        else:
            plot.teleop_video(episodes[0], self.robot, file.parent / "teleop.mp4")
            plot.teleop_summary(episodes[0], self.robot, result, file.parent / "summary.png")
        self.get_logger().info(f"wrote the pictures in {file.parent}")


def main() -> None:
    """Run the node."""
    run(ReportNode)


if __name__ == "__main__":
    main()
