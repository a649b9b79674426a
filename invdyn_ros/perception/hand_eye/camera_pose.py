"""The file that says where a calibrated camera stands: `invdyn calibrate` writes, launch reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.config import from_mapping, load_yaml
from invdyn_ros.perception.hand_eye.pose_pairs import Mounting

NORM_TOLERANCE = 1e-3  # how far from one the norm of a quaternion may be
MAX_COORDINATE = 20.0  # a camera farther from its parent is a mistake of units [m]


@dataclass(frozen=True)
class CameraPose:
    """Where a camera stands, as in a calibration file."""

    arm: str
    """Name of the arm."""
    mounting: Mounting
    """beside: it stands in the frame of the arm's base; hand: in that of its tool."""
    position: tuple[float, float, float]
    """x, y, z of the camera [m]."""
    quaternion: tuple[float, float, float, float]
    """x, y, z, w of its optical frame: x right, y down, z forward."""
    standard_error: tuple[float, float, float, float, float, float] | None = None
    """Of x, y, z [m] and of rotations about the parent's axes [rad]."""
    marker_position: tuple[float, float, float] | None = None
    """x, y, z of the marker [m], on the tool if the camera is beside the arm, else in the base."""
    marker_quaternion: tuple[float, float, float, float] | None = None
    """x, y, z, w of it."""
    num_poses: int | None = None
    """Number of arm poses that it is made from."""
    held_out: tuple[float, float] | None = None
    """RMS residual of poses that were not fitted: distance [m], angle [rad]."""

    def __post_init__(self) -> None:
        """Refuse what is no pose."""
        if not np.isfinite(self.position).all() or np.abs(self.position).max() > MAX_COORDINATE:
            raise ValueError(f"position is {list(self.position)}; it must be in metres")
        norm = float(np.linalg.norm(self.quaternion))
        if not abs(norm - 1) < NORM_TOLERANCE:
            raise ValueError(
                f"quaternion {list(self.quaternion)} has norm {norm:.4g}; x, y, z, w need norm 1"
            )

    @property
    def T(self) -> np.ndarray:
        """(4, 4) maps points of the camera to the frame that it stands in."""
        out = np.eye(4)
        out[:3, :3] = Rotation.from_quat(self.quaternion).as_matrix()
        out[:3, 3] = self.position
        return out


def read_camera_pose(path: str | Path, arm: str) -> CameraPose:
    """Read the pose of a camera that stands beside an arm.

    Raises:
        ValueError: no such file, not of this arm, or the camera is on the hand.
    """
    made = from_mapping(CameraPose, load_yaml(path), str(path))
    if made.arm != arm:
        raise ValueError(f"{path} is the camera of '{made.arm}', not of '{arm}'")
    if made.mounting != "eye_to_hand":
        raise ValueError(
            f"{path} is of a camera on the hand; the grasp needs one that stands beside the arm"
        )
    return made


def to_yaml(camera: CameraPose, parent: str) -> str:
    """Return the text of a file that `read_camera_pose` reads.

    Args:
        camera: the pose.
        parent: name of the link that it stands in.
    """
    carrier = "the tool" if camera.mounting == "eye_to_hand" else "the base"
    optical = "of the optical frame (x right, y down, z forward)"
    notes = {
        "arm": "",
        "mounting": f"pose in {parent}",
        "position": "x, y, z [m]",
        "quaternion": f"x, y, z, w {optical}",
        "standard_error": f"of x, y, z [m] and of rotations about the axes of {parent} [rad]",
        "marker_position": f"of the marker on {carrier} [m]",
        "marker_quaternion": "x, y, z, w",
        "num_poses": "of the arm",
        "held_out": "RMS of poses that were not fitted: distance [m], angle [rad]",
    }
    lines = ["# Written by invdyn calibrate; invdyn launch grasp_sim camera_pose:=FILE reads it."]
    for name, note in notes.items():
        value = getattr(camera, name)
        if value is not None:
            text = f"[{', '.join(map(repr, value))}]" if isinstance(value, tuple) else f"{value}"
            lines.append(f"{name}: {text}" + (f"  # {note}" if note else ""))
    return "\n".join(lines) + "\n"
