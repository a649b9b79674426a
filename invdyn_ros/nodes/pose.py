"""Pose node: publishes the landmarks of the person in each image, with the stamp of the image."""

from dataclasses import dataclass

import numpy as np
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2, TimeReference
from std_msgs.msg import Header

from invdyn_ros.graph.names import PERSON_FRAME
from invdyn_ros.graph.topics import LANDMARKS, POSE_OVERLAY, TIMING
from invdyn_ros.nodes.image_transport import Transport, create_image_publisher, subscribe_images
from invdyn_ros.nodes.images import Channels, image_to_message
from invdyn_ros.nodes.messages import landmarks_to_cloud
from invdyn_ros.nodes.node_loop import IDLE_TIME, Spin
from invdyn_ros.nodes.robot_names import NamesConfig
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.teleop.pose import Landmarks, PoseEstimator, PoseEstimatorConfig, draw_landmarks

OVERLAY_DELAY = 0.008  # [s] after the landmarks, by which the command has been sent


@dataclass(frozen=True)
class PoseNodeConfig:
    """Parameters of the node in addition to those of PoseEstimatorConfig.

    Attributes:
        lockstep: repeat the landmarks of an image that comes again, since time is simulated.
        image_transport: raw, or compressed for the images of /camera/image_raw/compressed.
    """

    lockstep: bool = False
    image_transport: Transport = "raw"


class PoseNode(DiagnosticNode):
    """Publish a cloud of 33 landmarks for each image, an empty one without a person."""

    hardware_id = "camera"

    def __init__(self) -> None:
        super().__init__("pose")
        self.estimator = PoseEstimator(load_parameters(self, PoseEstimatorConfig))
        self.landmark_publisher = self.create_publisher(
            PointCloud2, LANDMARKS, QoSProfile(depth=10)
        )
        self.timing_publisher = self.create_publisher(TimeReference, TIMING, QoSProfile(depth=100))
        self.overlay = create_image_publisher(self, Image, POSE_OVERLAY)
        config = load_parameters(self, PoseNodeConfig)
        self.lockstep = config.lockstep
        self.frame_id = load_parameters(self, NamesConfig).frame(PERSON_FRAME)
        self.last_cloud: PointCloud2 | None = None
        self.landmarks: Landmarks | None = None
        self.last_image = np.empty(0, np.uint8)
        self.num_empty = 0
        self.pending_overlay: tuple[np.ndarray, Landmarks | None, Header] | None = None
        subscribe_images(self, self.on_image, config.image_transport, config.lockstep)

    def on_image(self, image: Channels, header: Header) -> None:
        """Estimate the pose of the person in an image."""
        stamp = header.stamp
        if self.lockstep and self.last_cloud is not None and self.last_cloud.header.stamp == stamp:
            # a repeated image must not enter the tracker twice
            self.landmark_publisher.publish(self.last_cloud)
            return
        self.publish_overlay()
        start = self.get_clock().now()
        if not np.array_equal(image, self.last_image):
            self.landmarks, self.last_image = self.estimator(image), image
        landmarks = self.landmarks  # of a frozen image the tracker would give ever new ones
        end = self.get_clock().now()
        self.last_cloud = landmarks_to_cloud(
            landmarks.with_image_position(len(image)) if landmarks else None,
            Header(stamp=stamp, frame_id=self.frame_id),
        )
        self.landmark_publisher.publish(self.last_cloud)
        for source, clock_time in (("pose begin", start), ("pose end", end)):
            self.timing_publisher.publish(
                TimeReference(header=header, time_ref=clock_time.to_msg(), source=source)
            )
        # Not `hold()`: without a person the retarget node holds, and reports count that hold.
        self.hold_reason = None if landmarks else "no person in the image"
        self.num_empty += landmarks is None
        self.diagnostic_values["images without a person"] = str(self.num_empty)
        if self.overlay.get_subscription_count():
            self.pending_overlay = image, landmarks, header

    def step(self, spin: Spin) -> None:
        """Draw the overlay late, so that it takes no CPU time from the nodes that move the arm."""
        pending = self.pending_overlay is not None
        spin(OVERLAY_DELAY if pending else IDLE_TIME)
        if pending:
            self.publish_overlay()

    def publish_overlay(self) -> None:
        """Publish the pending overlay."""
        if self.pending_overlay:
            (image, landmarks, header), self.pending_overlay = self.pending_overlay, None
            overlay_publisher = draw_landmarks(image, landmarks)
            self.overlay.publish(
                image_to_message(overlay_publisher, header.stamp, header.frame_id)
            )

    def close(self) -> None:
        """Free the network."""
        self.estimator.close()


def main() -> None:
    """Run the node."""
    run(PoseNode)


if __name__ == "__main__":
    main()
