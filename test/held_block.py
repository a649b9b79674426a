"""The UR5 holds a block before its scene's camera: postures, sightings, recordings."""

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
HELD = transform_from_rotvec(
    np.array([0.1, -0.2, 0.3]), np.array([0.0, 0.005, 0.01])
)  # of the block on the tool
RATE, PICTURES = 50, 5  # [Hz] of joint states, and of them from picture to picture
REST = 1.0  # [s] of a recorded arm
BLOCK = "/blocks/block_0"


def postures(n: int, seed: int = 0, reach: float = 0.5) -> np.ndarray:
    """Joints (n, 6) [rad] in which the tool is well within the camera's picture."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < n:
        q = UR5.home + rng.uniform(-reach, reach, 6) * [0.5, 0.5, 0.5, 1, 1, 1.5]
        T = UR5.forward_kinematics(q) @ HELD
        u, v = SCENE.camera.project(T[:3, 3])
        if 80 < u < 560 and 80 < v < 400 and T[2, 3] > 0.06:
            found.append(q)
    return np.array(found)


def serialized(stamp: int, q: np.ndarray = UR5.home) -> bytes:
    """A message of joint states at a time [ns], as a bag holds it."""
    message = state(stamp, q)
    message.effort = [0.0] * len(q)  # rclpy adds bytes of its own where the last list is empty
    return serialize_message(message)


def block_message(T: np.ndarray, stamp: int, covariance: np.ndarray) -> PoseWithCovarianceStamped:
    """The message of a block that is seen at a pose (4, 4) and a time [ns]."""
    quaternion = Rotation.from_matrix(T[:3, :3]).as_quat()
    return block_to_message(T[:3, 3], quaternion, covariance, Header(stamp=to_stamp(stamp)))


def record(folder: Path, moves: np.ndarray, seen, start: int = 0) -> Path:
    """Record an arm that jumps from rest to rest; `seen(q)` gives pose and covariance, or None."""
    bag = BagWriter(folder)
    for k in range(round(len(moves) * REST * RATE)):
        stamp = start + k * 10**9 // RATE
        q = moves[int(k / RATE / REST)]
        bag.write("/joint_states", JointState, stamp, serialized(stamp, q))
        found = seen(q) if k % PICTURES == 0 else None
        if found is not None:
            raw = serialize_message(block_message(found[0], stamp, found[1]))
            bag.write(BLOCK, PoseWithCovarianceStamped, stamp, raw)
    bag.close()
    return folder


def exact(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pose (4, 4) at which the camera sees the block, without noise, and no covariance."""
    return invert_transform(CAMERA) @ UR5.forward_kinematics(q) @ HELD, np.zeros((6, 6))


def calibrated(*words: object) -> int:
    """Run the verb; return its code."""
    return run_verb("calibrate", [str(word) for word in words])
