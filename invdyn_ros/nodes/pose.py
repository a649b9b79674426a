"""Pose node: publishes the landmarks of the person in each image, with the stamp of the image."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2, TimeReference
from std_msgs.msg import Header

from invdyn_ros.graph.names import PERSON_FRAME
from invdyn_ros.graph.topics import LANDMARKS, LEFT_HAND, POSE_OVERLAY, RIGHT_HAND, TIMING
from invdyn_ros.nodes.hand_messages import hand_to_cloud
from invdyn_ros.nodes.image_transport import Transport, create_image_publisher, subscribe_images
from invdyn_ros.nodes.images import Channels, image_to_message
from invdyn_ros.nodes.messages import landmarks_to_cloud
from invdyn_ros.nodes.node_loop import IDLE_TIME, Spin
from invdyn_ros.nodes.robot_names import NamesConfig
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.teleop.hand import (
    HandEstimator,
    HandEstimatorConfig,
    HandLandmarks,
    draw_hand,
    hand_region,
)
from invdyn_ros.teleop.pose import Landmarks, PoseEstimator, PoseEstimatorConfig, draw_landmarks

OVERLAY_DELAY = 0.008  # [s] after the landmarks, by which the command has been sent


@dataclass(frozen=True)
class PoseNodeConfig:
    """Parameters of the node in addition to those of PoseEstimatorConfig.

    Attributes:
        lockstep: repeat the landmarks of an image that comes again, since time is simulated.
        image_transport: raw, or compressed for the images of /camera/image_raw/compressed.
        hands: which hands of the person are estimated, too.
    """

    lockstep: bool = False
    image_transport: Transport = "raw"
    hands: Literal["none", "left", "right", "both"] = "none"


class PoseNode(DiagnosticNode):
    """Publish a cloud of 33 landmarks for each image, an empty one without a person.

    Then follow the 21 landmarks of each hand that is wanted: they delay no landmarks of the arm.
    """

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
        hand_config = load_parameters(self, HandEstimatorConfig)
        self.hands: dict[str, tuple[HandEstimator, Publisher]] = {}
        for side, topic in {"left": LEFT_HAND, "right": RIGHT_HAND}.items():
            if config.hands in (side, "both"):
                estimator = HandEstimator(hand_config)
                self.hands[side] = estimator, self.create_publisher(PointCloud2, topic, 10)
        self.hand_landmarks: dict[str, HandLandmarks | None] = {}
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
            self.publish_hands(self.last_cloud.header)
            return
        self.publish_overlay()
        start, is_new = self.get_clock().now(), not np.array_equal(image, self.last_image)
        if is_new:
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
        if is_new:
            self.estimate_hands(image)
        self.publish_hands(self.last_cloud.header)
        # Not `hold()`: without a person the retarget node holds, and reports count that hold.
        self.hold_reason = None if landmarks else "no person in the image"
        self.num_empty += landmarks is None
        self.diagnostic_values["images without a person"] = str(self.num_empty)
        if self.overlay.get_subscription_count():
            self.pending_overlay = image, landmarks, header

    def estimate_hands(self, image: np.ndarray) -> None:
        """Estimate the landmarks of the hands in an image."""
        for side, (estimator, _) in self.hands.items():
            region = hand_region(self.landmarks, side) if self.landmarks else None
            self.hand_landmarks[side] = estimator(image, region) if region else None

    def publish_hands(self, header: Header) -> None:
        """Publish the landmarks of the hands with the header of those of the person."""
        for side, (_, publisher) in self.hands.items():
            hand = self.hand_landmarks.get(side)
            publisher.publish(hand_to_cloud(hand.world if hand else None, header))

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
            drawn = draw_landmarks(image, landmarks)
            for hand in self.hand_landmarks.values():
                draw_hand(drawn, hand)
            self.overlay.publish(image_to_message(drawn, header.stamp, header.frame_id))

    def close(self) -> None:
        """Free the networks."""
        self.estimator.close()
        for estimator, _ in self.hands.values():
            estimator.close()


def main() -> None:
    """Run the node."""
    run(PoseNode)


if __name__ == "__main__":
    main()
