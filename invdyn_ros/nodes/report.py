"""Report node: records the messages of a run and writes a report, plots and a rosbag2 file."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Empty
from std_srvs.srv import SetBool

from invdyn_ros.graph.extras import missing_module
from invdyn_ros.graph.topics import (
    EPISODE,
    IMAGE,
    JOINT_STATES,
    LANDMARKS,
    PAUSE,
    REPORT_READY,
)
from invdyn_ros.nodes.frames import LATCHED_QOS
from invdyn_ros.nodes.messages import latest_qos
from invdyn_ros.nodes.node_loop import Spin
from invdyn_ros.nodes.recordings import episode_status, is_restart, names_joint, serialized_stamp
from invdyn_ros.nodes.report_config import ReportNodeConfig
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.run_end import mute_closed_output, read_end_reason
from invdyn_ros.nodes.run_recorder import RELIABLE_QOS, RunRecorder
from invdyn_ros.nodes.run_report import NUM_VIDEO_EPISODES, Parts, RunReport
from invdyn_ros.nodes.run_topics import LATCHED_TOPICS, OVERLAY_TOPICS, run_topics
from invdyn_ros.nodes.runner import DiagnosticNode, NodeFailed, NodeFinished, load_parameters, run
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

VIDEO_END_DELAY = 1.0  # [s] after the last landmarks, once the camera node has finished a video
MAX_DRAWING_TIME = 100  # [s] after the signal that ended a run; the launcher then kills the node
PAUSE_TIMEOUT = 2.0  # [s] for which to wait until the simulation pauses


class ReportNode(DiagnosticNode):
    """Record serialized messages until the run is over, then write the report.

    Attributes:
        end_reason: why the run is over; None while it is not.
        is_complete: whether it came to its end, and was not interrupted.
        skips_plots: whether to end after the report, without plots.
        failures: what could not be written, in words.
    """

    def __init__(self) -> None:
        super().__init__("report")
        self.config = config = load_parameters(self, ReportNodeConfig, self.reconfigure)
        self.robot = load_robot(config.arm)
        self.names = RobotNames.of(
            self.robot, load_parameters(self, NamesConfig), self.get_namespace()
        )
        self.recorder = RunRecorder(self, config, self.fail)
        self.end_reason: str | None = None
        self.is_complete = False
        self.skips_plots = self.is_drawing = False
        self.failures: list[str] = []
        self.start_time: float | None = None
        self.last_image_time = 0.0
        self.num_episodes = 0  # that are over
        self.last_stamp = -1
        self.ready = False
        self.pause_client = self.create_client(SetBool, PAUSE)
        callbacks = {
            JOINT_STATES: self.on_joint_state,
            LANDMARKS: self.on_landmarks,
            EPISODE: self.on_episode,
        }
        scene = load_scene(config.arm, config.blocks) if config.has_blocks else None
        for topic, msg_type in run_topics(config.graph, scene).items():
            qos = LATCHED_QOS if topic in LATCHED_TOPICS else None
            self.recorder.record(topic, msg_type, callbacks.get(topic), qos)
        self.recorder.record_to_bag_only()
        if config.report:
            overlay = OVERLAY_TOPICS.get(config.graph)
            qos = latest_qos(False)
            if overlay is not None:
                self.overlay_subscription = self.recorder.record(overlay, Image, qos=qos)

    def reconfigure(self, config: ReportNodeConfig) -> None:
        """Change when the run ends."""
        self.config = config

    def fail(self, failure: str) -> None:
        """Log and store what could not be written."""
        self.failures.append(failure)
        with suppress(OSError):  # the output may be closed
            self.get_logger().error(failure)

    def publish_ready(self) -> None:
        """Advertise report/ready once every recorded topic has a publisher.

        Nodes with the parameter `wait_for_topics` wait for it, so that every message is recorded.
        """
        self.ready = self.recorder.has_publishers()
        if self.ready:
            self.create_publisher(Empty, REPORT_READY, RELIABLE_QOS)
            self.create_subscription(Empty, REPORT_READY, lambda _: None, RELIABLE_QOS)

    def on_joint_state(self, raw: bytes) -> None:
        """Detect a reset of the simulation, at which its time restarts."""
        if not names_joint(raw, self.names.joint_names[0]):
            return  # of another device, whose stamps may be older
        stamp = serialized_stamp(raw)
        if self.start_time is None:
            self.start_time = time.monotonic()
        is_simulated = self.config.graph == "grasp_sim" and self.config.target == "sim"
        if is_simulated and is_restart(stamp, self.last_stamp):
            self.end_episode()
        self.last_stamp = stamp

    def on_episode(self, raw: bytes) -> None:
        """Count an episode of a real arm when its result comes."""
        if self.config.target == "sim":
            return
        with suppress(IndexError):  # a foreign message
            if episode_status(deserialize_message(raw, DiagnosticArray)).success is None:
                self.recorder.keep_images()
            else:
                self.end_episode()

    def end_episode(self) -> None:
        """Count an episode of grasp_sim."""
        self.num_episodes += 1
        if self.num_episodes == NUM_VIDEO_EPISODES and self.config.report:
            self.destroy_subscription(self.overlay_subscription)
        if limit := self.config.episodes:
            self.get_logger().info(f"episode {self.num_episodes} of {limit} is over")

    def on_landmarks(self, _: bytes) -> None:
        """Store the time of the last image."""
        self.last_image_time = time.monotonic()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """End the run; a second signal, or the end of MAX_DRAWING_TIME, skips the plots."""
        if self.end_reason is None:
            self.end_reason = read_end_reason() or signal.Signals(number).name
            signal.alarm(MAX_DRAWING_TIME)
        elif self.is_drawing:
            raise KeyboardInterrupt
        else:
            self.skips_plots = True

    def step(self, spin: Spin) -> None:
        """Record until the run is over, then write the report and finish."""
        spin(0.2)
        if not self.ready:
            self.publish_ready()
        if self.end_reason is None and (reason := self.completion()) is not None:
            self.end_reason, self.is_complete = reason, True
            self.pause_simulation(spin)
        if self.end_reason is not None:
            self.finish()

    def pause_simulation(self, spin: Spin) -> None:
        """Pause a simulated arm, because the plots need the CPU; a real arm is not paused."""
        if self.pause_client.service_is_ready():
            response = self.pause_client.call_async(SetBool.Request(data=True))
            deadline = time.monotonic() + PAUSE_TIMEOUT
            while not response.done() and time.monotonic() < deadline:
                spin(0.2)

    def completion(self) -> str | None:
        """Return why the run is complete; None if it is not."""
        config = self.config
        if self.start_time is None:
            return None
        elapsed = time.monotonic() - self.start_time
        run_time = self.last_stamp * 1e-9 if config.lockstep else elapsed
        if config.duration > 0 and run_time > config.duration:
            return "duration"
        if config.graph == "grasp_sim":
            return "episodes" if 0 < config.episodes <= self.num_episodes else None
        has_ended = config.video and self.ready and not self.count_publishers(IMAGE)
        if has_ended and time.monotonic() - self.last_image_time > VIDEO_END_DELAY:
            return "end of the video"
        return None

    def finish(self) -> None:
        """Write report, recording and plots; without a report, only say what was achieved.

        Raises:
            NodeFinished: all is written.
            NodeFailed: something could not be written.
        """
        log, reason = self.recorder.log, str(self.end_reason)
        report = RunReport(self.config, self.robot, self.names, log, reason)
        if not self.config.report and self.recorder.is_logged and self.is_complete:
            if self.attempt("result", report.measure):
                self.get_logger().info(report.headline)
        elif self.config.report:
            if self.attempt("report", report.write):
                report.write_page()
                self.get_logger().info(report.headline)
                self.get_logger().info(f"wrote {self.config.report}; drawing the plots")
            self.close()
            self.write_parts(report.later_parts())
        self.close()
        if self.failures:
            raise NodeFailed
        raise NodeFinished

    def write_parts(self, parts: Parts) -> None:
        """Write each part of the report that takes longer, until a second signal."""
        mute_closed_output()
        self.is_drawing = True
        try:
            for name, write in parts:
                if self.skips_plots:
                    raise KeyboardInterrupt
                self.attempt(name, write)
        except KeyboardInterrupt:
            self.get_logger().info("plots skipped")
        self.is_drawing = False

    def attempt(self, name: str, write: Callable[[], None]) -> bool:
        """Write one part and return whether it succeeded; a failure concerns only this part."""
        try:
            write()
        except ModuleNotFoundError as error:  # films need PyBullet
            line = missing_module(error) or str(error)
            self.get_logger().warning(f"{name} not written: {line}")
            return False
        except Exception as error:  # whatever fails, the other parts are still written
            reason = str(error) if isinstance(error, (OSError, ValueError)) else repr(error)
            self.fail(f"{name} not written: {' '.join(reason.split())}")
            return False
        return True

    def close(self) -> None:
        """Close the rosbag2 recording, also of an interrupted run, and the log."""
        self.recorder.close()


def _create_node() -> ReportNode:
    node = ReportNode()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, node.on_signal)
    return node


def main() -> None:
    """Run the node."""
    run(_create_node)


if __name__ == "__main__":
    main()
