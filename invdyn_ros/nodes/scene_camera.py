"""Simulated camera node: images of the simulated arm and blocks, with the stamp of their state."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from geometry_msgs.msg import PoseArray
from numpy.typing import NDArray
from pydantic import NonNegativeInt
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState

from invdyn_ros.arms.domain_randomization import (
    load_randomization,
    randomize_camera,
    randomize_scene,
)
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.config import RECONFIGURABLE, Validated
from invdyn_ros.graph.topics import JOINT_STATES, OBJECTS
from invdyn_ros.nodes.image_publisher import ImagePublisher
from invdyn_ros.nodes.joint_states import ArmState, JointStateReader
from invdyn_ros.nodes.messages import (
    ForeignMessage,
    pose_to_arrays,
    to_nanoseconds,
)
from invdyn_ros.nodes.robot_names import CameraNamesConfig, RobotNames
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import quaternion_pose

MAX_PENDING = 200  # stamps of which only the joint state or only the block poses have arrived


@dataclass(frozen=True)
class SceneCameraNodeConfig(Validated):
    """Parameters of the node.

    Attributes:
        arm: name of the arm, or FILE.yaml of an arm of a user.
        seed: random seed of the run, the same as of the simulator node.
        noise: domain randomization level, the same as of the simulator node; a change acts from
            the next episode on.
        lockstep: keep every image, instead of only the latest one.
        image_size: side [px] of the square images of an uncalibrated camera, with blocks without
            markers; 0: images of the calibrated camera, with marked blocks.
        blocks: file of the blocks; empty: the block of the arm's entry.
    """

    arm: str = "ur5"
    seed: NonNegativeInt = 0
    noise: Literal["none", "default", "hard"] = field(default="default", metadata=RECONFIGURABLE)
    lockstep: bool = False
    image_size: NonNegativeInt = 0
    blocks: str = ""


class SceneCameraNode(DiagnosticNode):
    """Render the camera images, in a separate process because it is slower than physics."""

    def __init__(self) -> None:
        super().__init__("scene_camera")
        self.config = load_parameters(self, SceneCameraNodeConfig, self.reconfigure)
        self.robot = load_robot(self.config.arm)
        frames = load_parameters(self, CameraNamesConfig)
        names = RobotNames.of(self.robot, frames, self.get_namespace())
        self.randomization = load_randomization(self.config.noise)
        self.renderer: SceneRenderer | None = None
        self.image: np.ndarray | None = None
        self.episode = -1
        self.last_stamp: float = np.inf
        self.read_joint_state = JointStateReader(names)
        # by stamp [ns]: state of the arm and poses (4, 4) of the blocks
        self.pending: dict[int, tuple[ArmState | None, NDArray[np.float64] | None]] = {}
        self.scene = load_scene(self.config.arm, self.config.blocks)
        camera = self.scene.camera
        calibrated = None if self.config.image_size else CameraIntrinsics(camera.intrinsics())
        lockstep = self.config.lockstep
        self.images = ImagePublisher(self, lockstep, frames.image_frame, calibrated)
        qos = QoSProfile(depth=MAX_PENDING)
        self.create_subscription(JointState, JOINT_STATES, self.on_joint_state, qos, is_input=True)
        self.create_subscription(PoseArray, OBJECTS, self.on_objects, qos, is_input=True)

    def reconfigure(self, config: SceneCameraNodeConfig) -> None:
        """Change the noise of the next episodes."""
        self.config, self.randomization = config, load_randomization(config.noise)

    def close(self) -> None:
        """Free the renderer."""
        renderer, self.renderer = self.renderer, None
        if renderer is not None:
            renderer.close()

    def on_joint_state(self, message: JointState) -> None:
        """Store a joint state until the block poses of the same stamp arrive."""
        state = self.read_joint_state(message)
        if state is not None:
            self.pending[state.stamp] = (state, self.pending.get(state.stamp, (None, None))[1])
            self.render(state.stamp)

    def on_objects(self, message: PoseArray) -> None:
        """Store block poses until the joint state of the same stamp arrives."""
        stamp = to_nanoseconds(message.header.stamp)
        if stamp == self.last_stamp:
            self.publish(stamp)  # repeated, because the image may have been lost
            return
        poses = [quaternion_pose(*pose_to_arrays(pose)) for pose in message.poses]
        num_blocks = self.scene.num_blocks
        if len(poses) != num_blocks:
            raise ForeignMessage(f"{len(poses)} poses; the scene has {num_blocks} blocks")
        self.pending[stamp] = (self.pending.get(stamp, (None, None))[0], np.array(poses))
        self.render(stamp)

    def render(self, stamp: int) -> None:
        """Render and publish an image once both inputs of a stamp have arrived."""
        state, block_poses = self.pending[stamp]
        if state is None or block_poses is None:
            while len(self.pending) > MAX_PENDING:
                self.pending.pop(next(iter(self.pending)))
            return
        if stamp < self.last_stamp:
            self.next_episode()
        self.pending = {s: pair for s, pair in self.pending.items() if s > stamp}
        self.last_stamp = stamp
        if self.renderer is None:
            raise ValueError("joint states and block poses have no stamps; run the simulator node")
        self.image = self.renderer.render(state.q, state.opening, block_poses)
        self.publish(stamp)

    def publish(self, nanoseconds: int) -> None:
        """Publish the image with the stamp [ns] of its state."""
        if self.image is None:
            return
        self.images.publish(self.image, nanoseconds)
        self.images.publish_compressed()

    def next_episode(self) -> None:
        """Create the renderer of the next episode, with its random camera pose."""
        self.episode += 1
        self.close()
        self.image = None
        scene = randomize_scene(self.scene, self.randomization, self.config.seed, self.episode)
        seed, image_size = self.config.seed, self.config.image_size
        if image_size:
            scene = randomize_camera(scene, self.randomization, seed, self.episode, image_size)
        self.renderer = SceneRenderer(self.robot, scene, seed=seed * 100_003 + self.episode)


def main() -> None:
    """Run the node."""
    run(SceneCameraNode)


if __name__ == "__main__":
    main()
