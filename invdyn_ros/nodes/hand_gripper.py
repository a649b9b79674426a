"""Gripper that a person's hand opens and closes, as part of the retarget node."""

import math

import numpy as np
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float64MultiArray

from invdyn_ros.graph.topics import GRIPPER_COMMAND, LEFT_HAND, RIGHT_HAND
from invdyn_ros.nodes.hand_messages import cloud_to_hand
from invdyn_ros.nodes.messages import command_to_message, latest_qos, to_nanoseconds
from invdyn_ros.nodes.runner import DiagnosticNode
from invdyn_ros.nodes.target_queue import TOLERANCE
from invdyn_ros.robots.robot_spec import Gripper
from invdyn_ros.teleop.hand_grip import HandGrip, HandGripConfig

MAX_WAITING = 50  # hands whose landmarks have not been processed


class HandGripper:
    """Publish the opening that the hand of the followed arm asks for.

    Only while the arm follows the person does the hand change it. In lockstep every joint state is
    answered, with the hand of the last image before it.
    """

    def __init__(
        self,
        node: DiagnosticNode,
        gripper: Gripper,
        config: HandGripConfig,
        side: str,
        target_rate: float | None,
    ) -> None:
        """Subscribe to the landmarks of the hand.

        Args:
            node: publishes.
            gripper: of the arm.
            config: settings of the grip.
            side: hand of the person, "left" or "right".
            target_rate: rate of the images in lockstep [Hz]; None: time is not simulated.
        """
        self.node, self.gripper, self.target_rate = node, gripper, target_rate
        self.grip = HandGrip(config)
        self.publisher = node.create_publisher(Float64MultiArray, GRIPPER_COMMAND, 10)
        topic = LEFT_HAND if side == "left" else RIGHT_HAND
        qos = latest_qos(target_rate is not None)
        node.create_subscription(PointCloud2, topic, self.on_hand, qos, is_input=True)
        self.reset()

    def reset(self) -> None:
        """Open the gripper, after time was reset."""
        self.grip.reset()
        self._waiting: dict[int, np.ndarray | None] = {}  # hand of an image by its stamp [ns]
        self._followed: dict[int, bool] = {}  # whether the person in an image is followed
        self._openings: dict[int, float] = {}  # [m] by the stamp of the image
        self._state: int | None = None  # stamp of the last joint state [ns]
        self._changed()

    @property
    def opening(self) -> float:
        """Opening that the hand asks for [m]."""
        return 0.0 if self.grip.closed else self.gripper.max_opening

    def on_hand(self, message: PointCloud2) -> None:
        """Store a hand until the landmarks of its image are processed, in lockstep, or use it."""
        stamp, hand = to_nanoseconds(message.header.stamp), cloud_to_hand(message)
        if self.target_rate is None:
            self._update(hand, stamp, self.node.hold_reason is None)
            self._publish(stamp)
            return
        if stamp in self._openings:
            self.publish_for_state()  # a repeated question
            return
        self._waiting[stamp] = hand
        self._update_waiting()

    def on_landmarks(self, stamp: int, follows: bool) -> None:
        """Note whether the arm follows the person in an image with a stamp [ns]."""
        if self.target_rate is not None:
            self._followed[stamp] = follows
            self._update_waiting()

    def on_joint_state(self, stamp: int) -> None:
        """Answer a joint state with a stamp [ns], in lockstep."""
        if self.target_rate is not None:
            if self._state is not None and stamp < self._state:
                self.reset()
            self._state = stamp
            self.publish_for_state()

    def publish_for_state(self) -> None:
        """Publish the opening for the last joint state once that of its image is known."""
        if self._state is None or self.target_rate is None:
            return
        image = math.floor((self._state * 1e-9 + TOLERANCE) * self.target_rate) / self.target_rate
        for stamp in self._openings:
            if abs(stamp * 1e-9 - image) < TOLERANCE:
                self._publish(self._state, self._openings[stamp])
                return

    def _update_waiting(self) -> None:
        for stamp in sorted(self._waiting.keys() & self._followed.keys()):
            self._update(self._waiting.pop(stamp), stamp, self._followed.pop(stamp))
            self._openings[stamp] = self.opening
        for waiting in (self._waiting, self._followed, self._openings):
            while len(waiting) > MAX_WAITING:
                del waiting[min(waiting)]
        self.publish_for_state()

    def _update(self, hand: np.ndarray | None, stamp: int, follows: bool) -> None:
        closed = self.grip.closed
        if self.grip.update(hand if follows else None, stamp * 1e-9) != closed:
            self._changed()

    def _changed(self) -> None:
        """Show the state of the gripper in diagnostics and log."""
        state = "closed" if self.grip.closed else "open"
        if self.node.diagnostic_values.get("gripper", "open") != state:
            self.node.get_logger().info(f"gripper {state} by hand")
        self.node.diagnostic_values["gripper"] = state

    def _publish(self, stamp: int, opening: float | None = None) -> None:
        value = self.opening if opening is None else opening
        self.publisher.publish(command_to_message(np.array([value]), stamp))
