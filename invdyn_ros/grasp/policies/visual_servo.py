"""Visual-servoing grasp: a memoryless map from the state of tool and block to a velocity command.

Because it has no phases, its action is defined in every state. It is therefore an expert for
DAgger (Ross, Gordon and Bagnell 2011) and, given estimated states, a closed-loop grasp policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import PositiveFloat

from invdyn_ros.config import Validated
from invdyn_ros.grasp.policies.action_space import PlanarTwist
from invdyn_ros.grasp.policies.success import GOAL_TOLERANCE, PrivilegedState
from invdyn_ros.robots.scene import OPEN_WIDTH_RATIO
from invdyn_ros.typing import Array

GRIP_HYSTERESIS = 1.2  # a closing gripper tolerates errors this many times larger
PARTLY_CLOSED_RATIO = 1.05  # gripper opening over block size of fingers that are closing
CLEARANCE_RATIO = 1.3  # gripper opening over block size of fingers that clear the block
# of fingers that have released the block: wider than those that count as such, so that a placed
# block is seen to be placed before the tool rises
RELEASE_RATIO = 1.05 * OPEN_WIDTH_RATIO
RISE_FIRST = 0.03  # [m] below the funnel at which the tool rises before it moves horizontally
CARRY_START = 0.75  # fraction of the carry height above which the block moves horizontally


@dataclass(frozen=True)
class VisualServoConfig(Validated):
    """Settings of the visual servo.

    Attributes:
        gain: proportional gain of position and yaw errors [1/s].
        linear_speed: maximum speed of the tool [m/s].
        angular_speed: maximum speed of the tool about the vertical axis [rad/s].
        clearance: height of the tool over the block's centre during the approach [m].
        carry_height: height of the block over the table during transport [m].
        horizontal_tolerance: horizontal error at which the tool descends and grips, as a fraction
            of the block size [-].
        yaw_tolerance: yaw error at which the tool descends and grips [rad].
        height_tolerance: height error at which the gripper closes [m].
        release_height: height error at which the gripper opens [m], more than a block may hang
            below the middle of the fingers.
        funnel_slope: height over the block per excess horizontal error [-].
    """

    gain: PositiveFloat = 5.0
    linear_speed: PositiveFloat = 0.3
    angular_speed: PositiveFloat = 1.5
    clearance: PositiveFloat = 0.07
    carry_height: PositiveFloat = 0.07
    horizontal_tolerance: PositiveFloat = 0.35
    yaw_tolerance: PositiveFloat = 0.15
    height_tolerance: PositiveFloat = 0.008
    release_height: PositiveFloat = 0.012
    funnel_slope: PositiveFloat = 6.0


def visual_servo(
    state: PrivilegedState, goal: Array, block_size: float, config: VisualServoConfig
) -> PlanarTwist:
    """Return the velocity command for the present state.

    Args:
        state: true or estimated state of tool and block.
        goal: (3,) goal position of the block's centre [m].
        block_size: side of the block [m].
        config: settings.
    """
    block = state.block_position
    at_goal = float(np.linalg.norm(block[:2] - goal[:2])) < GOAL_TOLERANCE / 2
    margin = config.release_height if state.grasped else block_size / 2
    if at_goal and block[2] < goal[2] + margin:
        return _release(state, block_size, config)
    if state.grasped:
        return _transport(state, goal, config)
    return _grasp(state, block_size, config)


def _grasp(state: PrivilegedState, block_size: float, config: VisualServoConfig) -> PlanarTwist:
    """Move over the block, descend through a funnel around it and close the gripper."""
    error = state.block_position - state.tool_pose[:3, 3]
    closing = state.opening < PARTLY_CLOSED_RATIO * block_size
    relaxation = GRIP_HYSTERESIS if closing else 1.0
    tolerance = config.horizontal_tolerance * block_size
    relative_error = max(
        float(np.linalg.norm(error[:2])) / tolerance, abs(state.yaw_error) / config.yaw_tolerance
    )
    excess = max(relative_error - relaxation, 0.0) * tolerance
    # fingers that are still opening would push the block away
    fingers_narrow = state.opening < CLEARANCE_RATIO * block_size
    height = config.clearance if fingers_narrow and excess else config.funnel_slope * excess
    grip = relative_error < relaxation and abs(error[2]) < relaxation * config.height_tolerance
    rise = error[2] + min(height, config.clearance)
    velocity = _move(np.array([*error[:2], rise]), config)
    # fingers that are too low for their distance would push or tip the block
    velocity[:2] *= np.clip(1.0 - rise / RISE_FIRST, 0.0, 1.0)
    if grip:
        velocity = np.zeros(3)
    limit = config.angular_speed
    angular = np.clip(config.gain * state.yaw_error, -limit, limit)
    return PlanarTwist(velocity, float(angular), grip)


def _transport(state: PrivilegedState, goal: Array, config: VisualServoConfig) -> PlanarTwist:
    """Lift the block, carry it over the goal and lower it there."""
    error = goal - state.block_position
    distance = float(np.linalg.norm(error[:2]))
    height = config.carry_height * np.clip(distance / GOAL_TOLERANCE * 2 - 1, 0.0, 1.0)
    velocity = _move(np.array([*error[:2], error[2] + height]), config)
    if distance > GOAL_TOLERANCE:
        # lift first: a block that moves sideways may meet another one
        lifted = -error[2] / config.carry_height
        velocity[:2] *= np.clip((lifted - CARRY_START) / (1 - CARRY_START) * 2, 0.0, 1.0)
    return PlanarTwist(velocity, 0.0, True)


def _release(state: PrivilegedState, block_size: float, config: VisualServoConfig) -> PlanarTwist:
    """Open the gripper, then rise."""
    clear = state.opening > RELEASE_RATIO * block_size
    error = state.block_position[2] + config.clearance - state.tool_pose[2, 3]
    up = np.clip(config.gain * error, 0.0, config.linear_speed) if clear else 0.0
    return PlanarTwist(np.array([0.0, 0.0, up]), 0.0, False)


def _move(error: Array, config: VisualServoConfig) -> Array:
    """Return the velocity (3,) [m/s] that reduces a position error (3,) [m]."""
    velocity = config.gain * error
    speed = max(float(np.linalg.norm(velocity)), 1e-9)
    return velocity * min(1.0, config.linear_speed / speed)
