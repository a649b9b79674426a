"""Arms known by name: `ROBOTS` says of each what its URDF leaves open or has wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Gripper(NamedTuple):
    """A two-finger parallel gripper; both fingers move by half the opening."""

    joints: tuple[str, ...]  # prismatic finger joints [m], 0 = closed
    max_opening: float  # [m] distance between the pads


@dataclass(frozen=True)
class RobotSpec:
    """What a URDF does not say about an arm, and the limits that override it."""

    urdf: str  # in this package, or "pybullet_data/..." for a file of that package
    joints: tuple[str, ...]
    tip: str
    home: tuple[float, ...]  # (n,) [rad]
    rate: float  # [Hz] of the arm's own controller
    acceleration: tuple[float, ...]  # (n,) [rad/s2]
    lower: tuple[float, ...] | None = None  # (n,) [rad], None: as in the URDF; so the next three
    upper: tuple[float, ...] | None = None
    velocity: tuple[float, ...] | None = None  # (n,) [rad/s]
    effort: tuple[float, ...] | None = None  # (n,) [N m]
    action_unit: str = "N m"
    gripper: Gripper | None = None


def _degrees(*angles: float) -> tuple[float, ...]:
    return tuple(float(a) for a in np.radians(angles))


_UR_JOINTS = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)
_UR_FINGERS = ("finger_left_joint", "finger_right_joint")
# Stretched out, gravity takes up to half of the shoulder torque. With these, all joints at full
# speed and full acceleration at once stay within the torque limits in any pose (0.98 at worst).
_UR_ACCELERATION = (8.0, 8.0, 10.0, 15.0, 15.0, 15.0)
_IIWA_UPPER = _degrees(170, 120, 170, 120, 170, 120, 175)

ROBOTS: dict[str, RobotSpec] = {
    "ur5": RobotSpec(
        urdf="urdf/ur5.urdf",
        joints=_UR_JOINTS,
        tip="tcp",
        home=(-0.245, -1.6895, 1.6993, -1.5807, -1.5708, 1.3258),
        rate=125.0,
        acceleration=_UR_ACCELERATION,
        gripper=Gripper(_UR_FINGERS, 0.085),
    ),
    "ur5e": RobotSpec(
        urdf="urdf/ur5e.urdf",
        joints=_UR_JOINTS,
        tip="tcp",
        home=(-0.3007, -1.7068, 1.8578, -1.7217, -1.5708, 1.2701),
        rate=500.0,
        acceleration=_UR_ACCELERATION,
        gripper=Gripper(_UR_FINGERS, 0.085),
    ),
    "ur10": RobotSpec(
        urdf="urdf/ur10.urdf",
        joints=_UR_JOINTS,
        tip="tool0",
        home=(-0.2768, -1.6778, 2.0792, -1.9722, -1.5708, 1.294),
        rate=125.0,
        acceleration=_UR_ACCELERATION,
    ),
    "dofbot": RobotSpec(
        urdf="urdf/dofbot.urdf",
        joints=("joint_1", "joint_2", "joint_3", "joint_4", "joint_5"),
        tip="tcp",
        home=(0.0, 0.6, -1.5, -1.4, 0.0),
        rate=50.0,
        # A third of the servos' torque at worst; top speed is reached in ten ticks of the bus.
        acceleration=(10.0,) * 5,
        action_unit="rad",
        gripper=Gripper(("finger_left_joint", "finger_right_joint"), 0.060),
    ),
    "kuka_iiwa": RobotSpec(
        urdf="pybullet_data/kuka_iiwa/model.urdf",
        joints=tuple(f"lbr_iiwa_joint_{i}" for i in range(1, 8)),
        tip="lbr_iiwa_link_7",
        home=(0.0, 0.45, 0.0, -1.45, 0.0, 1.2416, 0.0),
        rate=250.0,
        # Top speed (1.3 to 2.4 rad/s) in a quarter of a second, a third of the torque at worst.
        acceleration=(10.0,) * 7,
        # Datasheet of the LBR iiwa 14 R820; the URDF has 300 N m and 10 rad/s on every joint.
        lower=tuple(-u for u in _IIWA_UPPER),
        upper=_IIWA_UPPER,
        velocity=_degrees(85, 85, 100, 75, 130, 135, 135),
        effort=(320.0, 320.0, 176.0, 176.0, 110.0, 40.0, 40.0),
    ),
}
