"""The simulated camera: joint states and true block poses in, images with their stamp out."""

from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, JointState

from invdyn_ros.arms.domain_randomization import (
    load_randomization,
    randomize_camera,
    randomize_scene,
)
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.nodes.joint_states import gripper_opening, joints_by_name
from invdyn_ros.nodes.messages import (
    camera_info_message,
    image_to_message,
    newest,
    pose_to_arrays,
    to_nanoseconds,
)
from invdyn_ros.nodes.runner import DiagnosticNode, load_parameters, run
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import quaternion_pose

FRAME = "camera_optical_frame"


@dataclass(frozen=True)
class SceneCameraConfig:
    """Parameters of the node, the same as the simulator's: see there."""

    arm: str = "ur5"
    seed: int = 0
    noise: str = "default"
    lockstep: bool = False
    pixels: int = 0
    """Side of square pictures of a block without markers, by a camera whose pose and lens nobody
    knows [px]; 0: the calibrated camera."""


class SceneCameraNode(DiagnosticNode):
    """Draw what the camera sees, in a process of its own: that takes longer than physics."""

    def __init__(self) -> None:
        super().__init__("scene_camera")
        self.config = load_parameters(self, SceneCameraConfig)
        self.robot = load_robot(self.config.arm)
        self.noise = load_randomization(self.config.noise)
        self.camera: SceneRenderer | None = None
        self.image: np.ndarray | None = None
        self.episode = -1
        self.last = np.inf
        self.seen: dict[int, tuple[JointState | None, PoseArray | None]] = {}
        images = newest(self.config.lockstep)
        self.images = self.create_publisher(Image, "/camera/image_raw", images)
        self.infos = self.create_publisher(CameraInfo, "/camera/camera_info", images)
        qos = QoSProfile(depth=200)
        self.create_subscription(JointState, "/joint_states", self.on_joints, qos)
        self.create_subscription(PoseArray, "/sim/objects", self.on_objects, qos)

    def close(self) -> None:
        """Free the renderer."""
        camera, self.camera = self.camera, None
        if camera is not None:
            camera.close()

    def on_joints(self, message: JointState) -> None:
        """Keep the arm's state until the block poses of the same instant are there."""
        stamp = to_nanoseconds(message.header.stamp)
        self.seen[stamp] = (message, self.seen.get(stamp, (None, None))[1])
        self.draw(stamp)
        while len(self.seen) > 200:
            self.seen.pop(next(iter(self.seen)))

    def on_objects(self, message: PoseArray) -> None:
        """Keep the block poses until the arm's state of the same instant is there."""
        stamp = to_nanoseconds(message.header.stamp)
        if stamp == self.last:
            self.publish(message)  # asked again: the picture may have been lost
            return
        self.seen[stamp] = (self.seen.get(stamp, (None, None))[0], message)
        self.draw(stamp)

    def draw(self, stamp: int) -> None:
        """Render and publish once both halves of an instant are there."""
        joints, objects = self.seen[stamp]
        if joints is None or objects is None:
            return
        if stamp < self.last:
            self.next_episode()
        self.seen = {t: both for t, both in self.seen.items() if t > stamp}
        self.last = stamp
        q, _, _ = joints_by_name(joints, self.robot.joint_names)
        opening = gripper_opening(joints, self.robot)
        poses = [quaternion_pose(*pose_to_arrays(pose)) for pose in objects.poses]
        if self.camera is None:
            raise ValueError("joint_states and /sim/objects have no stamps")
        self.image = self.camera.render(q, opening, np.array(poses))
        self.publish(objects)

    def publish(self, objects: PoseArray) -> None:
        """Send image and camera_info with the stamp of the state that they show."""
        if self.image is None:
            return
        stamp = objects.header.stamp
        height, width = self.image.shape[:2]
        intrinsics = load_scene(self.config.arm).camera.intrinsics()
        if self.config.pixels:
            intrinsics = np.zeros((3, 3))  # says that nobody has calibrated it
        self.infos.publish(camera_info_message(intrinsics, width, height, stamp, FRAME))
        self.images.publish(image_to_message(self.image, stamp, FRAME))

    def next_episode(self) -> None:
        """Set up the camera as it really stands in this episode."""
        self.episode += 1
        self.close()
        self.image = None
        scene = randomize_scene(
            load_scene(self.config.arm), self.noise, self.config.seed, self.episode
        )
        seed, pixels = self.config.seed, self.config.pixels
        if pixels:
            scene = randomize_camera(scene, self.noise, seed, self.episode, pixels)
        self.camera = SceneRenderer(self.robot, scene, seed=seed * 100_003 + self.episode)


def main() -> None:
    """Run the node."""
    run(SceneCameraNode)


if __name__ == "__main__":
    main()
