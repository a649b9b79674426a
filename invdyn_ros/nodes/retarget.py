"""Landmarks of a person in, wanted joint positions of the arm out, with the image's stamp."""

from dataclasses import dataclass

import numpy as np
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState, PointCloud2
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.safety_limits import State, Target
from invdyn_ros.nodes.joint_states import joints_by_name
from invdyn_ros.nodes.messages import (
    cloud_to_landmarks,
    newest,
    target_to_message,
    to_seconds,
)
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.teleop.retargeting import RetargetConfig, Retargeter


@dataclass(frozen=True)
class RetargetNodeConfig:
    """Parameters of the node beside those of RetargetConfig.

    Attributes:
        arm: name of the arm.
        lockstep: there is no present to compare stamps with.
    """

    arm: str = "ur5"
    lockstep: bool = False


class RetargetNode(DiagnosticNode):
    """Follow the person; without a person, or with an uncertain one, the arm holds."""

    def __init__(self) -> None:
        super().__init__("retarget")
        self.config = load_parameters(self, RetargetNodeConfig)
        self.robot = load_robot(self.config.arm)
        self.retargeter = Retargeter(self.robot, load_parameters(self, RetargetConfig))
        # Cameras wait for /joint_target, so that no image comes before the arm's place is known;
        # in lockstep, where nothing is lost, the arm waits for it.
        self.targets = self.create_targets() if self.config.lockstep else None
        self.started = False
        self.answer: JointTrajectory | None = None
        self.create_subscription(
            PointCloud2, "/pose/landmarks", self.on_landmarks, newest(self.config.lockstep)
        )
        self.joints = self.create_subscription(JointState, "/joint_states", self.on_joints, 10)

    def create_targets(self) -> Publisher:
        """Announce the targets."""
        return self.create_publisher(JointTrajectory, "/joint_target", 10)

    def on_joints(self, message: JointState) -> None:
        """Start from where the arm is; later states do not matter here."""
        q, _, _ = joints_by_name(message, self.robot.joint_names)
        self.retargeter.reset(q)
        self.targets = self.targets or self.create_targets()
        self.started = True
        self.destroy_subscription(self.joints)

    def on_landmarks(self, message: PointCloud2) -> None:
        """Answer each frame with a target; while holding, with the place where the arm stopped."""
        if not self.started or self.targets is None:
            self.hold("no joint_states yet")
            return
        stamp, lockstep = message.header.stamp, self.config.lockstep
        if lockstep and self.answer is not None and self.answer.header.stamp == stamp:
            self.targets.publish(self.answer)  # asked again; the filter must not see it twice
            return
        time = to_seconds(stamp)
        now = None if lockstep else self.get_clock().now().nanoseconds * 1e-9
        result = self.retargeter(cloud_to_landmarks(message), time, now)
        self.hold(result.hold_reason)
        state = State(result.q, result.qd, np.zeros_like(result.q))
        target = Target(time, state, 0.0)
        self.answer = target_to_message(target, self.robot.joint_names, stamp)
        self.targets.publish(self.answer)


def main() -> None:
    """Run the node."""
    run(RetargetNode)


if __name__ == "__main__":
    main()
