"""Where the places of a person's elbow and hand lie in the base frame of an arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.arm_geometry import HumanLikeArm
from invdyn_ros.teleop.hand_calibration import HandCalibration
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.workspace import NEUTRAL_HAND, Workspace

MOUNT_ROTATIONS = {
    "table": np.eye(3),
    "wall": np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
}
"""R_base_person (3, 3): rotation from the person's frame (forward, left, up) to the base frame."""


@dataclass(frozen=True, eq=False)
class HandMapping:
    """Place and size of the person's arm in the base frame.

    Attributes:
        R_base_person: (3, 3) rotation from the person's frame to the base frame.
        shoulder: (3,) place of the person's shoulder [m].
        bones: (2,) scaled lengths of upper arm and forearm [m].
        scale: motion of the robot's hand over that of the person's.
    """

    R_base_person: np.ndarray
    shoulder: np.ndarray
    bones: np.ndarray
    scale: float

    def place(self, person: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return elbow (3,), hand (3,) [m] and directions (2, 3) in the base frame.

        Args:
            person: (2, 3) unit directions of upper arm and forearm in the person's frame.
        """
        directions = person @ self.R_base_person.T  # (2, 3) in the base frame
        elbow, hand = self.shoulder + np.cumsum(self.bones[:, None] * directions, axis=0)
        return elbow, hand, directions


def map_hand(
    robot: Robot,
    human_like: HumanLikeArm | None,
    workspace: Workspace,
    reach: float,
    config: RetargetConfig,
    calibration: HandCalibration | None = None,
) -> HandMapping:
    """Return the mapping of a person to an arm.

    Args:
        robot: the arm.
        human_like: its links, if it bends like that of a person.
        workspace: allowed positions of its hand.
        reach: maximum distance of its hand from its shoulder [m].
        config: settings; lengths of the person's arm, if it was not calibrated.
        calibration: measured lengths and neutral place; None: those of the settings, and where
            the hand is before the chest.

    Raises:
        ValueError: a setting is not possible with this arm.
    """
    auto = "wall" if human_like else "table"
    R = MOUNT_ROTATIONS[auto if config.mount == "auto" else config.mount]
    bones = np.array([config.upper_arm, config.forearm])
    if human_like:
        _check_human_like(robot, config)
        lengths = np.array([human_like.upper_arm, human_like.forearm])  # (2,) [m]
        return HandMapping(R, workspace.shoulder, lengths, float(lengths.sum() / bones.sum()))
    neutral = NEUTRAL_HAND
    if calibration is not None:
        bones, neutral = np.array(calibration.bones), np.array(calibration.neutral)
    length = float(bones.sum())
    tool = np.asarray(robot.forward_kinematics(robot.home)[:3, 3])
    if config.tool == "down":
        scale = config.scale or workspace.scale_over_table(tool[2], length)
        shoulder = tool - scale * length * R @ neutral
    elif calibration is not None and config.mode == "absolute":
        scale = config.scale or workspace.neutral_radius(reach, tool, R @ neutral) / length
        shoulder = tool - scale * length * R @ neutral
    else:
        shoulder, radius = workspace.hand_sphere(reach)
        scale = config.scale or radius / length
    return HandMapping(R, shoulder, bones * scale, scale)


def _check_human_like(robot: Robot, config: RetargetConfig) -> None:
    """Raise ValueError if a setting contradicts that the links have the person's directions."""
    links = f"human-like arm '{robot.name}', whose links have the directions of the person's arm"
    if config.mode == "relative":
        raise ValueError(f"mode is 'relative'; it must be 'absolute' for the {links}")
    if config.scale:
        raise ValueError(
            f"scale is {config.scale}; it must be 0, because the link lengths of the "
            f"human-like arm '{robot.name}' determine the scale"
        )
    if config.tool == "down":
        raise ValueError(
            f"tool is 'down'; it must be 'free' for the human-like arm '{robot.name}', "
            "whose elbow follows the person's"
        )
    if config.calibrate:
        raise ValueError(f"calibrate is true; it must be false for the {links}")
