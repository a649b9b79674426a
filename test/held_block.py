"""Detections and recordings of a UR5 that holds a block in front of the scene's camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from node_probe import state
from rclpy.serialization import serialize_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from invdyn_ros.cli import run_verb
from invdyn_ros.nodes.bag import BagWriter
from invdyn_ros.nodes.messages import block_to_message, to_stamp
from invdyn_ros.perception.rigid_transforms import invert_transform, transform_from_rotvec
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

UR5 = load_robot("ur5")
SCENE = load_scene("ur5")
CAMERA = SCENE.camera.T_base_camera
T_TOOL_BLOCK = transform_from_rotvec(np.array([0.1, -0.2, 0.3]), np.array([0.0, 0.005, 0.01]))
RATE, TICKS_PER_IMAGE = 50, 5  # [Hz] of the joint states; joint states per image
REST_SECONDS = 1.0  # [s] at each joint position
BLOCK = "/blocks/block_0"


def sample_joints(n: int, seed: int = 0, reach: float = 0.5) -> np.ndarray:
    """Return random joint positions (n, 6) [rad] with the block well inside the image."""
    rng, samples = np.random.default_rng(seed), []
    while len(samples) < n:
        q = UR5.home + rng.uniform(-reach, reach, 6) * [0.5, 0.5, 0.5, 1, 1, 1.5]
        T = UR5.forward_kinematics(q) @ T_TOOL_BLOCK
        u, v = SCENE.camera.project(T[:3, 3])
        if 80 < u < 560 and 80 < v < 400 and T[2, 3] > 0.06:
            samples.append(q)
    return np.array(samples)


def serialize_joints(stamp: int, q: np.ndarray = UR5.home) -> bytes:
    """Serialize a joint state with a stamp [ns]."""
    message = state(stamp, q)
    message.effort = [0.0] * len(q)  # with an empty last list, rclpy appends padding
    return serialize_message(message)


def block_message(T: np.ndarray, stamp: int, covariance: np.ndarray) -> PoseWithCovarianceStamped:
    """Return the message of a block detected at a pose (4, 4) and a time [ns]."""
    quaternion = Rotation.from_matrix(T[:3, :3]).as_quat()
    return block_to_message(T[:3, 3], quaternion, covariance, Header(stamp=to_stamp(stamp)))


def record_bag(folder: Path, joint_positions: np.ndarray, detect, start: int = 0) -> Path:
    """Record an arm that jumps between joint positions and stays at each for REST_SECONDS.

    Args:
        folder: bag to write.
        joint_positions: (P, n) [rad].
        detect: function from q (n,) to pose and covariance of the block, or None.
        start: stamp of the first joint state [ns].
    """
    bag = BagWriter(folder)
    for k in range(round(len(joint_positions) * REST_SECONDS * RATE)):
        stamp = start + k * 10**9 // RATE
        q = joint_positions[int(k / RATE / REST_SECONDS)]
        bag.write("/joint_states", JointState, stamp, serialize_joints(stamp, q))
        detection = detect(q) if k % TICKS_PER_IMAGE == 0 else None
        if detection is not None:
            raw = serialize_message(block_message(detection[0], stamp, detection[1]))
            bag.write(BLOCK, PoseWithCovarianceStamped, stamp, raw)
    bag.close()
    return folder


def exact_detection(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact pose (4, 4) of the block in the camera frame, and zero covariance."""
    return invert_transform(CAMERA) @ UR5.forward_kinematics(q) @ T_TOOL_BLOCK, np.zeros((6, 6))


def run_calibrate(*arguments: object) -> int:
    """Run `invdyn calibrate`; return its exit code."""
    return run_verb("calibrate", list(map(str, arguments)))
