"""A grasp that looks at every instant anew: where block and tool are enters, a velocity leaves.

It has no phases, hence no memory: whoever sees a state knows what to do in it. That makes it a
teacher whose every state can be imitated (DAgger), and, on what the camera says instead of the
truth, a closed-loop script.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import PositiveFloat

from invdyn_ros.config import Validated
from invdyn_ros.grasp.policies.action_space import PlanarTwist
from invdyn_ros.grasp.policies.success import GOAL_TOLERANCE, PrivilegedState
from invdyn_ros.typing import Array

HELD_ON = 1.2  # times the errors with which a grip begins: it does not end for less
FREE = 1.3  # opening over the side of the block with which the fingers are clear of it
ALOFT = 0.94  # share of the carrying height at which a block begins to go across


@dataclass(frozen=True)
class VisualServoConfig(Validated):
    """How the servoed grasp moves.

    Attributes:
        gain: of errors in position and rotation [1/s].
        speed: greatest of the tool on its way [m/s].
        turn: greatest of the tool about the vertical [rad/s].
        clearance: height of the tool over the block's centre on the way there [m].
        carry: height of the block over the table on the way to the goal [m].
        across: error in the horizontal plane with which it still goes down and grips, over the
            side of the block [-].
        yaw: the same for the rotation [rad].
        level: error in height with which it grips or lets go [m].
        slope: height over the block per further horizontal error [-].
    """

    gain: PositiveFloat = 5.0
    linear_speed: PositiveFloat = 0.3
    angular_speed: PositiveFloat = 1.5
    clearance: PositiveFloat = 0.07
    carry_height: PositiveFloat = 0.07
    horizontal_tolerance: PositiveFloat = 0.35
    yaw_tolerance: PositiveFloat = 0.15
    height_tolerance: PositiveFloat = 0.008
    funnel_slope: PositiveFloat = 6.0


def visual_servo(
    sight: PrivilegedState, goal: Array, size: float, config: VisualServoConfig
) -> PlanarTwist:
    """Return what to do now.

    Args:
        sight: what is seen.
        goal: (3,) where the block's centre shall end [m].
        size: side of the block [m].
        config: how to move.
    """
    there = float(np.linalg.norm(sight.block_position[:2] - goal[:2])) < GOAL_TOLERANCE / 2
    if there and sight.block_position[2] < goal[2] + (
        config.height_tolerance if sight.grasped else size / 2
    ):
        return _leave(sight, size, config)
    return _bring(sight, goal, size, config) if sight.grasped else _fetch(sight, size, config)


def _fetch(sight: PrivilegedState, size: float, config: VisualServoConfig) -> PlanarTwist:
    """Go over the block, down a funnel and around it, then grip."""
    away = sight.block_position - sight.tool_pose[:3, 3]
    closing = sight.opening < 1.05 * size  # half shut around the block: no time to be picky
    room = HELD_ON if closing else 1.0
    across = config.horizontal_tolerance * size
    wrong = max(
        float(np.linalg.norm(away[:2])) / across, abs(sight.yaw_error) / config.yaw_tolerance
    )
    outside = max(wrong - room, 0.0) * across
    shut = sight.opening < FREE * size  # fingers that still open would push the block away
    height = config.clearance if shut and outside else config.funnel_slope * outside
    grip = wrong < room and abs(away[2]) < room * config.height_tolerance
    velocity = _toward(away + np.array([0.0, 0.0, min(height, config.clearance)]), config)
    if grip:
        velocity = np.zeros(3)
    turn = np.clip(config.gain * sight.yaw_error, -config.angular_speed, config.angular_speed)
    return PlanarTwist(velocity, float(turn), grip)


def _bring(
    sight: PrivilegedState, goal: Array, size: float, config: VisualServoConfig
) -> PlanarTwist:
    """Lift the block, carry it over the goal and lower it there."""
    away = goal - sight.block_position
    far = float(np.linalg.norm(away[:2]))
    up = config.carry_height * np.clip(far / GOAL_TOLERANCE * 2 - 1, 0.0, 1.0)
    velocity = _toward(np.array([*away[:2], away[2] + up]), config)
    if far > GOAL_TOLERANCE:  # first up, and slowly at last: a lift counts where the arm is still
        velocity[:2] *= np.clip(
            (-away[2] / config.carry_height - ALOFT) / (1 - ALOFT) * 2, 0.0, 1.0
        )
    return PlanarTwist(velocity, 0.0, True)


def _leave(sight: PrivilegedState, size: float, config: VisualServoConfig) -> PlanarTwist:
    """Let go, then rise."""
    free = sight.opening > FREE * size
    above = sight.block_position[2] + config.clearance - sight.tool_pose[2, 3]
    up = np.clip(config.gain * above, 0.0, config.linear_speed) if free else 0.0
    return PlanarTwist(np.array([0.0, 0.0, up]), 0.0, False)


def _toward(away: Array, config: VisualServoConfig) -> Array:
    velocity = config.gain * away
    return velocity * min(1.0, config.linear_speed / max(float(np.linalg.norm(velocity)), 1e-9))
