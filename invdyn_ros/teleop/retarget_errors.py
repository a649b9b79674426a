"""Errors of an arm with respect to the targets of retargeting."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.arm_geometry import human_like_arm


class RetargetErrors(NamedTuple):
    """Distance of an arm from its targets; NaN where there is no target."""

    wrist: np.ndarray
    """(T,) distance from the hand target [mm]."""
    upper_arm: np.ndarray | None
    """(T,) angle to the direction of the upper arm [deg]; None unless the arm is human-like."""
    forearm: np.ndarray | None
    """(T,) angle to the direction of the forearm [deg]; None unless the arm is human-like."""


def retarget_errors(
    robot: Robot,
    q: np.ndarray,
    hand_target: np.ndarray,
    upper_arm_direction: np.ndarray,
    forearm_direction: np.ndarray,
) -> RetargetErrors:
    """Compute how accurately joint positions follow their targets.

    Args:
        robot: the arm.
        q: (T, n) joint positions [rad].
        hand_target: (T, 3) in the base frame [m].
        upper_arm_direction: (T, 3) unit vectors in the base frame.
        forearm_direction: (T, 3) unit vectors in the base frame.
    """
    human_like = human_like_arm(robot)
    links = human_like[:3] if human_like else (robot.tip_link,)
    positions = np.array(
        [[robot.forward_kinematics(row, link)[:3, 3] for link in links] for row in q]
    )
    wrist = 1e3 * np.linalg.norm(positions[:, -1] - hand_target, axis=1)
    if not human_like:
        return RetargetErrors(wrist, None, None)
    bones = np.diff(positions, axis=1)  # (T, 2, 3)
    return RetargetErrors(
        wrist,
        *(_angle(bones[:, i], d) for i, d in enumerate((upper_arm_direction, forearm_direction))),
    )


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the angle [deg] between vectors (T, 3), accurate for small angles too."""
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), np.sum(a * b, axis=1)))
