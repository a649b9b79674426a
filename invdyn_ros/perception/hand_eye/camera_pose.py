"""Calibration file of a camera: written by `invdyn calibrate`, read by the launch files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.config import from_mapping, load_yaml
from invdyn_ros.perception.hand_eye.pose_pairs import Mounting
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.scene import Scene

NORM_TOLERANCE = 1e-3  # deviation of the norm of a quaternion from 1
MAX_COORDINATE = 20.0  # [m] a larger coordinate is probably not in metres


@dataclass(frozen=True)
class CameraPose:
    """Pose of a camera: the content of a calibration file."""

    arm: str
    """Name of the arm."""
    mounting: Mounting
    """Parent frame of the pose: the arm's base (eye_to_hand) or its tool (eye_in_hand)."""
    position: tuple[float, float, float]
    """x, y, z of the camera in the parent frame [m]."""
    quaternion: tuple[float, float, float, float]
    """x, y, z, w of the orientation of its optical frame (x right, y down, z forward)."""
    standard_error: tuple[float, float, float, float, float, float] | None = None
    """Standard errors of x, y, z [m] and of rotations about the parent's axes [rad]."""
    marker_position: tuple[float, float, float] | None = None
    """x, y, z of the marker [m], in the tool frame (eye_to_hand) or base frame (eye_in_hand)."""
    marker_quaternion: tuple[float, float, float, float] | None = None
    """x, y, z, w of the orientation of the marker in the same frame."""
    num_poses: int | None = None
    """Number of arm poses from which it was computed."""
    held_out: tuple[float, float] | None = None
    """RMS residual of held-out poses: distance [m], angle [rad]."""

    def __post_init__(self) -> None:
        """Check units and norm."""
        if not np.isfinite(self.position).all() or np.abs(self.position).max() > MAX_COORDINATE:
            raise ValueError(f"position is {list(self.position)}; it must be finite and in metres")
        norm = float(np.linalg.norm(self.quaternion))
        if not abs(norm - 1) < NORM_TOLERANCE:
            raise ValueError(
                f"quaternion {list(self.quaternion)} has norm {norm:.4g}; x, y, z, w need norm 1"
            )

    @property
    def T(self) -> np.ndarray:
        """(4, 4) transform that maps points of the optical frame to the parent frame."""
        T = np.eye(4)
        T[:3, :3] = Rotation.from_quat(self.quaternion).as_matrix()
        T[:3, 3] = self.position
        return T


def read_camera_pose(path: str | Path, arm: str) -> CameraPose:
    """Read the pose of a camera that is mounted beside an arm or on its hand.

    Args:
        path: the calibration file.
        arm: name of the arm.

    Raises:
        ValueError: no such file, or another arm.
    """
    pose = from_mapping(CameraPose, load_yaml(path), str(path))
    if pose.arm != arm:
        raise ValueError(f"{path} is the camera of '{pose.arm}', not of '{arm}'")
    return pose


def to_yaml(camera: CameraPose, parent: str) -> str:
    """Return a camera pose in the format of `read_camera_pose`, with comments.

    Args:
        camera: pose of the camera.
        parent: name of the link whose frame is the parent frame.
    """
    marker_parent = "the tool" if camera.mounting == "eye_to_hand" else "the base"
    optical = "of the optical frame (x right, y down, z forward)"
    comments = {
        "arm": "",
        "mounting": f"pose in {parent}",
        "position": "x, y, z [m]",
        "quaternion": f"x, y, z, w {optical}",
        "standard_error": f"of x, y, z [m] and of rotations about the axes of {parent} [rad]",
        "marker_position": f"of the marker on {marker_parent} [m]",
        "marker_quaternion": "x, y, z, w",
        "num_poses": "of the arm, used",
        "held_out": "RMS residual of held-out poses: distance [m], angle [rad]",
    }
    lines = ["# Written by invdyn calibrate, read by invdyn launch grasp_sim camera_pose:=FILE."]
    for name, comment in comments.items():
        value = getattr(camera, name)
        if value is not None:
            text = f"[{', '.join(map(repr, value))}]" if isinstance(value, tuple) else f"{value}"
            lines.append(f"{name}: {text}" + (f"  # {comment}" if comment else ""))
    return "\n".join(lines) + "\n"


def nominal_scene(arm: str, camera_pose: str, blocks: str = "") -> Scene:
    """Return the scene of an arm with its camera at a calibrated pose.

    Args:
        arm: name of the arm.
        camera_pose: calibration file; empty for the pose of the simulated camera.
        blocks: blocks file; empty: the blocks of the arm's entry.

    Raises:
        ValueError: the arm has no scene, the blocks file is wrong, or the file is not a camera
            calibration of this arm.
    """
    scene = load_scene(arm, blocks)
    if not camera_pose:
        return scene
    pose = read_camera_pose(camera_pose, arm)
    camera = replace(scene.camera, T_base_camera=pose.T)
    return replace(scene, camera=camera, camera_on_hand=pose.mounting == "eye_in_hand")
