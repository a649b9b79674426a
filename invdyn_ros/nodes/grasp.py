"""Block poses and joint states in, wanted next states and gripper openings out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from invdyn_ros.arms.domain_randomization import load_randomization, sample_latency
from invdyn_ros.arms.pybullet_scene import nominal_scene
from invdyn_ros.control.safety_limits import Target
from invdyn_ros.grasp.estimation.block_estimate import (
    BlockDetection,
    detection_on_table,
    upright_yaw,
)
from invdyn_ros.grasp.policies.learned import LearnedGrasp, load_learned_grasp
from invdyn_ros.grasp.policies.scripted import ScriptedGrasp
from invdyn_ros.nodes.joint_states import gripper_opening, joints_by_name
from invdyn_ros.nodes.messages import (
    REFUSED,
    command_to_message,
    pose_to_arrays,
    target_to_message,
    to_nanoseconds,
    to_stamp,
)
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.robots.scene import Scene, quaternion_pose, ticks_per_image

POLICIES: dict[str, Callable[[Robot, Scene, str], ScriptedGrasp | LearnedGrasp]] = {
    "scripted": lambda robot, scene, _: ScriptedGrasp(robot, scene),
    "learned": load_learned_grasp,
    "vision": load_learned_grasp,
    "planned": load_learned_grasp,
}


class Picture(NamedTuple):
    """What the blocks node says of a picture: the block is seen, or why it is not trusted."""

    seen: bool
    refused: str | None


@dataclass(frozen=True)
class GraspNodeConfig:
    """Parameters of the node.

    Attributes:
        arm: name of the arm; its scene says how large the blocks are.
        policy: what decides.
        policy_checkpoint: folder of a learned one.
        noise: level whose latency is added to each picture in lockstep.
        seed: of the latencies.
        lockstep: answer each joint state once, after the picture that belongs to it.
        camera_pose: file of `invdyn calibrate`; empty: where the simulated camera stands.
    """

    arm: str = "ur5"
    policy: str = "scripted"
    policy_checkpoint: str = ""
    noise: str = "default"
    seed: int = 0
    lockstep: bool = False
    camera_pose: str = ""

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"no policy '{self.policy}'; known policies: {sorted(POLICIES)}")


class GraspNode(DiagnosticNode):
    """Run a grasp policy at the arm's rate."""

    def __init__(self) -> None:
        super().__init__("grasp")
        self.config = config = load_parameters(self, GraspNodeConfig)
        self.robot = load_robot(config.arm)
        self.scene = nominal_scene(config.arm, config.camera_pose)
        self.policy = POLICIES[config.policy](self.robot, self.scene, config.policy_checkpoint)
        self.noise, self.episode = load_randomization(config.noise), -1
        self.reset()
        qos = QoSProfile(depth=10)
        self.targets = self.create_publisher(JointTrajectory, "/joint_target", qos)
        self.grips = self.create_publisher(Float64MultiArray, "/gripper/command", qos)
        self.create_subscription(JointState, "/joint_states", self.on_joints, qos)
        self.create_subscription(MarkerArray, "/blocks/markers", self.on_markers, qos)
        self.create_subscription(PoseWithCovarianceStamped, "/blocks/block_0", self.on_block, qos)

    def reset(self) -> None:
        """Start anew: the simulation went back to its start."""
        self.policy.reset()
        self.episode += 1
        self.latency = sample_latency(self.noise, self.config.seed, self.episode)
        self.joints: JointState | None = None
        self.pictures: dict[int, Picture] = {}  # by stamp [ns]
        self.sightings: dict[int, PoseWithCovarianceStamped] = {}
        self.taken: set[int] = set()  # stamps of what the policy has been told
        self.answer: tuple[int, JointTrajectory, Float64MultiArray] | None = None

    def on_markers(self, message: MarkerArray) -> None:
        """Note which pictures have been looked at, and what each showed."""
        if not message.markers:
            return  # without a stamp it says nothing
        stamp = to_nanoseconds(message.markers[0].header.stamp)
        ids = [m.id for m in message.markers if m.type == Marker.CUBE and m.ns == "blocks"]
        refused = [m.text for m in message.markers if m.ns == REFUSED and m.id == 0]
        if self.is_news(stamp):
            self.pictures[stamp] = Picture(0 in ids, refused[0] if refused else None)
            self.advance()

    def on_block(self, message: PoseWithCovarianceStamped) -> None:
        """Keep a detection of the block."""
        stamp = to_nanoseconds(message.header.stamp)
        if self.is_news(stamp):
            self.sightings[stamp] = message
            self.advance()

    def is_news(self, stamp: int) -> bool:
        """Say whether a picture is neither a repetition nor left over from before a reset."""
        if self.joints is None or stamp in self.taken:
            return False
        return stamp <= to_nanoseconds(self.joints.header.stamp)

    def on_joints(self, message: JointState) -> None:
        """Answer a joint state; in lockstep, once the pictures up to it are there."""
        stamp = to_nanoseconds(message.header.stamp)
        if self.joints is not None and stamp < to_nanoseconds(self.joints.header.stamp):
            self.reset()
        self.joints = message
        self.advance()

    def advance(self) -> None:
        """Answer the newest joint state if everything that belongs to it is there."""
        if self.joints is None:
            return
        stamp = to_nanoseconds(self.joints.header.stamp)
        if self.answer is not None and self.answer[0] == stamp:
            if self.config.lockstep:
                self.publish()
            return
        horizon = stamp
        if self.config.lockstep:
            horizon = max(stamp - round(self.latency * 1e9), 0)
            beat = ticks_per_image(self.robot.rate) / self.robot.rate
            due = math.floor(horizon * 1e-9 / beat + 1e-6) * beat
            if not self.looked_at(round(due * 1e9)):
                return
        self.tell(horizon)
        self.decide(stamp)
        self.publish()

    def looked_at(self, stamp: int) -> bool:
        """Say whether a picture, and the block in it, have arrived."""
        near = [s for s in self.pictures if abs(s - stamp) < 10**6]
        arrived = self.taken | self.sightings.keys()
        return bool(near) and all(not self.pictures[s].seen or s in arrived for s in near)

    def tell(self, horizon: int) -> None:
        """Tell the policy of all pictures up to a stamp [ns], in their order."""
        silent = {s for s, picture in self.pictures.items() if not picture.seen} - self.taken
        for stamp in sorted(s for s in self.sightings.keys() | silent if s <= horizon):
            self.taken.add(stamp)
            if stamp in self.sightings:
                self.policy.on_detection(self.sighting(self.sightings.pop(stamp)))
            elif (reason := self.pictures[stamp].refused) is not None:
                self.policy.on_invalid_image(stamp * 1e-9, reason)
            else:
                self.policy.on_no_detection(stamp * 1e-9)
        self.pictures = {s: p for s, p in self.pictures.items() if s > horizon - 10**9}

    def sighting(self, message: PoseWithCovarianceStamped) -> BlockDetection:
        """Return a detection as position and yaw on the table in the base frame."""
        time = to_nanoseconds(message.header.stamp) * 1e-9
        T = quaternion_pose(*pose_to_arrays(message.pose.pose))
        covariance = np.array(message.pose.covariance).reshape(6, 6)
        if message.header.frame_id == self.robot.base_link:  # who sees without a calibrated camera
            variance = np.diag(covariance)[[0, 1, 2, 5]]
            return BlockDetection(time, T[:3, 3], upright_yaw(T[:3, :3]), variance)
        return detection_on_table(
            time,
            T,
            covariance,
            self.scene.camera.T_base_camera,
            self.scene.block_size / 2,
        )

    def decide(self, stamp: int) -> None:
        """Ask the policy what it wants next."""
        if self.joints is None:
            return
        opening = gripper_opening(self.joints, self.robot)
        ahead, now = 1 / self.robot.rate, stamp * 1e-9
        q, qd, _ = joints_by_name(self.joints, self.robot.joint_names)
        self.policy.update_joints(q, qd)
        wish = self.policy.command(now, opening, ahead)
        self.diagnostic_values["phase"] = wish.phase
        self.hold(wish.hold_reason)
        target = Target(now, wish.state, wish.horizon or ahead)
        self.answer = (
            stamp,
            target_to_message(target, self.robot.joint_names, to_stamp(stamp)),
            command_to_message(np.array([wish.opening]), stamp),
        )

    def publish(self) -> None:
        """Send the answer, the gripper first."""
        if self.answer is not None:
            self.grips.publish(self.answer[2])
            self.targets.publish(self.answer[1])


def main() -> None:
    """Run the node."""
    run(GraspNode)


if __name__ == "__main__":
    main()
