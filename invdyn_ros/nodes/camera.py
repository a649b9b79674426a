"""A webcam or a video file in, images with the stamp of their exposure out."""

import time

from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from invdyn_ros.nodes.messages import image_to_message, newest, to_seconds, to_stamp
from invdyn_ros.nodes.runner import DiagnosticNode, NodeFinished, Spin, load_parameters, run
from invdyn_ros.perception.camera import CameraConfig, Frame, open_camera, read_video_info

FRAME = "camera_optical_frame"
REST = 0.75  # of the time between two frames of a file, before the next is decoded


class CameraNode(DiagnosticNode):
    """Publish frames at the source's own pace; a video in lockstep follows the simulated clock."""

    def __init__(self) -> None:
        super().__init__("camera")
        config = load_parameters(self, CameraConfig)
        lockstep = self.declare_parameter("lockstep", False).value
        self.wait_for_topics = str(self.declare_parameter("wait_for_topics", "").value)
        self.frames = open_camera(config)
        self.live = not config.video
        self.next: Frame | None = next(self.frames)
        self.images = self.create_publisher(Image, "/camera/image_raw", newest(bool(lockstep)))
        self.began: float | None = None
        self.now = 0.0
        self.lockstep = bool(lockstep)
        self.sent: Image | None = None
        self.rate = read_video_info(config.video).frame_rate if config.video else 0.0
        self.rest = REST / (config.rate or self.rate) if config.video else 0.0
        if self.lockstep:
            self.create_subscription(Clock, "/clock", self.on_clock, QoSProfile(depth=1000))

    def step(self, spin: Spin) -> None:
        """Publish the next frame when its time has come."""
        if self.lockstep:
            spin(0.5)
            return
        if self.began is None:
            if not self.ready():
                spin(0.1)
                return
            self.began = time.time()
        if self.next is None:
            raise NodeFinished
        due = self.next.time if self.live else self.began + self.next.time
        self.wait(spin, due)
        spin(0)
        # A file's frame is "exposed" when it is due; a device's when it was grabbed.
        self.publish(self.next, due if self.live else time.time())
        # Decoded at once, the next frame would take a core from whoever works on this one.
        self.wait(spin, due + self.rest)
        self.next = next(self.frames, None)

    def wait(self, spin: Spin, until: float) -> None:
        """Take messages until a time [s]."""
        while (left := until - time.time()) > 0:
            spin(left)

    def ready(self) -> bool:
        """Say whether somebody watches and everything behind is there."""
        return self.images.get_subscription_count() > 0 and self.topics_connected(
            self.wait_for_topics
        )

    def on_clock(self, message: Clock) -> None:
        """Publish all frames up to the simulated time; send the last again if none is new.

        Frames are stamped evenly: whoever waits for the next one can tell when it comes.
        """
        now, last = to_seconds(message.clock), self.sent
        while self.next is not None and (due := self.next.index / self.rate) <= now + 1e-6:
            self.publish(self.next, due)
            self.next = next(self.frames, None)
        if last is not None and last is self.sent and now == self.now:
            self.images.publish(last)  # asked again: it may have been lost
        self.now = now

    def publish(self, frame: Frame, stamp: float) -> None:
        """Send a frame."""
        self.sent = image_to_message(frame.image, to_stamp(round(stamp * 1e9)), FRAME)
        self.images.publish(self.sent)


def main() -> None:
    """Run the node."""
    run(CameraNode)


if __name__ == "__main__":
    main()
