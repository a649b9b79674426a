"""Grasp policy node: joint targets and gripper commands from block poses and joint states."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from pydantic import NonNegativeInt, PositiveFloat
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from invdyn_ros.arms.domain_randomization import load_randomization, sample_latency
from invdyn_ros.config import RECONFIGURABLE, Validated
from invdyn_ros.control.motion_profile import Target
from invdyn_ros.graph.topics import (
    GRIPPER_COMMAND,
    JOINT_STATES,
    JOINT_TARGET,
    MARKERS,
    block_topic,
)
from invdyn_ros.grasp.estimation.block_estimate import (
    BlockDetection,
    detection_in_stack,
    detection_on_table,
    upright_yaw,
)
from invdyn_ros.grasp.policies.episode_monitor import EpisodeMonitor
from invdyn_ros.grasp.policies.scripted import ScriptedGrasp
from invdyn_ros.grasp.policies.scripted_config import default_config
from invdyn_ros.grasp.policies.scripted_task import ScriptedTask, pass_image
from invdyn_ros.grasp.policies.tasks import GRASP, Task
from invdyn_ros.nodes.detection_buffer import (
    DetectionBuffer,
    ImageResult,
    message_to_covariance,
)
from invdyn_ros.nodes.episodes import Episodes
from invdyn_ros.nodes.joint_history import JointHistory
from invdyn_ros.nodes.joint_states import ArmState, JointStateReader
from invdyn_ros.nodes.messages import (
    REJECTED,
    ForeignMessage,
    command_to_message,
    pose_to_arrays,
    target_to_message,
    to_nanoseconds,
    to_stamp,
)
from invdyn_ros.nodes.robot_names import CameraNamesConfig, RobotNames
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.perception.hand_eye.camera_pose import nominal_scene
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.robots.scene import Scene, quaternion_pose, ticks_per_image
from invdyn_ros.typing import Array

if TYPE_CHECKING:
    from invdyn_ros.grasp.policies.learned import LearnedGrasp


@dataclass(frozen=True)
class GraspNodeConfig(Validated):
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of one; its scene has the size of the blocks.
        blocks: file of the blocks; empty: the block of the arm's entry.
        task: grasp: one block; sort: every block to its goal; stack: all on top of each other.
        target: sim: the simulator starts the episodes; real: a person does, by engaging the arm.
        policy: name of the policy.
        policy_checkpoint: folder of a learned policy or planner.
        noise: domain randomization level, whose image latency is simulated in lockstep; a change
            acts from the next episode on.
        seed: random seed of the latency.
        lockstep: publish exactly one target per joint state, after the images up to its time.
        camera_pose: file of `invdyn calibrate`; empty: pose of the simulated camera.
        tool_speed: speed limit of the tool, below which scripted motions stay [m/s].
    """

    arm: str = "ur5"
    blocks: str = ""
    task: Task = "grasp"
    target: Literal["sim", "real"] = "sim"
    policy: Literal["scripted", "learned", "vision", "planned"] = "scripted"
    policy_checkpoint: str = ""
    noise: Literal["none", "default", "hard"] = field(default="default", metadata=RECONFIGURABLE)
    seed: NonNegativeInt = 0
    lockstep: bool = False
    camera_pose: str = ""
    tool_speed: PositiveFloat = 1.0


def _load_learned_grasp(robot: Robot, scene: Scene, config: GraspNodeConfig) -> "LearnedGrasp":
    """Load a policy or planner; the import is here because torch takes seconds to import."""
    from invdyn_ros.grasp.policies.learned import load_learned_grasp

    return load_learned_grasp(robot, scene, config.policy_checkpoint)


def _create_scripted_grasp(robot: Robot, scene: Scene, config: GraspNodeConfig) -> ScriptedGrasp:
    return ScriptedGrasp(robot, scene, default_config(robot.name, config.tool_speed))


def _create_policy(
    robot: Robot, scene: Scene, config: GraspNodeConfig
) -> "ScriptedGrasp | LearnedGrasp | ScriptedTask":
    """Create the policy for the task of the node."""
    if config.task == GRASP:
        return POLICIES[config.policy](robot, scene, config)
    settings = default_config(robot.name, config.tool_speed)
    return ScriptedTask(robot, scene, config.task, settings)


