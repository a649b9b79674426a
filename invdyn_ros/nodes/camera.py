"""Camera node: publishes the images of a webcam or a video file, stamped with their exposure."""

import time
from dataclasses import dataclass

from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import TimeReference
from std_msgs.msg import Header

from invdyn_ros.graph.topics import CLOCK, TIMING
from invdyn_ros.nodes.image_publisher import ImagePublisher
from invdyn_ros.nodes.messages import to_seconds, to_stamp
from invdyn_ros.nodes.node_loop import IDLE_TIME, Spin
from invdyn_ros.nodes.robot_names import CameraNamesConfig
from invdyn_ros.nodes.runner import DiagnosticNode, NodeFinished, load_parameters, run
from invdyn_ros.perception.calibration_file import load_intrinsics
from invdyn_ros.perception.camera import CameraConfig, Frame, open_camera, read_video_info

DECODE_DELAY = 0.75  # delay before a video's next frame is decoded [frame periods]
MAX_WAIT = 0.1  # [s] for a message; simulated time may be faster than that


@dataclass(frozen=True)
class CameraNodeConfig:
    """Parameters of the node in addition to those of CameraConfig.

    Attributes:
        lockstep: publish the frames of a video by the simulated clock.
        wait_for_topics: topics, separated by spaces, that need a publisher and a subscriber before
            a video starts.
        camera_info: calibration file of `invdyn calibrate camera`, camera_calibration or
            camera_info_manager; empty: camera_info says that the camera is not calibrated.
    """

    lockstep: bool = False
    wait_for_topics: str = ""
    camera_info: str = ""


class CameraNode(DiagnosticNode):
    """Publish frames at the frame rate of the source, or in lockstep by the simulated clock."""

    hardware_id = "camera"

    def __init__(self) -> None:
        super().__init__("camera")
        self.config = config = load_parameters(self, CameraConfig)
        node_config = load_parameters(self, CameraNodeConfig)
        self.lockstep = node_config.lockstep
        self.wait_for_topics = node_config.wait_for_topics
        self.frames = open_camera(config)
        self.is_live = not config.video
        self.next_frame: Frame | None = next(self.frames)
        frame_id = load_parameters(self, CameraNamesConfig).image_frame
        intrinsics = load_intrinsics(node_config.camera_info, self.next_frame)
        self.images = ImagePublisher(self, self.lockstep, frame_id, intrinsics)
        self.timing_publisher = self.create_publisher(TimeReference, TIMING, QoSProfile(depth=100))
        self.start_time: float | None = None
        self.last_time = self.last_stamp = 0.0  # [s] of the clock and of the last image
        self.frame_rate = read_video_info(config.video).frame_rate if config.video else 0.0
        self.decode_delay = (
            DECODE_DELAY / (config.rate or self.frame_rate) if config.video else 0.0
        )
        if self.lockstep:
            self.create_subscription(
                Clock, CLOCK, self.on_clock, QoSProfile(depth=1000), is_input=True
            )

    def step(self, spin: Spin) -> None:
        """Publish the next frame when it is due."""
        if self.lockstep:
            spin(IDLE_TIME)
            return
        if self.start_time is None:
            if not self.is_connected() or not self.now():  # simulated time is 0 until it is known
                spin(0.1)
                return
            self.start_time = self.last_time = self.now()
        if self.next_frame is None:
            raise NodeFinished
        frame_time = self.next_frame.time
        if not self.is_live:
            self.wait(spin, frame_time)
        spin(0)
        self.follow_clock()
        self.publish(self.next_frame, self.exposure_time(frame_time))
        # Encoding and decoding at once would take a core from the nodes that process this frame.
        if not self.is_live:
            self.wait(spin, frame_time + self.decode_delay)
        self.images.publish_compressed()
        self.next_frame = next(self.frames, None)

    def exposure_time(self, frame_time: float) -> float:
        """Return the time at which the next frame was exposed [s], by the node's clock.

        Args:
            frame_time: its time [s], since the epoch or since the start of the video.
        """
        if self.is_live:
            return self.now() - (time.time() - frame_time)
        if self.uses_simulated_time and self.start_time is not None:
            return self.start_time + frame_time  # several frames may be due at one time of /clock
        return self.now()

    def now(self) -> float:
        """Return the time of the node's clock [s], which is simulated with `use_sim_time`."""
        return 1e-9 * float(self.get_clock().now().nanoseconds)

    def wait(self, spin: Spin, video_time: float) -> None:
        """Process messages until a time since the start of the video [s]."""
        while (remaining := self.follow_clock() + video_time - self.last_time) > 0:
            spin(min(remaining, MAX_WAIT))

    def follow_clock(self) -> float:
        """Return the start of the video by the clock [s], set back as the clock was meanwhile."""
        now, start = self.now(), self.start_time or 0.0
        self.start_time = start + min(0.0, now - self.last_time)
        self.last_time = now
        return self.start_time

    def is_connected(self) -> bool:
        """Return whether the images and all topics to wait for have subscribers."""
        connected = self.images.is_connected or (self.is_live and self.images.is_viewed)
        return connected and self.topics_connected(self.wait_for_topics)

    def on_clock(self, message: Clock) -> None:
        """Publish all frames up to the simulated time; repeat the last one for a repeated time.

        A video starts again when simulated time does.

        Stamps are evenly spaced, so that subscribers can compute the stamp of the next frame.

        Raises:
            NodeFinished: the video is over and its last frame has been used, since time went on.
        """
        now, last = to_seconds(message.clock), self.images.image
        if now < self.last_time:  # the simulation was reset
            self.frames = open_camera(self.config)
            self.next_frame = next(self.frames)
        while (
            self.next_frame is not None
            and (due := self.next_frame.index / self.frame_rate) <= now + 1e-6
        ):
            self.publish(self.next_frame, due)
            self.next_frame = next(self.frames, None)
        is_idle = last is not None and last is self.images.image
        is_over = self.next_frame is None and now > self.last_stamp + 1 / self.frame_rate - 1e-6
        if is_idle and is_over and now > self.last_time:
            raise NodeFinished
        if is_idle and now == self.last_time:
            self.images.repeat()  # a repeated time means that it may have been lost
        self.last_time = now
        self.images.publish_compressed()

    def publish(self, frame: Frame, stamp: float) -> None:
        """Publish a frame with a stamp [s]."""
        nanoseconds = round(stamp * 1e9)
        self.images.publish(frame.image, nanoseconds)
        self.last_stamp = stamp
        self.timing_publisher.publish(
            TimeReference(
                header=Header(stamp=to_stamp(nanoseconds), frame_id=self.images.frame_id),
                time_ref=self.get_clock().now().to_msg(),
                source="image",
            )
        )


def main() -> None:
    """Run the node."""
    run(CameraNode)


if __name__ == "__main__":
    main()
