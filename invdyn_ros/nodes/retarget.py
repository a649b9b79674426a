"""Retarget node: maps landmarks of a person to joint targets, with the stamp of the image."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from lifecycle_msgs.msg import State as LifecycleState
from lifecycle_msgs.msg import TransitionEvent
from pydantic import NonNegativeFloat
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState, PointCloud2
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.graph.topics import JOINT_STATES, JOINT_TARGET, LANDMARKS, TRANSITIONS
from invdyn_ros.nodes.hand_gripper import HandGripper
from invdyn_ros.nodes.joint_states import ArmJoints, check_positions
from invdyn_ros.nodes.messages import (
    SHARED_DEPTH,
    cloud_to_landmarks,
    latest_qos,
    target_to_message,
    to_nanoseconds,
    to_seconds,
)
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.nodes.target_queue import TOLERANCE
from invdyn_ros.robots.obstacles import load_obstacles
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.teleop.hand_calibration import CALIBRATION_KEY, INSTRUCTION
from invdyn_ros.teleop.hand_grip import HandGripConfig
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retargeting import Retargeter


@dataclass(frozen=True)
class RetargetNodeConfig:
    """Parameters of the node in addition to those of RetargetConfig.

    Attributes:
        arm: name of the arm, or FILE.yaml of an arm of a user.
        lockstep: whether time is simulated; if so, the age of landmarks is not checked.
        obstacles: YAML file of the obstacles around the arm; empty: those of the arm's entry.
        gripper: hand: a pinch or a fist of the person closes the gripper; none: nothing does.
        target_rate: rate of the images in lockstep [Hz].
    """

    arm: str = "ur5"
    lockstep: bool = False
    obstacles: str = ""
    gripper: Literal["hand", "none"] = "none"
    target_rate: NonNegativeFloat = 0.0


class RetargetNode(DiagnosticNode):
    """Publish joint targets that follow a person; hold without a person or at low visibility."""

    def __init__(self) -> None:
        super().__init__("retarget")
        self.config = load_parameters(self, RetargetNodeConfig)
        self.robot = load_robot(self.config.arm)
        self.names = RobotNames.of(
            self.robot, load_parameters(self, NamesConfig), self.get_namespace()
        )
        file = self.config.obstacles
        self.retargeter = Retargeter(
            self.robot,
            load_parameters(self, RetargetConfig, self.reconfigure),
            load_obstacles(file) if file else None,
        )
        # A camera waits for /joint_target, so it is advertised only when the state of the arm is
        # known. In lockstep it is advertised at once, because the simulator waits for it.
        self.target_publisher = self.create_target_publisher() if self.config.lockstep else None
        self.joints = ArmJoints(self.names.joint_names)
        self.measured: np.ndarray | None = None  # (n,) [rad]
        self.measured_time = -np.inf  # [s]
        self.pending: PointCloud2 | None = None  # landmarks whose joint state has not arrived
        self.last_target: JointTrajectory | None = None
        self.is_calibrating = False
        self.hand_gripper = self.create_hand_gripper()
        self.create_subscription(
            PointCloud2,
            LANDMARKS,
            self.on_landmarks,
            latest_qos(self.config.lockstep),
            is_input=True,
        )
        self.create_subscription(
            JointState, JOINT_STATES, self.on_joint_state, SHARED_DEPTH, is_input=True
        )
        self.create_subscription(TransitionEvent, TRANSITIONS, self.on_transition, 10)

    def reconfigure(self, config: RetargetConfig) -> None:
        """Change the largest age of landmarks."""
        self.retargeter.config = config

    def create_hand_gripper(self) -> HandGripper | None:
        """Create what opens and closes the gripper, if the person's hand does.

        Raises:
            ValueError: the arm has no gripper.
        """
        grip, config = load_parameters(self, HandGripConfig), self.config
        if config.gripper == "none":
            return None
        if self.robot.gripper is None:
            raise ValueError(f"gripper is 'hand', but {self.robot.name} has no gripper")
        rate = config.target_rate if config.lockstep else None
        side = self.retargeter.config.side
        return HandGripper(self, self.robot.gripper, grip, side, rate)

    def create_target_publisher(self) -> Publisher:
        """Create the publisher of the targets."""
        return self.create_publisher(JointTrajectory, JOINT_TARGET, 10)

    def on_transition(self, message: TransitionEvent) -> None:
        """Start anew when the arm is engaged: who is followed next is the operator."""
        if message.goal_state.id == LifecycleState.PRIMARY_STATE_ACTIVE:
            self.retargeter.note_engaged()

    def on_joint_state(self, message: JointState) -> None:
        """Note where the arm is, and start there at first."""
        values = self.joints(message)
        if values is None:
            return
        q = check_positions(values.position)
        if self.measured is None:
            self.retargeter.reset(q)
            self.target_publisher = self.target_publisher or self.create_target_publisher()
        self.measured, self.measured_time = q, 1e-9 * values.stamp
        if self.hand_gripper is not None:
            self.hand_gripper.on_joint_state(values.stamp)
        if self.pending is not None:
            self.on_landmarks(self.pending)

    def on_landmarks(self, message: PointCloud2) -> None:
        """Publish a target for each image; while holding, it is where the arm stopped.

        In lockstep, joint states come up to the time of the image and then wait for the target, so
        the newest one is that of the image.
        """
        if self.measured is None or self.target_publisher is None:
            self.hold("no joint_states yet")
            return
        stamp, lockstep = message.header.stamp, self.config.lockstep
        is_early = lockstep and self.measured_time < to_seconds(stamp) - TOLERANCE
        self.pending = message if is_early else None
        if is_early:
            return
        if lockstep and self.last_target is not None and self.last_target.header.stamp == stamp:
            # repeated landmarks must not enter the filter twice
            self.target_publisher.publish(self.last_target)
            return
        time = to_seconds(stamp)
        now = None if lockstep else self.get_clock().now().nanoseconds * 1e-9
        result = self.retargeter(cloud_to_landmarks(message), time, now, self.measured)
        self.report_calibration()
        self.hold(result.hold_reason)
        state = State(result.q, result.qd, np.zeros_like(result.q))
        target = Target(time, state, result.horizon)
        self.last_target = target_to_message(target, self.names, stamp)
        self.target_publisher.publish(self.last_target)
        if self.hand_gripper is not None:
            self.hand_gripper.on_landmarks(to_nanoseconds(stamp), result.hold_reason is None)

    def report_calibration(self) -> None:
        """Tell the person what to do, and what came of it."""
        was_calibrating, self.is_calibrating = self.is_calibrating, self.retargeter.is_calibrating
        if self.is_calibrating and not was_calibrating:
            self.get_logger().info(INSTRUCTION)
        if self.is_calibrating or not was_calibrating:
            return
        calibration = self.retargeter.calibration
        if calibration is None:
            problem = self.retargeter.calibration_problem or "time has restarted"
            self.get_logger().warning(
                f"not calibrated: {problem}; 'invdyn engage' repeats it, until then the arm "
                "follows usual proportions"
            )
            return
        self.diagnostic_values[CALIBRATION_KEY] = calibration.to_json()
        scale = self.retargeter.mapping.scale
        self.get_logger().info(f"calibrated: {calibration}, scale {scale:.2f}")


def main() -> None:
    """Run the node."""
    run(RetargetNode)


if __name__ == "__main__":
    main()