Policy = Callable[[Robot, Scene, GraspNodeConfig], "ScriptedGrasp | LearnedGrasp"]
POLICIES: dict[str, Policy] = {
    "scripted": _create_scripted_grasp,
    "learned": _load_learned_grasp,
    "vision": _load_learned_grasp,
    "planned": _load_learned_grasp,
}


class GraspNode(DiagnosticNode):
    """Run a grasp policy at the arm's rate."""

    def __init__(self) -> None:
        super().__init__("grasp")
        self.config = config = load_parameters(self, GraspNodeConfig, self.reconfigure)
        self.robot = load_robot(config.arm)
        names = load_parameters(self, CameraNamesConfig)
        self.names = RobotNames.of(self.robot, names, self.get_namespace())
        self.image_frame = names.image_frame  # block poses in other frames are ignored
        self.scene = nominal_scene(config.arm, config.camera_pose, config.blocks)
        self.policy = _create_policy(self.robot, self.scene, config)
        is_task = isinstance(self.policy, ScriptedTask)
        self.blocks = frozenset(range(self.scene.num_blocks) if is_task else [self.scene.target])
        self.size = self.scene.block_size  # [m]
        self.randomization = load_randomization(config.noise)
        self.read_joint_state = JointStateReader(self.names)
        monitor = EpisodeMonitor(self.scene, config.task)
        self.episodes = Episodes(self, monitor, config.target == "real", self.reset)
        self.reset()
        qos = QoSProfile(depth=10)
        self.target_publisher = self.create_publisher(JointTrajectory, JOINT_TARGET, qos)
        self.gripper_publisher = self.create_publisher(Float64MultiArray, GRIPPER_COMMAND, qos)
        self.create_subscription(JointState, JOINT_STATES, self.on_joint_state, qos, is_input=True)
        self.create_subscription(MarkerArray, MARKERS, self.on_markers, qos, is_input=True)
        for block in sorted(self.blocks):
            on_pose = partial(self.on_block_pose, block)
            self.create_subscription(PoseWithCovarianceStamped, block_topic(block), on_pose, qos)

    def reconfigure(self, config: GraspNodeConfig) -> None:
        """Change the noise of the next episodes."""
        self.config, self.randomization = config, load_randomization(config.noise)

    def reset(self) -> None:
        """Start an episode, after the simulation was reset or a person has engaged the arm."""
        self.policy.reset()
        self.episodes.reset()
        index = self.episodes.number - 1
        self.latency = sample_latency(self.randomization, self.config.seed, index)
        self.arm_state: ArmState | None = None
        self.detections = DetectionBuffer(self.blocks)
        self.joint_history = JointHistory()
        self.output: tuple[int, JointTrajectory, Float64MultiArray] | None = None

    def on_markers(self, message: MarkerArray) -> None:
        """Store the result of an image."""
        if not message.markers:
            raise ForeignMessage("the array has no marker, so no stamp")
        stamp = to_nanoseconds(message.markers[0].header.stamp)
        ids = [m.id for m in message.markers if m.type == Marker.CUBE and m.ns == "blocks"]
        rejections = {m.id: m.text for m in message.markers if m.ns == REJECTED}
        if self.is_new(stamp):
            self.detections.results[stamp] = ImageResult(frozenset(ids), rejections)
            self.update()

    def on_block_pose(self, block: int, message: PoseWithCovarianceStamped) -> None:
        """Store a detection of a block."""
        detection = self.to_detection(block, message)
        stamp = to_nanoseconds(message.header.stamp)
        if self.is_new(stamp):
            self.detections.poses.setdefault(stamp, {})[block] = detection
            self.update()

    def on_joint_state(self, message: JointState) -> None:
        """Publish a target for a joint state; in lockstep, after the images up to it."""
        state = self.read_joint_state(message)
        if state is None:
            return
        if self.arm_state is not None and state.stamp < self.arm_state.stamp:
            self.reset()
        self.arm_state = state
        if self.scene.camera_on_hand:
            self.joint_history.add(state.stamp, state.q)
        self.update()

    def is_new(self, stamp: int) -> bool:
        """Return whether an image is neither repeated nor from before a reset."""
        if self.arm_state is None or stamp in self.detections.processed:
            return False
        return stamp <= self.arm_state.stamp

    def update(self) -> None:
        """Publish a target for the latest joint state once all its inputs have arrived."""
        if self.arm_state is None:
            return
        stamp = self.arm_state.stamp
        if self.output is not None and self.output[0] == stamp:
            if self.config.lockstep:
                self.publish()
            return
        available = stamp
        if self.config.lockstep:
            available = max(stamp - round(self.latency * 1e9), 0)
            period = ticks_per_image(self.robot.rate) / self.robot.rate
            last_image = math.floor(available * 1e-9 / period + 1e-6) * period
            if not self.detections.has_image(round(last_image * 1e9)):
                return
        self.process_images(available)
        self.run_policy(self.arm_state)
        self.publish()

    def process_images(self, available: int) -> None:
        """Pass the results of all images up to a stamp [ns] to the policy, in their order."""
        for image in self.detections.pop_until(available):
            if self.episodes.takes(image):
                pass_image(self.policy, image, self.scene.target)

    def to_detection(self, block: int, message: PoseWithCovarianceStamped) -> BlockDetection:
        """Convert the pose of a block to position and yaw on the table in the base frame."""
        time, frame = to_nanoseconds(message.header.stamp) * 1e-9, message.header.frame_id
        T = quaternion_pose(*pose_to_arrays(message.pose.pose))
        covariance = message_to_covariance(message)
        if frame == self.names.base_link:  # from the block_pose node
            variance = np.diag(covariance)[[0, 1, 2, 5]]
            yaw = upright_yaw(T[:3, :3])
            return BlockDetection(time, T[:3, 3], yaw, variance, block=block)
        if frame != self.image_frame:
            raise ForeignMessage(
                f"the pose is in the frame '{frame}', not in that of camera "
                f"('{self.image_frame}', see camera_frame) or arm "
                f"('{self.names.base_link}')"
            )
        T_base_camera, size = self.camera_pose(to_nanoseconds(message.header.stamp)), self.size
        if isinstance(self.policy, ScriptedTask):
            return detection_in_stack(time, T, covariance, T_base_camera, size, block)
        detection = detection_on_table(time, T, covariance, T_base_camera, size / 2)
        return detection._replace(block=block)

    def camera_pose(self, stamp: int) -> Array:
        """Return the pose of the camera (4, 4) at the stamp [ns] of an image.

        Raises:
            ForeignMessage: the camera is on the hand, whose pose at that time is not known.
        """
        if not self.scene.camera_on_hand:
            return self.scene.camera.T_base_camera
        q = self.joint_history.at(stamp)
        if q is None:
            raise ForeignMessage("no joint state at the time of the image of the hand camera")
        return self.scene.seen_from(self.robot.forward_kinematics(q)).camera.T_base_camera

    def run_policy(self, state: ArmState) -> None:
        """Compute the output for the latest joint state."""
        stamp = state.stamp
        control_period, now = 1 / self.robot.rate, stamp * 1e-9
        self.policy.update_joints(state.q, state.qd)
        command = self.policy.command(now, state.opening, control_period)
        self.diagnostic_values["phase"] = command.phase
        self.episodes.update(state, command)
        self.hold(self.episodes.hold_reason or command.hold_reason)
        target = Target(now, command.state, command.horizon or control_period)
        self.output = (
            stamp,
            target_to_message(target, self.names, to_stamp(stamp)),
            command_to_message(np.array([command.opening]), stamp),
        )

    def publish(self) -> None:
        """Publish the output, the gripper command first."""
        if self.output is not None:
            self.gripper_publisher.publish(self.output[2])
            self.target_publisher.publish(self.output[1])


def main() -> None:
    """Run the node."""
    run(GraspNode)


if __name__ == "__main__":
    main()
