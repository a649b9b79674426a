"""Images in, the landmarks of the person in them out, with the image's stamp."""

import numpy as np
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2, TimeReference
from std_msgs.msg import Header

from invdyn_ros.nodes.messages import (
    image_to_array,
    image_to_message,
    landmarks_to_cloud,
    newest,
)
from invdyn_ros.nodes.runner import DiagnosticNode, Spin, load_parameters, run
from invdyn_ros.teleop.pose import Landmarks, PoseEstimator, PoseEstimatorConfig, draw_landmarks

AFTER = 0.008  # s, in which a command follows the landmarks


class PoseNode(DiagnosticNode):
    """Publish a cloud of 33 landmarks for each image, an empty one where nobody is seen."""

    def __init__(self) -> None:
        super().__init__("pose")
        self.estimator = PoseEstimator(load_parameters(self, PoseEstimatorConfig))
        self.clouds = self.create_publisher(PointCloud2, "/pose/landmarks", QoSProfile(depth=10))
        self.timing = self.create_publisher(TimeReference, "/timing", QoSProfile(depth=100))
        self.overlay = self.create_publisher(Image, "/pose/overlay", newest(False))
        self.lockstep = bool(self.declare_parameter("lockstep", False).value)
        self.answer: PointCloud2 | None = None
        self.empty = 0
        self.undrawn: tuple[np.ndarray, Landmarks | None, Header] | None = None
        self.create_subscription(Image, "/camera/image_raw", self.on_image, newest(self.lockstep))

    def on_image(self, message: Image) -> None:
        """Find the person in an image."""
        stamp = message.header.stamp
        if self.lockstep and self.answer is not None and self.answer.header.stamp == stamp:
            self.clouds.publish(self.answer)  # asked again; the tracker must not see it twice
            return
        self.publish_overlay()
        image = image_to_array(message)
        began = self.get_clock().now()
        landmarks = self.estimator(image)
        ended = self.get_clock().now()
        header = Header(stamp=stamp, frame_id="hip")
        self.answer = landmarks_to_cloud(landmarks.world if landmarks else None, header)
        self.clouds.publish(self.answer)
        for source, reached in (("pose begin", began), ("pose end", ended)):
            self.timing.publish(
                TimeReference(header=message.header, time_ref=reached.to_msg(), source=source)
            )
        # It is the retargeter that holds the arm then: reports count its reason, not this one.
        self.hold_reason = None if landmarks else "nobody in the image"
        self.empty += landmarks is None
        self.diagnostic_values["images without a person"] = str(self.empty)
        if self.overlay.get_subscription_count():
            self.undrawn = image, landmarks, message.header

    def step(self, spin: Spin) -> None:
        """Draw for those who watch once those who move the arm are done: they share the cores."""
        due = self.undrawn is not None
        spin(AFTER if due else 0.5)
        if due:
            self.publish_overlay()

    def publish_overlay(self) -> None:
        """Publish the overlay that is due."""
        if self.undrawn:
            (image, landmarks, header), self.undrawn = self.undrawn, None
            drawn = draw_landmarks(image, landmarks)
            self.overlay.publish(image_to_message(drawn, header.stamp, header.frame_id))

    def close(self) -> None:
        """Free the network."""
        self.estimator.close()


def main() -> None:
    """Run the node."""
    run(PoseNode)


if __name__ == "__main__":
    main()
